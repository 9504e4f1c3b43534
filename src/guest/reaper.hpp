// The one place that waits for processes: leaders of commands, and as PID 1 or subreaper every orphan of theirs.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <functional>
#include <memory>
#include <unordered_map>

#include "base/reactor.hpp"
#include "base/unique_fd.hpp"

namespace orkestr::guest {

class Reaper {
 public:
  // `status` as wait4(2) gives it; `usage` of the process and the children it waited for.
  using Handler = std::function<void(int status, const rusage& usage)>;

  // All signals must be blocked already. `on_signal` gets SIGTERM and SIGINT.
  static Result<std::unique_ptr<Reaper>> create(base::Reactor& reactor, std::function<void(int signal)> on_signal);
  ~Reaper();
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  // Called once when `pid`, a child of this process, has ended. Nothing is missed when watch() comes in the turn of the
  // reactor that started the child.
  void watch(pid_t pid, Handler handler) { handlers_[pid] = std::move(handler); }
  void forget(pid_t pid) { handlers_.erase(pid); }

 private:
  Reaper(base::Reactor& reactor, base::UniqueFd signals, std::function<void(int)> on_signal);
  void on_readable();
  void reap();

  base::Reactor& reactor_;
  base::UniqueFd signals_;
  std::function<void(int)> on_signal_;
  std::unordered_map<pid_t, Handler> handlers_;
};

}  // namespace orkestr::guest
