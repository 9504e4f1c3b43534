// A thread of the C interface: it takes none of the program's signals, and its end is waited for with a deadline, since
// it may be in code of the program's own.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <orkestr/error.hpp>
#include <thread>

namespace orkestr::capi {

// With code of the program's own that runs on a thread of ours: it may never return.
inline constexpr std::chrono::seconds kPatience{5};

class Thread {
 public:
  static Result<Thread> start(std::function<void()> work);
  ~Thread() = default;
  Thread(Thread&&) noexcept = default;
  Thread& operator=(Thread&&) noexcept = default;

  bool ended() const { return ended_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }
  bool is_current() const { return thread_.get_id() == std::this_thread::get_id(); }
  // Lets go of the thread: joined when it ends by `deadline`; otherwise, and when called on that thread, it ends on its
  // own. What it uses must therefore be shared with it.
  void finish(std::chrono::steady_clock::time_point deadline);

 private:
  Thread() = default;
  std::thread thread_;
  std::future<void> ended_;
};

}  // namespace orkestr::capi
