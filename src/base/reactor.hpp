// One epoll loop: descriptors, timers, and work posted from other threads. Used by the library's I/O thread and the
// guest agent.
//
// Everything but post() and stop() belongs to the thread that calls run(). Handlers may add and remove anything,
// themselves included.
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/deadline.hpp"
#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::base {

class Reactor {
 public:
  using Handler = std::function<void(std::uint32_t events)>;  // EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR
  using Task = std::function<void()>;
  using TimerId = std::uint64_t;

  static Result<std::unique_ptr<Reactor>> create();
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  // Level-triggered. The descriptor stays the caller's; remove() it before closing it. After remove() its handler is
  // not called again, also when its event was already waiting; after modify() only for what is still asked for,
  // EPOLLHUP and EPOLLERR always.
  Result<void> add(int fd, std::uint32_t events, Handler handler);
  void modify(int fd, std::uint32_t events);  // an unknown descriptor is ignored, here and in remove()
  void remove(int fd);

  // Timers fire in the order of their times, those of equal times in the order they were added, up to 1 ms late.
  TimerId add_timer(Deadline::Clock::time_point at, Task task);
  TimerId add_timer(std::chrono::nanoseconds after, Task task) {
    return add_timer(Deadline::Clock::now() + after, std::move(task));
  }
  void cancel_timer(TimerId id);  // unknown or fired ids are fine

  // Runs `task` on the loop's thread. Thread-safe. After run() returned, posted tasks are kept and destroyed with the
  // reactor.
  void post(Task task);

  void run();   // until stop(); at once when it was stopped before
  void stop();  // thread-safe; idempotent
  // One turn: waits at most `timeout_ms` (-1: for ever), handles what is ready. For tests and for loops that own the
  // thread.
  void run_once(int timeout_ms);

 private:
  Reactor(UniqueFd epoll, UniqueFd wakeup);
  void dispatch(const epoll_event& event);
  void drain_posted();
  void fire_timers();
  int next_timeout_ms(int cap) const;
  void wake();
  bool stopped();

  struct Entry {
    std::uint64_t generation;
    std::uint32_t events;
    std::shared_ptr<Handler> handler;
  };
  UniqueFd epoll_;
  UniqueFd wakeup_;
  std::unordered_map<int, Entry> entries_;
  std::uint64_t next_generation_ = 1;
  std::map<std::pair<Deadline::Clock::time_point, TimerId>, Task> timers_;
  std::unordered_map<TimerId, Deadline::Clock::time_point> timer_times_;
  TimerId next_timer_ = 1;
  std::mutex mutex_;
  std::vector<Task> posted_;
  bool stop_ = false;
};

}  // namespace orkestr::base
