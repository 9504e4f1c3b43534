// The one place that knows which backends there are.
#pragma once

#include <memory>

#include "backend.hpp"
#include "orkestr/client.hpp"

namespace orkestr::core {

// What `automatic` means here and now; reads ORKESTR_BACKEND, ORKESTR_API_KEY, ORKESTR_BASE_URL. Order:
// orkestr/client.hpp.
Result<BackendKind> resolve_backend(const ClientOptions& options);
Result<std::shared_ptr<Backend>> make_backend(const ClientOptions& options, std::shared_ptr<IoLoop> loop);

}  // namespace orkestr::core
