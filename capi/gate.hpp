// What a program's callback of progress is called through, so that it can be ended: the work of an operation that
// nobody waits for any more may go on for a while, and the program has freed what the callback uses.
//
// Thread safety: any thread, the callback itself included.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <orkestr/options.hpp>
#include <thread>
#include <utility>

#include "thread.hpp"

namespace orkestr::capi {

class Gate {
 public:
  explicit Gate(ProgressCallback callback) : callback_(std::move(callback)) {}

  void call(const TemplateProgress& progress) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !caller_ || !open_; });  // one call at a time
    if (!open_) return;
    caller_ = std::this_thread::get_id();
    const Left left{*this, lock};
    lock.unlock();
    callback_(progress);
  }
  // From here on it is not called. Waits for a call that is under way, unless this is called in it, and not for ever:
  // the call may be one that never returns.
  void close() {
    std::unique_lock lock(mutex_);
    open_ = false;
    changed_.notify_all();
    changed_.wait_for(lock, kPatience, [&] { return !caller_ || *caller_ == std::this_thread::get_id(); });
  }

 private:
  // The end of a call, also of one that threw.
  struct Left {
    Gate& gate;
    std::unique_lock<std::mutex>& lock;
    ~Left() {
      lock.lock();
      gate.caller_.reset();
      gate.changed_.notify_all();
    }
  };

  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  std::optional<std::thread::id> caller_;  // the thread that is in the callback
  const ProgressCallback callback_;
};

// Makes `callback`, where there is one, go through the gate that this gives.
inline std::shared_ptr<Gate> gate_of(ProgressCallback& callback) {
  if (!callback) return nullptr;
  auto gate = std::make_shared<Gate>(std::move(callback));
  callback = [gate](const TemplateProgress& progress) { gate->call(progress); };
  return gate;
}

}  // namespace orkestr::capi
