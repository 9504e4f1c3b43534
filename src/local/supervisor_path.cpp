#include "local/supervisor_path.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

namespace orkestr::local {
namespace {

// The file that holds this very function, links resolved.
std::string own_file() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&find_libexec), &info) == 0 || info.dli_fname == nullptr) return {};
  std::error_code failed;
  std::string name = info.dli_fname;
  // For the main program the loader reports argv[0], which may be a bare name.
  if (name.find('/') == std::string::npos) name = "/proc/self/exe";
  const auto path = std::filesystem::canonical(name, failed);
  return failed ? std::string() : path.string();
}

bool has_helpers(const std::string& directory) {
  return ::access((directory + "/orkestr-supervisor").c_str(), X_OK) == 0 &&
         ::access((directory + "/orkestr-agent").c_str(), R_OK) == 0;
}

}  // namespace

Result<std::string> find_libexec() {
  std::vector<std::string> candidates;
  if (const char* forced = std::getenv("ORKESTR_LIBEXEC"); forced != nullptr && *forced != '\0') {
    candidates.emplace_back(forced);  // alone: who names a place does not want another
  } else {
    if (const std::string self = own_file(); !self.empty()) {
      const auto directory = std::filesystem::path(self).parent_path();
      candidates.push_back((directory.parent_path() / "libexec" / "orkestr").string());
      // Debian's multiarch libraries are one directory deeper.
      candidates.push_back((directory.parent_path().parent_path() / "libexec" / "orkestr").string());
    }
    candidates.emplace_back(ORKESTR_LIBEXEC_DIR);
  }
  std::string looked;
  for (const auto& candidate : candidates) {
    if (has_helpers(candidate)) return candidate;
    looked += (looked.empty() ? "" : ", ") + candidate;
  }
  ErrorDetails details;
  details.stage = "find helpers";
  return Error(
      ErrorCode::vm_failed,
      fmt::format("the programs orkestr-supervisor and orkestr-agent were not found in {}; install them beside the "
                  "library, or set ORKESTR_LIBEXEC to their directory",
                  looked),
      details);
}

}  // namespace orkestr::local
