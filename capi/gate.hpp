// What a program's callback of progress is called through, so that it can be ended: the work of an operation that
// nobody waits for any more may go on for a while, and the program has freed what the callback uses.
//
// Thread safety: any thread, the callback itself included.
#pragma once

#include <memory>
#include <mutex>
#include <orkestr/options.hpp>
#include <utility>

namespace orkestr::capi {

class Gate {
 public:
  explicit Gate(ProgressCallback callback) : callback_(std::move(callback)) {}

  void call(const TemplateProgress& progress) {
    const std::lock_guard lock(mutex_);
    if (open_) callback_(progress);
  }
  // From here on it is not called. Waits for a call that is under way, unless this is called in it.
  void close() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }

 private:
  std::recursive_mutex mutex_;  // held during the call, and taken once more by a callback that closes the gate
  bool open_ = true;
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
