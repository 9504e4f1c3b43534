#include "base/memory.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/file.hpp"

namespace orkestr::base {

std::int64_t available_memory_mb() {
  constexpr std::string_view kName = "MemAvailable:";
  const auto text = read_file("/proc/meminfo", 64U << 10U);
  const auto at = text ? text->find(kName) : std::string::npos;
  if (at == std::string::npos) return 0;
  const std::size_t digits = text->find_first_of("0123456789", at);
  std::int64_t kb = 0;
  if (digits != std::string::npos) std::from_chars(text->data() + digits, text->data() + text->size(), kb);
  return kb / 1024;
}

}  // namespace orkestr::base
