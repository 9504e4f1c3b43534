// Threads for work in one piece that takes minutes (building a template) or may take seconds (looking at sandboxes that
// are being ended): the I/O thread must not do it, and the caller of an asynchronous function does not want to.
//
// Thread safety: any thread, a worker itself included.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

namespace orkestr::core {

class Workers {
 public:
  using Work = std::function<void(const std::stop_token&)>;

  Workers() = default;
  ~Workers() { close(); }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Runs `work` on a thread of its own, with all signals blocked; its token asks it to end soon. False (and the work is
  // dropped) once closed, and when there is no thread to be had.
  bool run(Work work);
  // Asks all work to stop and waits for it, kPatience at most: it may be in code of the program's own (which is told
  // the progress). Idempotent. Work that takes longer, and work that calls this itself (which may hold the last handle
  // of its client), ends on its own and touches nothing of this object any more.
  void close();
  static constexpr std::chrono::seconds kPatience{5};

 private:
  struct Worker {
    std::jthread thread;
    std::future<void> done;
    bool ended_by(std::chrono::steady_clock::time_point when) const {
      return done.wait_until(when) == std::future_status::ready;
    }
  };

  std::mutex mutex_;
  bool closed_ = false;
  std::vector<Worker> workers_;
};

}  // namespace orkestr::core
