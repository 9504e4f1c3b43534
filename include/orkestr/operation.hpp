// Operations: what every *_async function returns. An operation is submitted, completes exactly once, and can be
// cancelled.
//
//   auto pending = sandbox.exec_async("make -j2");
//   ... poll(pending.fd()) in your own loop, or pending.wait(50ms), or
//   Result<ExecResult> result = pending.get();
//
// The synchronous functions are `xyz_async(...).get()`. Those that return an Operation do not wait: what takes more
// than some milliseconds is done on a thread of the client, or in the sandbox's supervisor.
//
// Thread safety: all members may be called from any thread; get() takes the result and may be called once. Dropping an
// Operation does not cancel it: the work goes on and its result is discarded.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <orkestr/error.hpp>
#include <utility>

namespace orkestr {

namespace detail {

// The part that does not depend on the type of the result.
class ORKESTR_API OperationState {
 public:
  OperationState();
  ~OperationState();
  OperationState(const OperationState&) = delete;
  OperationState& operator=(const OperationState&) = delete;

  // `timeout` nothing: for ever. True when complete, and in a forked child, where nothing would ever complete it.
  bool wait(std::optional<std::chrono::nanoseconds> timeout) const;
  bool done() const noexcept;
  Error not_here() const;  // not_ready: what get() says in a forked child
  int fd();                // made on demand; -1 when the process has no descriptor left, and in a forked child
  void cancel();
  // For who does the work: what cancel() should do, at most once and not after completion.
  void on_cancel(std::function<void()> hook);
  // True for the first caller only, who then stores the result and calls complete().
  bool claim();
  void complete();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

template <class T>
struct OperationValue : OperationState {
  std::optional<Result<T>> result;
  // Stores the result unless there is one already.
  void set(Result<T> value) {
    if (!claim()) return;
    result.emplace(std::move(value));
    complete();
  }
};

}  // namespace detail

template <class T>
class Operation {
 public:
  explicit Operation(std::shared_ptr<detail::OperationValue<T>> state) : state_(std::move(state)) {}

  // True when get() would not wait; waits at most `timeout` for that.
  bool wait(std::chrono::milliseconds timeout) const { return state_->wait(timeout); }
  // Readable once complete. Owned by the operation.
  int fd() { return state_->fd(); }
  // Asks for an early end: a command's process tree is killed, a transfer dropped. The operation still completes, with
  // `cancelled` unless it was faster.
  void cancel() { state_->cancel(); }
  // Waits and takes the result. In a forked child of the process that began it: the result if that was there before the
  // fork, else not_ready.
  Result<T> get() {
    state_->wait(std::nullopt);
    if (!state_->done()) return state_->not_here();
    return std::move(*state_->result);
  }

 private:
  std::shared_ptr<detail::OperationValue<T>> state_;
};

}  // namespace orkestr
