// The thread of a client on which callbacks run, one at a time. Started with the first; a callback that never returns
// holds up the other callbacks of its client, and nothing else.
//
// Thread safety: any thread, a callback included.
#pragma once

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
  // What is watched keeps itself alive in here. Called when the descriptor is readable; false: no more. `last`: no more
  // in any case.
  using Ready = std::function<bool(bool last)>;
  Result<std::uint64_t> watch(int fd, Ready ready);
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
