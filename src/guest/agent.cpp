#include "guest/agent.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "guest/identity.hpp"

namespace orkestr::guest {
namespace {
constexpr int kLastSignal = 64;
}

Result<std::unique_ptr<Agent>> Agent::create(AgentOptions options) {
  base::UniqueFd connection = std::move(options.connection);
  const Link::Kind kind = options.kind;
  std::unique_ptr<Agent> agent(new Agent(std::move(options)));
  ORKESTR_CHECK(agent->connect(std::move(connection), kind));
  return agent;
}

Agent::Agent(AgentOptions options)
    : settings_(std::move(options.settings)), cgroup_root_(std::move(options.cgroup_root)) {}

Result<void> Agent::connect(base::UniqueFd connection, Link::Kind kind) {
  ORKESTR_TRY(reactor_, base::Reactor::create());
  ORKESTR_TRY(null_, base::open_at(AT_FDCWD, "/dev/null", O_RDWR));
  auto on_signal = [this](int) {
    if (!settings_.is_init) ended_.emplace();
  };
  ORKESTR_TRY(reaper_, Reaper::create(*reactor_, std::move(on_signal)));
  trees_ = std::make_unique<ProcessTrees>(*reactor_, cgroup_root_);
  drain_ = std::make_unique<Drain>(*reactor_);

  Link::Handlers handlers;
  handlers.established = [this](const std::vector<wire::OutFrame>& lost) { operations_->on_established(lost); };
  handlers.frame = [this](const wire::Frame& frame) { return operations_->on_frame(frame); };
  handlers.ended = [this](Result<void> outcome) { ended_ = std::move(outcome); };
  ORKESTR_TRY(link_, Link::create(*reactor_, std::move(connection), kind, std::move(handlers)));

  services_ =
      std::make_unique<Services>(Services{*reactor_, *link_, *reaper_, *trees_, *drain_, settings_, null_.get()});
  auto configure = [this](const wire::ConfigureRequest& request) { return apply_identity(request, settings_); };
  operations_ = std::make_unique<Operations>(*services_, std::move(configure));
  return {};
}

Result<void> Agent::run() {
  link_->flush();
  while (!ended_) {
    reactor_->run_once(operations_->has_work() ? 0 : -1);
    operations_->pump();
    link_->flush();
  }
  return *ended_;
}

Result<void> prepare_process() {
  while (true) {
    const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd <= 2 && fd >= 0) continue;
    ::close(fd);
    break;
  }
  // Raw: glibc hides the two signals it uses itself, and whoever started us may have left even those ignored.
  for (int signal = 1; signal <= kLastSignal; ++signal) {
    const unsigned long by_default[4] = {};  // the kernel's struct sigaction: handler, flags, restorer, mask
    ::syscall(SYS_rt_sigaction, signal, by_default, nullptr, sizeof by_default[3]);
  }
  sigset_t all;
  sigfillset(&all);
  if (::sigprocmask(SIG_SETMASK, &all, nullptr) != 0) return base::errno_error("sigprocmask", errno);
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return base::errno_error("PR_SET_CHILD_SUBREAPER", errno);
  ::umask(022);
  // Frames come and go by the thousand; their memory need not go back to the kernel each time.
  ::mallopt(M_TRIM_THRESHOLD, 4 << 20);
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  return {};
}

}  // namespace orkestr::guest
