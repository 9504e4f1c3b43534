#include "core/choose_backend.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "base/try.hpp"
#include "local/local_backend.hpp"
#include "remote/remote_backend.hpp"

namespace orkestr::core {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

Result<BackendKind> resolve_backend(const ClientOptions& options) {
  if (options.backend == BackendKind::local && (!options.api_key.empty() || !options.base_url.empty())) {
    return Error(
        ErrorCode::invalid_argument,
        "api_key or base_url is given and backend is 'local', which has no use for them; leave out one or the other");
  }
  if (options.backend != BackendKind::automatic) return options.backend;
  if (!options.api_key.empty() || !options.base_url.empty()) return BackendKind::remote;
  const std::string named = environment("ORKESTR_BACKEND");
  if (named == "local") return BackendKind::local;
  if (named == "remote") return BackendKind::remote;
  if (!named.empty()) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("ORKESTR_BACKEND is '{}'; allowed are local, remote, or unset", named.substr(0, 64)));
  }
  if (!environment("ORKESTR_API_KEY").empty() || !environment("ORKESTR_BASE_URL").empty()) return BackendKind::remote;
  return BackendKind::local;
}

Result<std::shared_ptr<Backend>> make_backend(const ClientOptions& options, std::shared_ptr<IoLoop> loop) {
  ORKESTR_TRY(const BackendKind kind, resolve_backend(options));
  if (kind == BackendKind::remote) {
    ORKESTR_TRY(auto remote, remote::RemoteBackend::create(options, std::move(loop)));
    return std::shared_ptr<Backend>(std::move(remote));
  }
  return std::shared_ptr<Backend>(std::make_shared<local::LocalBackend>(std::move(loop)));
}

}  // namespace orkestr::core
