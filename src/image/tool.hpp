// Running the programs that images are made with: found where administrators' tools live, reported in a way that says
// what to install.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.hpp"
#include "orkestr/error.hpp"

namespace orkestr::image {

using LineSink = std::function<void(std::string_view line)>;

// What a run of several tools shares. Copied freely.
struct ToolContext {
  base::Deadline deadline = base::Deadline::never();
  LineSink on_line;      // sees each line of their output; may be empty
  std::stop_token stop;  // ends the tool that runs, with `cancelled`
};

// template_build_failed with details().stage and .console_tail; `message` says what to do.
Error build_error(std::string_view stage, std::string message, std::string output = {});

// The absolute path of a program on PATH or in /usr/sbin and /sbin (which an ordinary user's PATH lacks).
// template_build_failed names the Debian package that has it and the command that installs it.
Result<std::string> find_tool(std::string_view stage, std::string_view name, std::string_view package);

struct ToolRun {
  std::string stage;              // names the step in errors
  std::vector<std::string> argv;  // argv[0] as find_tool() returned it
  std::string cwd;
  std::vector<std::string> env;  // added to ours
  std::string advice;            // what a person does when it fails: ends the error's message
  bool as_root = false;          // for an ordinary user: in a user namespace (user_namespace.hpp)
};

// The last lines of an output, for a message.
std::string_view last_lines(std::string_view output, int count);

// Runs to its end and returns the output (its tail, when it is long). Messages are in English whatever the locale, and
// files readable for all whatever the umask. The tool ends with this process, however that ends; run as root, with all
// that it started.
// template_build_failed with the command, how it ended and its last lines;
// the output is in details().console_tail. `cancelled` when stopped.
Result<std::string> run_tool(const ToolRun& run, const ToolContext& context);

}  // namespace orkestr::image
