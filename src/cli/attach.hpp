// A command in a sandbox with this program's own standard streams.
#pragma once

#include <string>

#include "cli/signals.hpp"
#include "orkestr/process.hpp"

namespace orkestr::cli {

struct Attachment {
  bool input = false;     // our standard input becomes the command's
  bool terminal = false;  // the command has a terminal: ours goes raw, and its size is passed on
};

// Passes output (and input) until the command has ended. Returns the exit code: the command's own; 128 + n when signal
// n ended it, or this program was asked to end by signal n, which kills the command; 124 at its timeout; 125 when the
// library failed, with the reason on stderr. Where a killed command does not end within 10 s, and at a second signal,
// the whole program exits at once: `sandbox_id` is what its last words say may need to be removed.
int attach(ExecStream& stream, const Attachment& how, const Signals& signals, const std::string& sandbox_id);

// The exit code for a command that the library could not run to its end, with the reason on stderr.
int report_command(const Error& error);

}  // namespace orkestr::cli
