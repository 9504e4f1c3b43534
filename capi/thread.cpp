#include "thread.hpp"

#include <memory>
#include <string>
#include <system_error>

#include "base/blocked_signals.hpp"

namespace orkestr::capi {

Result<Thread> Thread::start(std::function<void()> work) {
  auto done = std::make_shared<std::promise<void>>();
  Thread thread;
  thread.ended_ = done->get_future();
  const base::BlockedSignals blocked;
  try {
    thread.thread_ = std::thread([work = std::move(work), done]() mutable {
      work();
      work = nullptr;  // what it held is gone when it says it has ended
      done->set_value();
    });
  } catch (const std::system_error& error) {
    return Error(ErrorCode::internal,
                 std::string("no thread is to be had: ") + error.what() + "; raise the limit of processes (ulimit -u)");
  }
  return thread;
}

void Thread::finish(std::chrono::steady_clock::time_point deadline) {
  if (!thread_.joinable()) return;
  if (!is_current() && ended_.wait_until(deadline) == std::future_status::ready) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

}  // namespace orkestr::capi
