// A pseudo-terminal for one command. The agent has the master; the command gets the slave as its three standard streams
// and as its controlling terminal.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::guest {

struct Terminal {
  base::UniqueFd master;  // non-blocking
  base::UniqueFd slave;   // to be closed here once the command has it: its last copy's end is the master's EIO
};

// Of cols × rows, for UTF-8, otherwise with the kernel's settings (line editing and echo are on). `owner` may open it
// by its name as well; nothing: the agent's own user.
Result<Terminal> open_terminal(std::uint64_t cols, std::uint64_t rows, std::optional<uid_t> owner);

// The foreground process group gets SIGWINCH when the size changes.
void resize_terminal(int master, std::uint64_t cols, std::uint64_t rows);

// What a person types to end the input, after `last_typed` (nothing: it is the first thing). Where lines are edited,
// the first end-of-file character after an unfinished line only completes it, so it comes twice. Empty when it is
// disabled.
std::string end_of_file_keys(int master, std::optional<char> last_typed);

}  // namespace orkestr::guest
