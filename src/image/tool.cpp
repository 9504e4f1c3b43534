#include "image/tool.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cstdlib>

#include "base/child.hpp"
#include "base/try.hpp"

namespace orkestr::image {
namespace {

std::string search_path() {
  const char* path = std::getenv("PATH");
  return fmt::format("{}:/usr/sbin:/sbin:/usr/bin:/bin", path && *path ? path : "/usr/local/bin");
}

// The last lines of an output, for a message: the whole tail is in the details.
std::string_view last_lines(std::string_view output, int count) {
  while (!output.empty() && output.back() == '\n') output.remove_suffix(1);
  std::size_t at = output.size();
  while (count-- > 0 && at > 0) {
    at = output.rfind('\n', at - 1);
    if (at == std::string_view::npos) return output;
  }
  return output.substr(at == 0 ? 0 : at + 1);
}

}  // namespace

Error build_error(std::string_view stage, std::string message, std::string output) {
  ErrorDetails details;
  details.stage = std::string(stage);
  details.console_tail = std::move(output);
  return Error(ErrorCode::template_build_failed, std::move(message), std::move(details));
}

Result<std::string> find_tool(std::string_view stage, std::string_view name, std::string_view package) {
  const std::string path = search_path();
  std::string_view rest = path;
  while (!rest.empty()) {
    const std::string_view directory = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), directory.size() + 1));
    if (directory.empty() || directory.front() != '/') continue;
    std::string candidate = fmt::format("{}/{}", directory, name);
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return build_error(stage, fmt::format("{}: the program '{}' is not installed. Install it with: {}apt-get install {}",
                                        stage, name, ::geteuid() == 0 ? "" : "sudo ", package));
}

Result<std::string> run_tool(const ToolRun& run, base::Deadline deadline) {
  base::ChildOptions options;
  options.argv = run.argv;
  options.cwd = run.cwd;
  options.env = run.env;
  options.env.push_back("PATH=" + search_path());
  options.env.emplace_back("LC_ALL=C.UTF-8");
  options.env.emplace_back("DEBIAN_FRONTEND=noninteractive");
  const std::string command = fmt::format("{}", fmt::join(run.argv, " "));
  auto result = base::run_child(std::move(options), deadline, run.on_line);
  if (!result) {
    return build_error(run.stage, fmt::format("{}: running '{}': {}", run.stage, command, result.error().message()),
                       result.error().details().console_tail);
  }
  if (!result->status.success()) {
    std::string message = fmt::format("{}: '{}' ended with {}:\n{}", run.stage, command, result->status.to_string(),
                                      last_lines(result->output, 12));
    return build_error(run.stage, std::move(message), std::move(result->output));
  }
  return std::move(result->output);
}

}  // namespace orkestr::image
