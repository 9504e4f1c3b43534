// Requests one after the other that are cancelled as one: cancel() reaches the one that is under way, and every one
// that is begun later. Any thread.
#pragma once

#include <mutex>
#include <utility>

#include "backend.hpp"

namespace orkestr::remote {

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
    CancelFunction hook = begin();
    {
      std::lock_guard lock(mutex_);
      if (mine != steps_) return;
      if (!cancelled_) {
        cancel_ = std::move(hook);
        return;
      }
    }
    hook();
  }

  void cancel() {
    CancelFunction hook;
    {
      std::lock_guard lock(mutex_);
      cancelled_ = true;
      hook = std::exchange(cancel_, nullptr);
    }
    if (hook) hook();
  }

 private:
  std::mutex mutex_;
  int steps_ = 0;
  bool cancelled_ = false;
  CancelFunction cancel_;
};

}  // namespace orkestr::remote
