#include "supervisor/timers.hpp"

#include <signal.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::supervisor {
namespace {

itimerspec once_at(std::int64_t boot_ms) {
  boot_ms = std::max<std::int64_t>(boot_ms, 1);  // 0 would disarm
  itimerspec spec{};
  spec.it_value.tv_sec = boot_ms / 1000;
  spec.it_value.tv_nsec = boot_ms % 1000 * 1'000'000;
  return spec;
}

}  // namespace

Result<base::UniqueFd> make_deadline_timer(std::int64_t boot_ms) {
  base::UniqueFd timer(::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return base::errno_error("timerfd_create", errno);
  ORKESTR_CHECK(set_deadline_timer(timer.get(), boot_ms));
  return timer;
}

Result<void> set_deadline_timer(int timer, std::int64_t boot_ms) {
  const itimerspec spec = once_at(boot_ms);
  if (::timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, nullptr) == 0) return {};
  return base::errno_error("timerfd_settime", errno);
}

Result<LastResort> LastResort::create() {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGALRM;
  timer_t timer{};
  if (::timer_create(CLOCK_BOOTTIME, &event, &timer) != 0) return base::errno_error("timer_create", errno);
  return LastResort(timer);
}

LastResort::LastResort(LastResort&& other) noexcept
    : timer_(other.timer_), owned_(std::exchange(other.owned_, false)) {}

LastResort::~LastResort() {
  if (owned_) ::timer_delete(timer_);
}

void LastResort::arm(std::int64_t boot_ms) {
  const itimerspec spec = once_at(boot_ms);
  ::timer_settime(timer_, TIMER_ABSTIME, &spec, nullptr);
}

}  // namespace orkestr::supervisor
