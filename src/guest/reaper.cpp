#include "guest/reaper.hpp"

#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::guest {

Result<std::unique_ptr<Reaper>> Reaper::create(base::Reactor& reactor, std::function<void(int)> on_signal) {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (int signal : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&wanted, signal);
  base::UniqueFd signals(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return base::errno_error("signalfd", errno);
  std::unique_ptr<Reaper> reaper(new Reaper(reactor, std::move(signals), std::move(on_signal)));
  ORKESTR_CHECK(
      reactor.add(reaper->signals_.get(), EPOLLIN, [self = reaper.get()](std::uint32_t) { self->on_readable(); }));
  return reaper;
}

Reaper::Reaper(base::Reactor& reactor, base::UniqueFd signals, std::function<void(int)> on_signal)
    : reactor_(reactor), signals_(std::move(signals)), on_signal_(std::move(on_signal)) {}

Reaper::~Reaper() { reactor_.remove(signals_.get()); }

void Reaper::on_readable() {
  signalfd_siginfo info[4];
  const ssize_t n = ::read(signals_.get(), info, sizeof info);
  bool child = false;
  for (std::size_t i = 0; n > 0 && i < static_cast<std::size_t>(n) / sizeof info[0]; ++i) {
    if (info[i].ssi_signo == SIGCHLD) {
      child = true;
    } else {
      on_signal_(static_cast<int>(info[i].ssi_signo));
    }
  }
  if (child) reap();
}

// Signals of one number merge: each SIGCHLD means "at least one".
void Reaper::reap() {
  while (true) {
    int status = 0;
    rusage usage{};
    const pid_t pid = ::wait4(-1, &status, WNOHANG, &usage);
    if (pid <= 0) return;
    auto found = handlers_.extract(pid);
    if (found) found.mapped()(status, usage);
  }
}

}  // namespace orkestr::guest
