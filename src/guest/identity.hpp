// `configure`: what makes this sandbox itself and not a copy of another. All of it is applied before the answer, or the
// answer is an error and the sandbox must not be used.
#pragma once

#include "guest/services.hpp"
#include "orkestr/error.hpp"
#include "wire/message.hpp"

namespace orkestr::guest {

// As PID 1: clock, entropy, host name, machine-id, boot id. As an ordinary process none of these are ours; then only
// the environment is taken over.
Result<void> apply_identity(const wire::ConfigureRequest& request, Settings& settings);

}  // namespace orkestr::guest
