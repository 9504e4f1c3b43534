#include "supervisor/failpoint.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <string>

#include "base/system.hpp"

namespace orkestr::supervisor {

Result<void> failpoint(std::string_view name) {
  assert(std::find(kFailpoints.begin(), kFailpoints.end(), name) != kFailpoints.end());
  static const std::string wanted = [] {
    const char* value = std::getenv("ORKESTR_FAILPOINT");
    return std::string(value != nullptr ? value : "");
  }();
  if (wanted.empty() || !wanted.starts_with(name)) return {};
  const std::string_view what = std::string_view(wanted).substr(name.size());
  if (what == ":kill") ::kill(::getpid(), SIGKILL);
  if (what == ":stop") ::raise(SIGSTOP);
  if (what == ":error") return base::errno_error(fmt::format("failpoint {}", name), ENOSPC);
  return {};
}

}  // namespace orkestr::supervisor
