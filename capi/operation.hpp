// Operations: one interface over the library's Operation<T> for all T.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <orkestr/orkestr.hpp>
#include <utility>
#include <variant>

#include "base/try.hpp"
#include "client.hpp"
#include "gate.hpp"
#include "guard.hpp"
#include "handle.hpp"
#include "records.hpp"

namespace orkestr::capi {

using Nothing = std::monostate;
// What an operation gives: a value (nothing: NULL), a sandbox or a background command.
using Outcome = std::variant<std::optional<Node>, Sandbox, BackgroundCommand>;

class Pending {
 public:
  virtual ~Pending() = default;
  // Which of the alternatives of Outcome it gives; -1: it has failed, and may be awaited as any.
  virtual int kind() const = 0;
  // Below 0: for ever.
  virtual bool wait(std::int64_t timeout_ms) = 0;
  virtual int fd() = 0;
  virtual void cancel() = 0;
  virtual Result<Outcome> take() = 0;

  std::shared_ptr<Gate> progress;  // none without a callback
  void end_progress() {
    if (progress) progress->close();
  }
};

// ORKESTR_FOREVER and what comes near it: longer than any program runs, and short enough for arithmetic.
inline constexpr std::int64_t kLongestMs = std::int64_t{50} * 365 * 24 * 3600 * 1000;
inline std::chrono::milliseconds waiting_time(std::int64_t timeout_ms) {
  return std::chrono::milliseconds(timeout_ms < 0 ? kLongestMs : std::min(timeout_ms, kLongestMs));
}

// `Convert` makes the outcome of the T; of nothing for Operation<void>.
template <class T, class Convert>
class PendingOf final : public Pending {
 public:
  PendingOf(Operation<T> operation, int its_kind, Convert convert)
      : operation_(std::move(operation)), kind_(its_kind), convert_(std::move(convert)) {}
  int kind() const override { return kind_; }
  bool wait(std::int64_t timeout_ms) override { return operation_.wait(waiting_time(timeout_ms)); }
  int fd() override { return operation_.fd(); }
  void cancel() override { operation_.cancel(); }
  Result<Outcome> take() override {
    auto result = operation_.get();
    if (!result.ok()) return result.error();
    if constexpr (std::is_void_v<T>) {
      return Outcome(convert_());
    } else {
      return Outcome(convert_(std::move(*result)));
    }
  }

 private:
  Operation<T> operation_;
  int kind_;
  Convert convert_;
};

template <class T, class Convert>
std::shared_ptr<Pending> pending(Operation<T> operation, int kind, Convert convert) {
  return std::make_shared<PendingOf<T, Convert>>(std::move(operation), kind, std::move(convert));
}

// The result as a value, by the to_node() of its type.
template <class T>
std::shared_ptr<Pending> giving(Operation<T> operation) {
  return pending(std::move(operation), 0, [](T value) { return std::optional<Node>(to_node(std::move(value))); });
}
std::shared_ptr<Pending> giving(Operation<void> operation);  // NULL
std::shared_ptr<Pending> giving(Operation<Sandbox> operation);
std::shared_ptr<Pending> giving(Operation<BackgroundCommand> operation);
// Its value is what `then` says when it has succeeded.
std::shared_ptr<Pending> giving(Operation<void> operation, std::function<Node()> then);

// With the gate of the callback that is told its progress.
inline std::shared_ptr<Pending> telling(std::shared_ptr<Gate> progress, std::shared_ptr<Pending> pending) {
  pending->progress = std::move(progress);
  return pending;
}

// `work` on a thread of the client's, for what the library does in the caller's.
template <class T>
Result<std::shared_ptr<Pending>> giving(ClientCore& core, std::function<Result<T>(const ClientCore::Wanted&)> work) {
  ORKESTR_TRY(auto operation, core.run<T>(std::move(work)));
  return giving(std::move(operation));
}

struct OperationBody {
  std::shared_ptr<Pending> pending;
  std::shared_ptr<ClientCore> core;  // none when the arguments were wrong
  std::unique_ptr<std::atomic<bool>> awaited = std::make_unique<std::atomic<bool>>(false);
  std::unique_ptr<std::atomic<bool>> notified = std::make_unique<std::atomic<bool>>(false);
};

// The handle of what `work` begins; an operation that has failed when that fails.
orkestr_operation* begin(const std::function<Result<OperationBody>()>& work) noexcept;

// For every function on a client: `work` gets its ClientCore and gives a Pending, or a Result of one.
template <class Work>
orkestr_operation* begin_of(orkestr_client* client, Work work) noexcept {
  return begin([&]() -> Result<OperationBody> {
    ORKESTR_TRY(const auto body, orkestr_client::open("client", client));
    ORKESTR_CHECK(body->core->check());
    Result<std::shared_ptr<Pending>> begun = work(*body->core);
    if (!begun) return begun.error();
    return OperationBody{std::move(*begun), body->core};
  });
}

}  // namespace orkestr::capi

struct orkestr_operation : orkestr::capi::Handle<orkestr_operation, orkestr::capi::OperationBody, 0x6f6f7065> {
  using Handle::Handle;
};
