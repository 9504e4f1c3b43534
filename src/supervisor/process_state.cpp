#include "supervisor/process_state.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::supervisor {
namespace {

Result<void> keep_only_the_creator() {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(kCreatorFd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX) {
    return Error(ErrorCode::invalid_argument,
                 "descriptor 3 is not a unix socket: this program is started by the library, not by hand");
  }
  // Before /dev/null is opened: whatever pipe a shell waits on must not live on in us.
  if (::close_range(kCreatorFd + 1, UINT_MAX, 0) != 0) return base::errno_error("close_range", errno);
  base::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return base::errno_error("open /dev/null", errno);
  for (int fd = 0; fd < kCreatorFd; ++fd) {
    if (null.get() != fd && ::dup2(null.get(), fd) < 0) return base::errno_error("dup2", errno);
  }
  if (null.get() < kCreatorFd) null.release();
  if (::fcntl(kCreatorFd, F_SETFD, FD_CLOEXEC) != 0) return base::errno_error("fcntl", errno);
  return {};
}

void reset_signals() {
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

Result<base::UniqueFd> detach_from_creator() {
  ORKESTR_CHECK(keep_only_the_creator());
  reset_signals();
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::umask(077);
  if (::chdir("/") != 0) return base::errno_error("chdir /", errno);
  if (::setsid() < 0 && errno != EPERM) return base::errno_error("setsid", errno);
  const pid_t child = ::fork();
  if (child < 0) return base::errno_error("fork", errno);
  if (child > 0) ::_exit(0);
  return base::UniqueFd(kCreatorFd);
}

}  // namespace orkestr::supervisor
