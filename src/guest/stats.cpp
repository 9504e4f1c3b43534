#include "guest/stats.hpp"

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include "base/file.hpp"
#include "base/try.hpp"

namespace orkestr::guest {
namespace {

// "Name:   123 kB", in bytes; 0 when it is not there.
std::uint64_t bytes_of(std::string_view text, std::string_view name) {
  const std::size_t at = text.find(name);
  if (at == std::string_view::npos) return 0;
  const std::size_t digit = text.find_first_of("0123456789", at + name.size());
  std::uint64_t kib = 0;
  if (digit != std::string_view::npos) std::from_chars(text.data() + digit, text.data() + text.size(), kib);
  return kib << 10U;
}

}  // namespace

Result<wire::StatsMessage> memory_stats() {
  ORKESTR_TRY(const std::string text, base::read_file("/proc/meminfo", 64U << 10U));
  wire::StatsMessage stats;
  stats.memory_total_bytes = bytes_of(text, "MemTotal:");
  stats.memory_used_bytes =
      stats.memory_total_bytes - std::min(stats.memory_total_bytes, bytes_of(text, "MemAvailable:"));
  return stats;
}

}  // namespace orkestr::guest
