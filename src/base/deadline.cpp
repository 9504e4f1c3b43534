#include "base/deadline.hpp"

#include <algorithm>
#include <limits>

namespace orkestr::base {

Deadline Deadline::after(std::chrono::nanoseconds d) {
  auto now = Clock::now();
  if (d > Clock::time_point::max() - now) return never();
  return Deadline(now + d);
}

int Deadline::poll_timeout_ms() const {
  auto left = remaining();
  if (!left) return -1;
  // Rounded up: a wait that ends early would spin until the deadline.
  auto ms = std::chrono::ceil<std::chrono::milliseconds>(*left).count();
  return static_cast<int>(std::min<decltype(ms)>(ms, std::numeric_limits<int>::max()));
}

}  // namespace orkestr::base
