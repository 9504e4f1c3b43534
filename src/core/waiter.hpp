// Waiting on a stream from the user's side: a condition for blocking calls and, on demand, a descriptor for event
// loops.
//
// Thread safety: signal() from any thread; the rest from the one thread that reads the stream, except fd().
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include "backend.hpp"
#include "base/deadline.hpp"
#include "base/unique_fd.hpp"

namespace orkestr::core {

class Waiter {
 public:
  // Wakes whoever waits.
  void signal();
  // Forgets earlier signals; what comes after is noticed by wait().
  void arm();
  // False at the deadline.
  bool wait(base::Deadline deadline);
  // Readable while `readable` is what the last set_readable() or signal() said.
  int fd(bool readable);
  void set_readable(bool readable);

 private:
  void set_event_locked(bool on);
  std::mutex mutex_;
  std::condition_variable changed_;
  bool signalled_ = false;
  base::UniqueFd event_;
};

}  // namespace orkestr::core
