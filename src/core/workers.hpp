// Threads for work that takes minutes in one piece (building a template): the I/O thread must not do it, and the caller
// of an asynchronous function does not want to.
//
// Thread safety: any thread, a worker itself included.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
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
  // Asks all work to stop and waits for it. Idempotent. Called by work itself (which may hold the last handle of its
  // client) it waits for all others; that one thread ends on its own and touches nothing of this object any more.
  void close();

 private:
  struct Worker {
    std::jthread thread;
    std::shared_ptr<std::atomic<bool>> done;
  };

  std::mutex mutex_;
  bool closed_ = false;
  std::vector<Worker> workers_;
};

}  // namespace orkestr::core
