#include "base/system.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "base/file.hpp"
#include "base/try.hpp"

namespace orkestr::base {
namespace {

ErrorCode code_of_errno(int err) {
  switch (err) {
    case ENOENT:
      return ErrorCode::file_not_found;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::not_permitted;
    case EISDIR:
      return ErrorCode::is_a_directory;
    case ENOTDIR:
      return ErrorCode::not_a_directory;
    case EEXIST:
      return ErrorCode::file_exists;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case EPIPE:
      return ErrorCode::connection;
    default:
      return ErrorCode::internal;
  }
}

std::int64_t clock_ms(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

Error errno_error(std::string_view what, int err) {
  // Not strerror: its text follows the embedder's locale, and ours is compared by tests and searched for by people.
  const char* text = ::strerrordesc_np(err);
  return Error(code_of_errno(err),
               text != nullptr ? fmt::format("{}: {}", what, text) : fmt::format("{}: error {}", what, err));
}

Result<std::pair<UniqueFd, UniqueFd>> socket_pair(int type) {
  int fds[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0) return errno_error("socketpair", errno);
  return std::pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

Result<std::pair<UniqueFd, UniqueFd>> make_pipe(int flags) {
  int fds[2];
  if (::pipe2(fds, flags | O_CLOEXEC) != 0) return errno_error("pipe2", errno);
  return std::pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

Result<void> set_nonblocking(int fd, bool on) {
  int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return errno_error(fmt::format("fcntl F_GETFL on descriptor {}", fd), errno);
  int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (wanted != flags && ::fcntl(fd, F_SETFL, wanted) != 0) {
    return errno_error(fmt::format("fcntl F_SETFL on descriptor {}", fd), errno);
  }
  return {};
}

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  std::size_t done = 0;
  while (done < count) {
    ssize_t n = ::getrandom(bytes.data() + done, count - done, 0);
    if (n > 0) {
      done += static_cast<std::size_t>(n);
    } else if (errno != EINTR) {
      // Only a seccomp filter of the embedder gets here. Identifiers and keys that can be guessed are worse than no
      // process.
      std::abort();
    }
  }
  return bytes;
}

std::int64_t wall_clock_ms() { return clock_ms(CLOCK_REALTIME); }
std::int64_t boot_clock_ms() { return clock_ms(CLOCK_BOOTTIME); }

std::string iso8601_utc(std::int64_t wall_ms) {
  using namespace std::chrono;
  // Years 0000 to 9999: all that the format can hold.
  constexpr sys_time<milliseconds> first = sys_days(year(0) / January / 1);
  constexpr sys_time<milliseconds> last = sys_days(year(10000) / January / 1) - milliseconds(1);
  sys_time<milliseconds> time{milliseconds(wall_ms)};
  time = std::clamp(time, first, last);
  auto day = floor<days>(time);
  year_month_day date(day);
  hh_mm_ss clock(time - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                     clock.minutes().count(), clock.seconds().count(), clock.subseconds().count());
}

std::optional<std::int64_t> parse_iso8601_utc(std::string_view text) {
  if (text.size() > 64) return std::nullopt;
  const std::string copy(text);
  tm parts{};
  const char* rest = ::strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return std::nullopt;
  std::int64_t ms = 0;
  if (*rest == '.') {
    std::int64_t scale = 100;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, scale /= 10) ms += scale * (*rest - '0');
  }
  if (*rest == 'Z') ++rest;
  if (rest != copy.c_str() + copy.size()) return std::nullopt;
  return std::int64_t{::timegm(&parts)} * 1000 + ms;
}

std::string boot_id() {
  auto text = read_file("/proc/sys/kernel/random/boot_id", 64);
  if (!text) return {};
  return text->substr(0, text->find('\n'));
}

}  // namespace orkestr::base
