// Threads for work in one piece that takes minutes (building a template) or may take seconds (looking at sandboxes that
// are being ended): the I/O thread must not do it, and the caller of an asynchronous function does not want to.
//
// Thread safety: any thread, a worker itself included.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <future>
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
  // Likewise for work of some seconds at most, of which there may be much at once: kTurns threads do it, in order.
  // Where there is no thread to be had it is done before this returns: slow is better than not at all.
  void run_in_turn(Work work);
  static constexpr int kTurns = 8;
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

  // Outlives us where work does.
  struct Turns {
    std::mutex mutex;
    std::deque<Work> waiting;
    int serving = 0;  // threads; each looks once more before it goes
    void serve(const std::stop_token& stop);
  };

  const std::shared_ptr<Turns> turns_ = std::make_shared<Turns>();
  std::mutex mutex_;
  bool closed_ = false;
  std::vector<Worker> workers_;
};

}  // namespace orkestr::core
