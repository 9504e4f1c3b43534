#include "guest/identity.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::guest {
namespace {

constexpr std::uint64_t kNanoseconds = 1'000'000'000;
// Setting the clock wakes every timer of the guest; what the transfer of the message took is no reason to.
constexpr std::uint64_t kTolerableSkewNs = 500'000;
constexpr const char* kBootId = "/proc/sys/kernel/random/boot_id";

Result<void> set_clock(std::uint64_t wall_clock_ns) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const std::uint64_t current =
      static_cast<std::uint64_t>(now.tv_sec) * kNanoseconds + static_cast<std::uint64_t>(now.tv_nsec);
  const std::uint64_t skew = current > wall_clock_ns ? current - wall_clock_ns : wall_clock_ns - current;
  if (wall_clock_ns == 0 || skew <= kTolerableSkewNs) return {};
  const timespec wanted{static_cast<time_t>(wall_clock_ns / kNanoseconds),
                        static_cast<long>(wall_clock_ns % kNanoseconds)};
  if (::clock_settime(CLOCK_REALTIME, &wanted) != 0) return base::errno_error("set the clock", errno);
  return {};
}

Result<void> add_entropy(std::string_view entropy) {
  if (entropy.empty()) return {};
  ORKESTR_TRY(const base::UniqueFd random, base::open_at(AT_FDCWD, "/dev/urandom", O_WRONLY));
  // struct rand_pool_info: two ints, then the bytes.
  const int head[2] = {static_cast<int>(entropy.size() * 8), static_cast<int>(entropy.size())};
  std::vector<int> pool(2 + (entropy.size() + sizeof(int) - 1) / sizeof(int));
  std::memcpy(pool.data(), head, sizeof head);
  std::memcpy(pool.data() + 2, entropy.data(), entropy.size());
  if (::ioctl(random.get(), RNDADDENTROPY, pool.data()) != 0) return base::errno_error("RNDADDENTROPY", errno);
  if (::ioctl(random.get(), RNDRESEEDCRNG) != 0) return base::errno_error("RNDRESEEDCRNG", errno);
  return {};
}

// The guest owns these files and may have put a link there: never followed.
Result<void> write_owned(const char* path, std::string_view content) {
  ::unlink(path);
  ORKESTR_TRY(const base::UniqueFd file, base::open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644));
  return base::write_all(file.get(), content);
}

Result<void> set_hostname(const std::string& name) {
  if (name.empty()) return {};
  if (::sethostname(name.c_str(), name.size()) != 0) return base::errno_error("sethostname " + name, errno);
  ORKESTR_CHECK(write_owned("/etc/hostname", name + "\n"));
  return write_owned(
      "/etc/hosts",
      fmt::format("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{}\n", name));
}

// A clone has the boot id of its template, which programs take for "the same boot of the same machine".
Result<void> renew_boot_id() {
  const std::string bytes = base::random_bytes(16);
  std::string id;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    unsigned value = static_cast<unsigned char>(bytes[i]);
    if (i == 6) value = (value & 0x0FU) | 0x40U;
    if (i == 8) value = (value & 0x3FU) | 0x80U;
    id += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", value);
  }
  constexpr const char* source = "/run/orkestr/boot_id";
  ORKESTR_CHECK(base::make_directories("/run/orkestr", 0755));
  ::umount2(kBootId, MNT_DETACH);  // of an earlier configure
  ORKESTR_CHECK(write_owned(source, id + "\n"));
  if (::mount(source, kBootId, nullptr, MS_BIND, nullptr) != 0) return base::errno_error("mount a new boot id", errno);
  return {};
}

}  // namespace

Result<void> apply_identity(const wire::ConfigureRequest& request, Settings& settings) {
  if (!request.same_machine) settings.env = request.env;
  if (!settings.is_init) return {};
  ORKESTR_CHECK(set_clock(request.wall_clock_ns));
  ORKESTR_CHECK(add_entropy(request.entropy));
  if (request.same_machine) return {};
  ORKESTR_CHECK(set_hostname(request.hostname));
  if (!request.machine_id.empty()) ORKESTR_CHECK(write_owned("/etc/machine-id", request.machine_id + "\n"));
  return renew_boot_id();
}

}  // namespace orkestr::guest
