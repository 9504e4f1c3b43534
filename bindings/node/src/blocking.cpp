#include "blocking.hpp"

#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace orkestr::node {

namespace {

constexpr int kMostThreads = 64;
constexpr std::chrono::seconds kIdle{5};

struct Shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> work;
  int threads = 0;
  int idle = 0;
};

// Never destroyed: a thread may outlive main(). Made at the first use, with the process's default of one for all.
Shared& shared() {
  static Shared& one = *std::make_unique<Shared>().release();
  return one;
}

void serve() {
  pthread_setname_np(pthread_self(), "orkestr-block");
  Shared& s = shared();
  std::unique_lock lock(s.mutex);
  while (true) {
    ++s.idle;
    const bool any = s.changed.wait_for(lock, kIdle, [&s] { return !s.work.empty(); });
    --s.idle;
    if (!any) break;
    auto work = std::move(s.work.front());
    s.work.pop_front();
    lock.unlock();
    work();
    work = nullptr;  // what it holds goes here, not under the lock
    lock.lock();
  }
  --s.threads;
}

}  // namespace

Result<void> run_blocking(std::function<void()> work) {
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  s.work.push_back(std::move(work));
  if (static_cast<int>(s.work.size()) > s.idle && s.threads < kMostThreads) {
    try {
      const BlockedSignals blocked;
      std::thread(serve).detach();
      ++s.threads;
    } catch (const std::system_error& error) {
      if (s.threads == 0) {
        s.work.pop_back();
        return Error(ErrorCode::internal, std::string("orkestr cannot start a thread: ") + error.what() +
                                              "; raise the limit of processes (ulimit -u)");
      }
    }
  }
  s.changed.notify_one();
  return {};
}

void end_over_blocking() {
  ::on_exit(
      [](int status, void*) {
        Shared& s = shared();
        const std::lock_guard lock(s.mutex);
        if (s.threads > s.idle) ::_exit(status);
      },
      nullptr);
}

}  // namespace orkestr::node
