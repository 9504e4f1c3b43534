// Signals as something to poll, for commands that must clean up after themselves.
#pragma once

#include <csignal>
#include <optional>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"
#include "orkestr/operation.hpp"

namespace orkestr::cli {

// From its creation on SIGINT, SIGTERM, SIGHUP and SIGWINCH wait here instead of acting, and SIGPIPE is an error of
// write(2). Create it on the main thread before any other thread starts, so that they inherit the mask; it is not
// undone. What was ignored when the program started (by nohup, by a script's `&`) stays ignored.
class Signals {
 public:
  static Result<Signals> create();
  // Readable when take() would give one.
  int fd() const { return fd_.get(); }
  // The next pending signal, without waiting.
  std::optional<int> take() const;

 private:
  explicit Signals(base::UniqueFd fd) : fd_(std::move(fd)) {}
  base::UniqueFd fd_;
};

// Waits until one of the descriptors is readable (`writable_fd`: writable; -1: none).
void wait_for(const Signals& signals, int readable_fd, int writable_fd = -1);

// Waits for an operation. The first signal (but SIGWINCH) ends the waiting: it is returned, and the operation goes on.
template <class T>
std::optional<int> wait_for(const Signals& signals, Operation<T>& operation) {
  while (!operation.wait(std::chrono::milliseconds(0))) {
    wait_for(signals, operation.fd());
    if (const auto signal = signals.take(); signal && *signal != SIGWINCH) return signal;
  }
  return std::nullopt;
}

}  // namespace orkestr::cli
