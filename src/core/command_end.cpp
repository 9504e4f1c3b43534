#include "core/command_end.hpp"

#include <fmt/format.h>
#include <string.h>

namespace orkestr::core {
namespace {

double seconds(std::chrono::microseconds time) { return static_cast<double>(time.count()) / 1e6; }

// What to tell the people of a service.
std::string facts(const ErrorDetails& details) {
  if (details.request_id.empty()) return {};
  if (details.status_code == 0) return fmt::format(" (request {})", details.request_id);
  return fmt::format(" (HTTP {}, request {})", details.status_code, details.request_id);
}

}  // namespace

std::optional<Error> error_of(const CommandEnd& end, std::chrono::milliseconds timeout, std::string&& stdout_data,
                              std::string&& stderr_data) {
  if (!end.timed_out && !end.cancelled && end.signal == 0) return std::nullopt;
  ErrorDetails details = end.details ? *end.details : ErrorDetails();
  details.stdout_data = std::move(stdout_data);
  details.stderr_data = std::move(stderr_data);
  details.signal = end.signal;
  details.oom = end.oom;
  if (end.cancelled) return Error(ErrorCode::cancelled, "exec: cancelled; its whole process tree was ended", details);
  if (end.timed_out) {
    return Error(
        ErrorCode::exec_timeout,
        fmt::format("exec: the command did not end within its timeout of {} s; its whole process tree was ended, the "
                    "sandbox lives on. Raise the timeout if it needs longer{}",
                    seconds(timeout), facts(details)),
        details);
  }
  const char* name = ::sigdescr_np(end.signal);
  std::string text = fmt::format("exec: the command was ended by signal {} ({}) after {:.3f} s", end.signal,
                                 name != nullptr ? name : "unknown", seconds(end.duration));
  if (end.oom) text += "; the sandbox was out of memory: give it more with memory_mb, or a larger size";
  text += facts(details);
  return Error(ErrorCode::exec_killed, std::move(text), details);
}

}  // namespace orkestr::core
