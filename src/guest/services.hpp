// What operations need of the agent, and the settings that `configure` brings.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/reactor.hpp"
#include "guest/drain.hpp"
#include "guest/identity_files.hpp"
#include "guest/link.hpp"
#include "guest/process_tree.hpp"
#include "guest/reaper.hpp"
#include "wire/message.hpp"

namespace orkestr::guest {

struct Settings {
  bool is_init = false;                  // PID 1 of a VM, not a process among others
  std::string workspace = "/workspace";  // where commands start that name no directory
  wire::EnvList env;                     // of the sandbox, for every command
  IdentityFiles identity;                // as PID 1
};

struct Services {
  base::Reactor& reactor;
  Link& link;
  Reaper& reaper;
  ProcessTrees& trees;
  Drain& drain;
  const Settings& settings;
  int null_fd;  // /dev/null, both ways
};

// An operation's way to ask for a turn (produce()) once something outside of it has changed. Safe after the operation's
// end.
using Wake = std::function<void()>;

}  // namespace orkestr::guest
