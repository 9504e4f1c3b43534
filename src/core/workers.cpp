#include "core/workers.hpp"

#include <pthread.h>

#include <system_error>
#include <utility>

#include "base/blocked_signals.hpp"

namespace orkestr::core {

bool Workers::run(Work work) {
  std::lock_guard lock(mutex_);
  if (closed_) return false;
  const auto now = std::chrono::steady_clock::now();
  std::erase_if(workers_, [now](const Worker& worker) { return worker.ended_by(now); });  // joins it
  std::promise<void> done;
  auto ended = done.get_future();
  const base::BlockedSignals blocked;
  try {
    std::jthread thread([work = std::move(work), done = std::move(done)](const std::stop_token& stop) mutable {
      pthread_setname_np(pthread_self(), "orkestr-work");
      std::exchange(work, nullptr)(stop);  // what it owns goes before it counts as done
      done.set_value();
    });
    workers_.push_back({std::move(thread), std::move(ended)});
  } catch (const std::system_error&) {  // no more threads for this user
    return false;
  }
  return true;
}

void Workers::run_in_turn(Work work) {
  {
    std::lock_guard lock(turns_->mutex);
    turns_->waiting.push_back(std::move(work));
    if (turns_->serving == kTurns) return;
    ++turns_->serving;
  }
  const auto serve = [turns = turns_](const std::stop_token& stop) { turns->serve(stop); };
  if (!run(serve)) serve({});
}

void Workers::Turns::serve(const std::stop_token& stop) {
  while (true) {
    Work next;
    {
      std::lock_guard lock(mutex);
      if (waiting.empty()) {
        --serving;
        return;
      }
      next = std::move(waiting.front());
      waiting.pop_front();
    }
    next(stop);
  }
}

void Workers::close() {
  std::vector<Worker> all;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    all.swap(workers_);
  }
  for (Worker& worker : all) worker.thread.request_stop();
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (Worker& worker : all) {
    const bool current = worker.thread.get_id() == std::this_thread::get_id();
    if (current || !worker.ended_by(deadline)) {
      worker.thread.detach();
    } else {
      worker.thread.join();
    }
  }
}

}  // namespace orkestr::core
