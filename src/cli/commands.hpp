// The subcommands of `orkestr`. Each returns the exit code.
//
// Exit codes, which scripts may rely on:
//   0  done
//   1  it failed; the reason is on stderr
//   2  the command line is wrong, or names something that does not exist
#pragma once

#include <string>

#include "orkestr/error.hpp"

namespace orkestr::cli {

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

// `orkestr template build NAME [--force]`
int template_build(const std::string& name, bool force);
// `orkestr template list`
int template_list();

// Prints "orkestr: MESSAGE" on stderr and returns the exit code that fits the error.
int report(const Error& error);

}  // namespace orkestr::cli
