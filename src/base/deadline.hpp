// A point on CLOCK_MONOTONIC at which waiting stops. Every blocking function takes one.
#pragma once

#include <chrono>
#include <optional>

namespace orkestr::base {

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  static Deadline never() { return Deadline(); }
  // A duration too long for the clock is never().
  static Deadline after(std::chrono::nanoseconds d);
  static Deadline at(Clock::time_point t) { return Deadline(t); }

  bool is_never() const { return !at_; }
  bool expired() const { return at_ && Clock::now() >= *at_; }
  // Time left, never negative; nothing for never().
  std::optional<std::chrono::nanoseconds> remaining() const {
    if (!at_) return std::nullopt;
    auto left = *at_ - Clock::now();
    return left.count() > 0 ? left : std::chrono::nanoseconds(0);
  }
  // For poll(2) and epoll_wait(2): milliseconds rounded up, -1 for never().
  int poll_timeout_ms() const;
  std::optional<Clock::time_point> time_point() const { return at_; }

 private:
  Deadline() = default;
  explicit Deadline(Clock::time_point t) : at_(t) {}
  std::optional<Clock::time_point> at_;
};

}  // namespace orkestr::base
