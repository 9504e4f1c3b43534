#include "guest/terminal.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::guest {
namespace {

winsize window(std::uint64_t cols, std::uint64_t rows) {
  winsize size{};
  size.ws_col = static_cast<unsigned short>(cols);
  size.ws_row = static_cast<unsigned short>(rows);
  return size;
}

}  // namespace

Result<Terminal> open_terminal(std::uint64_t cols, std::uint64_t rows, std::optional<uid_t> owner) {
  Terminal terminal;
  terminal.master.reset(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!terminal.master) return base::errno_error("open /dev/ptmx for a terminal", errno);
  const int master = terminal.master.get();
  int unlocked = 0;
  if (::ioctl(master, TIOCSPTLCK, &unlocked) != 0) return base::errno_error("unlock a terminal", errno);
  // By descriptor, not by name: /dev/pts may be another one in this mount namespace.
  terminal.slave.reset(::ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.slave) return base::errno_error("open the other end of a terminal", errno);
  const int slave = terminal.slave.get();
  if (owner && ::fchown(slave, *owner, static_cast<gid_t>(-1)) != 0) {
    return base::errno_error("give a terminal to its user", errno);
  }
  termios settings{};
  if (::tcgetattr(slave, &settings) != 0) return base::errno_error("read a terminal's settings", errno);
  settings.c_iflag |= IUTF8;
  if (::tcsetattr(slave, TCSANOW, &settings) != 0) return base::errno_error("set up a terminal", errno);
  const winsize size = window(cols, rows);
  if (::ioctl(master, TIOCSWINSZ, &size) != 0) return base::errno_error("set a terminal's size", errno);
  return terminal;
}

void resize_terminal(int master, std::uint64_t cols, std::uint64_t rows) {
  const winsize size = window(cols, rows);
  ::ioctl(master, TIOCSWINSZ, &size);  // fails only for a descriptor that is no terminal
}

std::string end_of_file_keys(int master, std::optional<char> last_typed) {
  termios settings{};  // of the slave: the kernel answers so through the master
  if (::tcgetattr(master, &settings) != 0) return {};
  const cc_t key = settings.c_cc[VEOF];
  if (key == _POSIX_VDISABLE) return {};
  const bool edits_lines = (settings.c_lflag & ICANON) != 0;
  const bool unfinished =
      last_typed && *last_typed != '\n' && *last_typed != '\r' && static_cast<unsigned char>(*last_typed) != key;
  return std::string(edits_lines && unfinished ? 2 : 1, static_cast<char>(key));
}

}  // namespace orkestr::guest
