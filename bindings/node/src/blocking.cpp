#include "blocking.hpp"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <memory>
#include <mutex>
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

void run_blocking(std::function<void()> work) {
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  s.work.push_back(std::move(work));
  if (static_cast<int>(s.work.size()) > s.idle && s.threads < kMostThreads) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread(serve).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ++s.threads;
  }
  s.changed.notify_one();
}

}  // namespace orkestr::node
