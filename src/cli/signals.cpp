#include "cli/signals.hpp"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/system.hpp"

namespace orkestr::cli {

Result<Signals> Signals::create() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) {
    // One that is ignored would come through here all the same: blocking goes before ignoring.
    struct sigaction now {};
    const bool ignored = ::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
    if (!ignored) ::sigaddset(&set, signal);
  }
  if (const int err = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); err != 0) return base::errno_error("sigmask", err);
  std::signal(SIGPIPE, SIG_IGN);
  base::UniqueFd fd(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!fd) return base::errno_error("signalfd", errno);
  return Signals(std::move(fd));
}

std::optional<int> Signals::take() const {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != sizeof info) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

void wait_for(const Signals& signals, int readable_fd, int writable_fd) {
  std::array<pollfd, 3> fds{pollfd{signals.fd(), POLLIN, 0}, {readable_fd, POLLIN, 0}, {writable_fd, POLLOUT, 0}};
  // Bounded, so that what has no descriptor (none was left to have) is still noticed.
  (void)::poll(fds.data(), fds.size(), 1000);
}

}  // namespace orkestr::cli
