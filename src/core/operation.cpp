#include "orkestr/operation.hpp"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "base/unique_fd.hpp"

namespace orkestr::detail {

struct OperationState::Impl {
  const pid_t owner = ::getpid();
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  bool claimed = false;
  std::atomic<bool> done{false};  // written under the mutex; a forked child, which cannot lock that, reads it without
  bool cancel_asked = false;
  std::function<void()> cancel_hook;
  base::UniqueFd event;

  // In a forked child another thread may have held the mutex, or waited on the condition, at the fork.
  bool forked() const { return ::getpid() != owner; }

  void signal_event() const {
    const std::uint64_t one = 1;
    // The counter of an eventfd that nobody reads cannot overflow by one write.
    if (event) (void)!::write(event.get(), &one, sizeof one);
  }
};

OperationState::OperationState() : impl_(std::make_unique<Impl>()) {}
OperationState::~OperationState() {
  if (impl_->forked()) (void)impl_.release();  // destroying a condition waits for who waits on it: in the parent
}

bool OperationState::done() const noexcept { return impl_->done.load(std::memory_order_acquire); }

Error OperationState::not_here() const {
  return Error(
      ErrorCode::not_ready,
      fmt::format("the operation belongs to process {}, this is its forked child {}, where it never completes; "
                  "open a client here with Client::open() and repeat it",
                  impl_->owner, ::getpid()));
}

bool OperationState::wait(std::optional<std::chrono::nanoseconds> timeout) const {
  if (impl_->forked()) return true;
  std::unique_lock lock(impl_->mutex);
  auto done = [this] { return impl_->done.load(); };
  if (!timeout) {
    impl_->changed.wait(lock, done);
    return true;
  }
  // Beyond a century the clock arithmetic would overflow; nobody means it literally.
  constexpr std::chrono::nanoseconds kLongest = std::chrono::hours(24 * 365 * 100);
  return impl_->changed.wait_for(lock, std::min(*timeout, kLongest), done);
}

int OperationState::fd() {
  if (impl_->forked()) return -1;
  std::lock_guard lock(impl_->mutex);
  if (!impl_->event) {
    impl_->event.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (impl_->done) impl_->signal_event();
  }
  return impl_->event.get();
}

void OperationState::cancel() {
  if (impl_->forked()) return;
  std::function<void()> hook;
  {
    std::lock_guard lock(impl_->mutex);
    if (impl_->claimed) return;
    impl_->cancel_asked = true;
    hook = std::exchange(impl_->cancel_hook, nullptr);
  }
  if (hook) hook();
}

void OperationState::on_cancel(std::function<void()> hook) {
  {
    std::lock_guard lock(impl_->mutex);
    if (impl_->claimed) return;
    if (!impl_->cancel_asked) {
      impl_->cancel_hook = std::move(hook);
      return;
    }
  }
  if (hook) hook();
}

bool OperationState::claim() {
  std::function<void()> released;  // destroyed outside the lock: it may own much
  std::lock_guard lock(impl_->mutex);
  released = std::exchange(impl_->cancel_hook, nullptr);
  return !std::exchange(impl_->claimed, true);
}

void OperationState::complete() {
  std::lock_guard lock(impl_->mutex);
  impl_->done = true;
  impl_->signal_event();
  // Under the lock: a waiter that wakes may destroy this object as soon as it is released.
  impl_->changed.notify_all();
}

}  // namespace orkestr::detail
