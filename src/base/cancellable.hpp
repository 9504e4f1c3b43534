// Requests one after the other that are cancelled as one: cancel() reaches the one that is under way, and every one
// that is begun later. Any thread.
#pragma once

#include <functional>
#include <mutex>
#include <utility>

namespace orkestr::base {

class Cancellable {
 public:
  // `begin` begins a request and gives what cancels it. It may be over, and the next one begun, before it returns.
  template <class Begin>
  void step(Begin begin) {
    int mine = 0;
    {
      std::lock_guard lock(mutex_);
      mine = ++steps_;
    }
    std::function<void()> hook = begin();
    {
      std::lock_guard lock(mutex_);
      if (mine != steps_) return;
      if (!cancelled_) {
        cancel_ = std::move(hook);
        return;
      }
    }
    if (hook) hook();
  }

  void cancel() {
    std::function<void()> hook;
    {
      std::lock_guard lock(mutex_);
      cancelled_ = true;
      hook = std::exchange(cancel_, nullptr);
    }
    if (hook) hook();
  }

  bool cancelled() const {
    std::lock_guard lock(mutex_);
    return cancelled_;
  }

 private:
  mutable std::mutex mutex_;
  int steps_ = 0;
  bool cancelled_ = false;
  std::function<void()> cancel_;
};

}  // namespace orkestr::base
