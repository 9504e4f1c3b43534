#include "guest/identity.hpp"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
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

Result<void> add_entropy(const base::UniqueFd& random, std::string_view entropy) {
  if (entropy.empty()) return {};
  // struct rand_pool_info: two ints, then the bytes.
  const int head[2] = {static_cast<int>(entropy.size() * 8), static_cast<int>(entropy.size())};
  std::vector<int> pool(2 + (entropy.size() + sizeof(int) - 1) / sizeof(int));
  std::memcpy(pool.data(), head, sizeof head);
  std::memcpy(pool.data() + 2, entropy.data(), entropy.size());
  if (::ioctl(random.get(), RNDADDENTROPY, pool.data()) != 0) return base::errno_error("RNDADDENTROPY", errno);
  if (::ioctl(random.get(), RNDRESEEDCRNG) != 0) return base::errno_error("RNDRESEEDCRNG", errno);
  return {};
}

Result<void> set_hostname(const IdentityFiles& files, const std::string& name) {
  if (::sethostname(name.c_str(), name.size()) != 0) return base::errno_error("sethostname " + name, errno);
  ORKESTR_CHECK(rewrite(files.hostname, name + "\n"));
  return rewrite(files.hosts,
                 "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t" + name + "\n");
}

// A clone has the boot id of its template, which programs take for "the same boot of the same machine".
std::string new_boot_id() {
  constexpr std::string_view digits = "0123456789abcdef";
  const std::string bytes = base::random_bytes(16);
  std::string id;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    unsigned value = static_cast<unsigned char>(bytes[i]);
    if (i == 6) value = (value & 0x0FU) | 0x40U;
    if (i == 8) value = (value & 0x3FU) | 0x80U;
    if (i == 4 || i == 6 || i == 8 || i == 10) id += '-';
    id += digits[value >> 4U];
    id += digits[value & 0x0FU];
  }
  return id;
}

}  // namespace

Result<void> apply_identity(const wire::ConfigureRequest& request, Settings& settings) {
  if (!request.same_machine) settings.env = request.env;
  if (!settings.is_init) return {};
  ORKESTR_CHECK(set_clock(request.wall_clock_ns));
  const IdentityFiles& files = settings.identity;
  ORKESTR_CHECK(add_entropy(files.random, request.entropy));
  if (request.same_machine) return {};
  ORKESTR_CHECK(set_hostname(files, request.hostname));
  ORKESTR_CHECK(rewrite(files.machine_id, request.machine_id + "\n"));
  return rewrite(files.boot_id, new_boot_id() + "\n");
}

}  // namespace orkestr::guest
