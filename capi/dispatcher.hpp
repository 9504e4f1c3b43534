// The thread of a client on which callbacks run, one at a time. Started with the first; a callback that never returns
// holds up the other callbacks of its client, and nothing else.
//
// Thread safety: any thread, a callback included.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "thread.hpp"

namespace orkestr::capi {

class Dispatcher {
 public:
  Dispatcher();
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;
  // What is watched keeps itself alive in here. Called when the descriptor is readable, once, and then once after each
  // again(): readable it may stay for as long as another thread takes to read. False: no more. `last`: no more in any
  // case.
  using Ready = std::function<bool(bool last)>;
  // `id`, for the functions below, is there before the first call; it must live as long as `ready`.
  Result<void> watch(int fd, Ready ready, std::atomic<std::uint64_t>* id = nullptr);
  void again(std::uint64_t id);
  // The last call comes now.
  void drop(std::uint64_t id);
  // Every last call comes now; later ones of watch() fail. Idempotent.
  void close(std::chrono::steady_clock::time_point deadline);

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the thread, which may outlive this
  std::mutex starting_;
  std::optional<Thread> thread_;
};

}  // namespace orkestr::capi
