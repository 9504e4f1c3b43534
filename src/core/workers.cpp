#include "core/workers.hpp"

#include <pthread.h>

#include <system_error>
#include <utility>

#include "base/blocked_signals.hpp"

namespace orkestr::core {

bool Workers::run(Work work) {
  std::lock_guard lock(mutex_);
  if (closed_) return false;
  std::erase_if(workers_, [](const Worker& worker) { return worker.done->load(); });  // joins what has ended
  auto done = std::make_shared<std::atomic<bool>>(false);
  const base::BlockedSignals blocked;
  try {
    std::jthread thread([work = std::move(work), done](const std::stop_token& stop) mutable {
      pthread_setname_np(pthread_self(), "orkestr-work");
      std::exchange(work, nullptr)(stop);  // what it owns goes before it counts as done
      done->store(true);
    });
    workers_.push_back({std::move(thread), std::move(done)});
  } catch (const std::system_error&) {  // no more threads for this user
    return false;
  }
  return true;
}

void Workers::close() {
  std::vector<Worker> all;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    all.swap(workers_);
  }
  for (Worker& worker : all) worker.thread.request_stop();
  for (Worker& worker : all) {
    if (worker.thread.get_id() == std::this_thread::get_id()) {
      worker.thread.detach();
    } else {
      worker.thread.join();
    }
  }
}

}  // namespace orkestr::core
