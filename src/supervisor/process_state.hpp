// The clean slate on which a supervisor starts, whatever process it was spawned from.
#pragma once

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::supervisor {

inline constexpr int kCreatorFd = 3;

// To be called first of all, while the process has one thread: keeps only descriptor 3, which must be a connected unix
// socket; /dev/null on 0, 1 and 2; default signal dispositions, nothing blocked, SIGPIPE ignored; no core files; umask
// 077; a session of its own, directory /. Returns in a grandchild of the spawning process, in which the spawned one has
// already exited with 0.
Result<base::UniqueFd> detach_from_creator();

}  // namespace orkestr::supervisor
