#include "image/tool.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cstdlib>

#include "base/child.hpp"
#include "base/try.hpp"
#include "image/user_namespace.hpp"

namespace orkestr::image {
namespace {

constexpr std::size_t kMaxOutput = 1U << 20U;
constexpr int kShownLines = 12;

std::string search_path() {
  const char* path = std::getenv("PATH");
  return fmt::format("{}:/usr/sbin:/sbin:/usr/bin:/bin", path && *path ? path : "/usr/local/bin");
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

std::string_view last_lines(std::string_view output, int count) {
  while (!output.empty() && output.back() == '\n') output.remove_suffix(1);
  std::size_t at = output.size();
  while (count-- > 0 && at > 0) {
    at = output.rfind('\n', at - 1);
    if (at == std::string_view::npos) return output;
  }
  return output.substr(at == 0 ? 0 : at + 1);
}

Result<std::string> run_tool(const ToolRun& run, const ToolContext& context) {
  base::ChildOptions options;
  // Whatever ends this process ends the tool and all it started, in a process namespace of their own: the next build
  // clears up where they would go on writing.
  options.argv = {"/usr/bin/setpriv", "--pdeathsig=KILL"};
  if (run.as_root || ::geteuid() == 0) {
    options.argv.emplace_back("/usr/bin/unshare");
    const auto mapping = root_mapping();
    options.argv.insert(options.argv.end(), mapping.begin(), mapping.end());
    options.argv.insert(options.argv.end(), {"--pid", "--fork", "--kill-child", "--mount-proc"});
  }
  // A library cannot set the umask of its process; users read what root builds, whatever root's umask is.
  options.argv.insert(options.argv.end(), {"/bin/sh", "-c", "umask 022; exec \"$@\"", "sh"});
  options.argv.insert(options.argv.end(), run.argv.begin(), run.argv.end());
  options.cwd = run.cwd;
  options.env = run.env;
  options.env.push_back("PATH=" + search_path());
  options.env.emplace_back("LC_ALL=C.UTF-8");
  options.env.emplace_back("DEBIAN_FRONTEND=noninteractive");
  const std::string command = fmt::format("{}", fmt::join(run.argv, " "));
  const std::string advice = run.advice.empty() ? "" : "\n" + run.advice;
  auto result = base::run_child(std::move(options), context.deadline, context.on_line, kMaxOutput, context.stop);
  if (!result) {
    if (result.error().code() == ErrorCode::cancelled) return result.error().with_context(run.stage);
    const std::string& output = result.error().details().console_tail;
    return build_error(run.stage,
                       fmt::format("{}: running '{}': {}\n{}{}", run.stage, command, result.error().message(),
                                   last_lines(output, kShownLines), advice),
                       output);
  }
  if (!result->status.success()) {
    std::string message = fmt::format("{}: '{}' ended with {}:\n{}{}", run.stage, command, result->status.to_string(),
                                      last_lines(result->output, kShownLines), advice);
    return build_error(run.stage, std::move(message), std::move(result->output));
  }
  return std::move(result->output);
}

}  // namespace orkestr::image
