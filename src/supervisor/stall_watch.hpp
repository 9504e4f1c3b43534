// When a boot counts as stalled. Pure: time and CPU use come from outside.
//
// A guest under emulation can hang in more than one way: it spins for ever (a timer calibration that never agrees with
// itself), or it waits for an interrupt that never comes. A healthy boot takes about 3 s of CPU and, on a loaded
// machine, up to 30 s of time.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace orkestr::supervisor {

struct BootLimits {
  std::int64_t cpu_ms = 12'000;            // QEMU's CPU time until the agent is there
  std::chrono::seconds wall{60};           // time until then
  std::chrono::seconds idle{10};           // time without CPU use
  std::int64_t idle_cpu_ms = 50;           // less than this is no use
  std::chrono::seconds all_attempts{150};  // from the start request to running
};

class StallWatch {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit StallWatch(TimePoint start, BootLimits limits = {}) : limits_(limits), start_(start), mark_(start) {}

  // Nothing while the boot is healthy, else why it is not.
  std::optional<std::string> check(TimePoint now, std::int64_t cpu_ms);

 private:
  BootLimits limits_;
  TimePoint start_;
  TimePoint mark_;  // when it had last used a notable amount of CPU
  std::int64_t mark_cpu_ms_ = 0;
};

}  // namespace orkestr::supervisor
