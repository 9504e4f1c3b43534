// All processes of one command: how to end every one of them, how to know that none is left, what they used.
//
// In the VM a tree is a cgroup, which holds whatever its members start, however they daemonise. As an ordinary process
// without cgroups it is a best effort: everything of the leader's session, and everything that inherited the command's
// mark in its environment. A process that drops both escapes; in the VM nothing does.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/reactor.hpp"
#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::guest {

struct TreeUsage {
  std::uint64_t user_us = 0;
  std::uint64_t system_us = 0;
  bool known = false;  // CPU time of the whole tree; else the leader's rusage is all there is
  bool oom = false;    // the kernel's out-of-memory killer ended a member
};

class ProcessTree {
 public:
  // For LaunchRequest::cgroup_fd.
  int cgroup_fd() const { return directory_.get(); }
  // "NAME=value" for the command's environment; empty where cgroups make it unnecessary.
  const std::string& mark() const { return mark_; }
  void set_leader(pid_t pid) { leader_ = pid; }

  void terminate();  // SIGTERM to every member
  void kill();       // SIGKILL to every member, whatever they start meanwhile
  bool is_empty() const;
  TreeUsage usage() const;  // since the tree was taken

 private:
  friend class ProcessTrees;
  std::vector<pid_t> members() const;

  std::string name_;  // of the cgroup; empty: process mode
  base::UniqueFd directory_, events_, cpu_, memory_;
  TreeUsage at_start_;
  std::uint64_t oom_kills_at_start_ = 0;
  std::string mark_;
  pid_t leader_ = -1;
};

// Hands out trees. Empty cgroups are used again: making one costs more than a short command.
class ProcessTrees {
 public:
  // `root`: a directory of cgroup2 that is ours, or empty for process mode.
  ProcessTrees(base::Reactor& reactor, std::string root) : reactor_(reactor), root_(std::move(root)) {}
  ~ProcessTrees();

  Result<std::unique_ptr<ProcessTree>> take();
  // A tree that still has members lives on by itself; its cgroup goes when the last of them ends.
  void give_back(std::unique_ptr<ProcessTree> tree);

 private:
  Result<std::unique_ptr<ProcessTree>> make();
  void remove(const ProcessTree& tree);
  void on_change(int events_fd);

  base::Reactor& reactor_;
  std::string root_;
  std::vector<std::unique_ptr<ProcessTree>> idle_;
  std::map<int, std::unique_ptr<ProcessTree>> populated_;  // by events_ descriptor
  std::uint64_t next_ = 1;
};

}  // namespace orkestr::guest
