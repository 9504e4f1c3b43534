#include "core/waiter.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace orkestr::core {

void Waiter::signal() {
  std::lock_guard lock(mutex_);
  signalled_ = true;
  set_event_locked(true);
  changed_.notify_all();
}

void Waiter::arm() {
  std::lock_guard lock(mutex_);
  signalled_ = false;
}

bool Waiter::wait(base::Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (deadline.is_never()) {
    changed_.wait(lock, [this] { return signalled_; });
    return true;
  }
  return changed_.wait_until(lock, *deadline.time_point(), [this] { return signalled_; });
}

int Waiter::fd(bool readable) {
  std::lock_guard lock(mutex_);
  if (!event_) {
    event_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    set_event_locked(readable);
  }
  return event_.get();
}

void Waiter::set_readable(bool readable) {
  std::lock_guard lock(mutex_);
  set_event_locked(readable);
}

void Waiter::set_event_locked(bool on) {
  if (!event_) return;
  std::uint64_t count = on ? 1 : 0;
  // Both fail only where the counter already says it.
  if (on) {
    (void)!::write(event_.get(), &count, sizeof count);
  } else {
    (void)!::read(event_.get(), &count, sizeof count);
  }
}

}  // namespace orkestr::core
