// The supervisor's socket. A path of any length is reached through the descriptor of its directory: sun_path has 108
// bytes.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/id.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "registry/directory.hpp"
#include "registry/registry.hpp"

namespace orkestr::registry {
namespace {

constexpr int kBacklog = 128;

sockaddr_un socket_address(int dir_fd) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir_fd, kSocketFile);
  return address;
}

const sockaddr* generic(const sockaddr_un& address) { return reinterpret_cast<const sockaddr*>(&address); }

Error nobody_listens(const std::string& id, int err) {
  return Error(ErrorCode::not_ready, fmt::format("sandbox {}: its supervisor cannot be reached ({}); it is starting, "
                                                 "ending or gone: ask for its status",
                                                 id, base::errno_error("connect", err).message()));
}

}  // namespace

Result<std::optional<base::UniqueFd>> connect(const std::string& sandboxes_dir, const std::string& id) {
  const std::string path = sandboxes_dir + "/" + id;
  if (!base::is_sandbox_id(id)) {
    return Error(ErrorCode::not_found, fmt::format("sandbox {}: not the id of a sandbox", id));
  }
  auto dir = open_directory(AT_FDCWD, path);
  if (!dir && dir.error().code() == ErrorCode::file_not_found) {
    return Error(ErrorCode::not_found, fmt::format("sandbox {}: there is none of this id on this machine", id));
  }
  if (!dir) return dir.error();
  base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return base::errno_error("make a unix socket", errno);
  const sockaddr_un address = socket_address(dir->get());
  int connected;
  do {
    connected = ::connect(fd.get(), generic(address), sizeof address);
  } while (connected != 0 && errno == EINTR);
  // A unix socket never connects later: it is done, refused, or there is no room in the queue.
  if (connected != 0 && errno == EAGAIN) return std::optional<base::UniqueFd>();
  if (connected != 0) return nobody_listens(id, errno);

  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return base::errno_error("ask for the owner of a socket", errno);
  }
  if (peer.uid != ::geteuid() && peer.uid != 0) {
    return Error(ErrorCode::not_permitted,
                 fmt::format("sandbox {}: uid {} listens on {}/{}, expected is uid {} or root; remove that file", id,
                             peer.uid, path, kSocketFile, ::geteuid()));
  }
  ORKESTR_CHECK(base::set_nonblocking(fd.get(), false));
  return std::optional<base::UniqueFd>(std::move(fd));
}

Result<base::UniqueFd> listen(const OwnedDirectory& directory) {
  const std::string name = directory.path() + "/" + kSocketFile;
  base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return base::errno_error("make a unix socket", errno);
  // The node that bind() makes has the mode of the socket: it is 0600 from the first moment, and no process-wide umask
  // is touched.
  if (::fchmod(fd.get(), 0600) != 0) return base::errno_error("set the mode of a unix socket", errno);
  if (::unlinkat(directory.dir_fd(), kSocketFile, 0) != 0 && errno != ENOENT) {
    return base::errno_error("remove " + name, errno);
  }
  const sockaddr_un address = socket_address(directory.dir_fd());
  if (::bind(fd.get(), generic(address), sizeof address) != 0) return base::errno_error("bind " + name, errno);
  if (::listen(fd.get(), kBacklog) != 0) return base::errno_error("listen on " + name, errno);
  return fd;
}

}  // namespace orkestr::registry
