#include "supervisor/stall_watch.hpp"

#include <fmt/format.h>

namespace orkestr::supervisor {

std::optional<std::string> StallWatch::check(TimePoint now, std::int64_t cpu_ms) {
  if (cpu_ms >= limits_.cpu_ms) {
    return fmt::format("QEMU has used {:.1f} s of CPU and the guest's agent has not answered",
                       static_cast<double>(cpu_ms) / 1000);
  }
  if (now - start_ >= limits_.wall) {
    return fmt::format("the guest's agent has not answered for {} s (QEMU has used {:.1f} s of CPU)",
                       limits_.wall.count(), static_cast<double>(cpu_ms) / 1000);
  }
  if (cpu_ms - mark_cpu_ms_ >= limits_.idle_cpu_ms) {
    mark_ = now;
    mark_cpu_ms_ = cpu_ms;
  }
  if (now - mark_ >= limits_.idle) {
    return fmt::format("QEMU has used no CPU for {} s and the guest's agent has not answered", limits_.idle.count());
  }
  return std::nullopt;
}

}  // namespace orkestr::supervisor
