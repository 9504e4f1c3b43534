// The agent: one thread, one loop, one connection.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/reactor.hpp"
#include "base/unique_fd.hpp"
#include "guest/link.hpp"
#include "guest/operations.hpp"
#include "guest/services.hpp"

namespace orkestr::guest {

struct AgentOptions {
  base::UniqueFd connection;
  Link::Kind kind = Link::Kind::socket;
  Settings settings;
  std::string cgroup_root;  // empty: commands are ended as far as sessions and marks reach
};

class Agent {
 public:
  // Call prepare_process() before. The agent keeps still: handlers point into it.
  static Result<std::unique_ptr<Agent>> create(AgentOptions options);

  // Until the peer closes or SIGTERM comes (ok), or the connection fails. PID 1 returns only when its port fails.
  Result<void> run();

 private:
  explicit Agent(AgentOptions options);
  Result<void> connect(base::UniqueFd connection, Link::Kind kind);

  // In the order they need each other; destroyed in the opposite one.
  Settings settings_;
  std::unique_ptr<base::Reactor> reactor_;
  base::UniqueFd null_;
  std::unique_ptr<Reaper> reaper_;
  std::unique_ptr<ProcessTrees> trees_;
  std::unique_ptr<Drain> drain_;
  std::unique_ptr<Link> link_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<Operations> operations_;
  std::string cgroup_root_;
  std::optional<Result<void>> ended_;
};

// What the agent and launch() rely on: descriptors 0 to 2 open, signals at their defaults and blocked, orphans of
// commands come to this process, files are made with the modes they ask for.
Result<void> prepare_process();

}  // namespace orkestr::guest
