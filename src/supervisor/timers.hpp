// Timers of a sandbox's life, on CLOCK_BOOTTIME: a host that sleeps does not prolong it.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstdint>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::supervisor {

// A non-blocking timerfd that becomes readable at `boot_ms` of base::boot_clock_ms(), at once when that has passed.
Result<base::UniqueFd> make_deadline_timer(std::int64_t boot_ms);
// Another time for the same timer.
Result<void> set_deadline_timer(int timer, std::int64_t boot_ms);

// Ends this process from the kernel, by SIGALRM with its default action, should its loop no longer turn. QEMU dies with
// it.
class LastResort {
 public:
  static Result<LastResort> create();
  ~LastResort();
  LastResort(LastResort&& other) noexcept;
  LastResort& operator=(LastResort&&) = delete;

  void arm(std::int64_t boot_ms);

 private:
  explicit LastResort(timer_t timer) : timer_(timer) {}
  timer_t timer_;
  bool owned_ = true;
};

}  // namespace orkestr::supervisor
