// Starts one program: session, cgroup, user, directory, descriptors, environment. The agent's memory is not copied (the
// child borrows it until it executes), so a start costs the same however large the agent is.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::guest {

struct LaunchRequest {
  std::vector<std::string> argv;  // argv[0] without a slash is searched on the PATH of `env`
  std::vector<std::string> env;   // "NAME=value"
  std::string cwd;
  int standard[3] = {-1, -1, -1};  // become 0, 1, 2; each above 2
  bool terminal = false;           // they are a terminal, which becomes the controlling one
  int cgroup_fd = -1;              // directory of the cgroup it starts in; -1: the agent's own
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary
  bool switch_user = false;   // false: the agent's own user, and the four above are not used
  bool is_init = false;       // the agent is PID 1: take back the limits that only the agent itself should have
};

// The leader's pid; it leads a session of its own. Errors name what failed and the way out: file_not_found (program,
// directory, interpreter), not_permitted, invalid_argument (not an executable format, arguments too long).
// Precondition: all signals are blocked and have their default action in the calling process, which has one thread.
Result<pid_t> launch(const LaunchRequest& request);

}  // namespace orkestr::guest
