#include "base/unique_fd.hpp"

#include <unistd.h>

#include <cerrno>

namespace orkestr::base {

void UniqueFd::reset(int fd) {
  int old = std::exchange(fd_, fd);
  if (old < 0) return;
  // Destructors run between a failed call and the reading of its errno. After EINTR the descriptor is closed on Linux:
  // never retry.
  int saved = errno;
  ::close(old);
  errno = saved;
}

}  // namespace orkestr::base
