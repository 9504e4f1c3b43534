#include "operation.hpp"

#include <string>

#include "options.hpp"
#include "sandbox.hpp"

namespace orkestr::capi {
namespace {

constexpr std::int64_t kGraceMs = 1000;  // for a cancelled operation to complete

class Failed final : public Pending {
 public:
  explicit Failed(Error error) : error_(std::move(error)) { state_.complete(); }
  int kind() const override { return -1; }
  bool wait(std::int64_t /*timeout_ms*/) override { return true; }
  int fd() override { return state_.fd(); }
  void cancel() override {}
  Result<Outcome> take() override { return error_; }

 private:
  Error error_;
  detail::OperationState state_;  // for its descriptor
};

constexpr const char* kAwaitedWith[] = {"orkestr_await()", "orkestr_await_sandbox()", "orkestr_await_command()"};

std::shared_ptr<ClientCore> core_of(const orkestr_operation* operation) {
  const auto body = orkestr_operation::find(operation);
  return body ? body->core : nullptr;
}

// Waits, frees, and hands what came of it to `give`.
template <int kKind, class Output, class Give>
orkestr_status await(orkestr_operation* operation, std::int64_t timeout_ms, const char* name, Output** output,
                     orkestr_error** error, Give give) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_CHECK(clear_output(name, output));
    ORKESTR_TRY(const auto body, orkestr_operation::open("operation", operation));
    const auto waited_for = body->pending;
    if (const int kind = waited_for->kind(); kind >= 0 && kind != kKind) {
      return Error(ErrorCode::invalid_argument, std::string("operation is to be awaited with ") + kAwaitedWith[kind]);
    }
    if (body->awaited->exchange(true)) {
      return Error(ErrorCode::invalid_argument, "operation is awaited by another thread already");
    }
    bool complete = waited_for->wait(timeout_ms);
    if (!complete) {
      waited_for->cancel();
      complete = waited_for->wait(kGraceMs);
    }
    waited_for->end_progress();
    orkestr_operation::free(operation);
    if (!complete) {
      return Error(ErrorCode::cancelled, "not complete within " + std::to_string(timeout_ms) + " ms, and so cancelled");
    }
    ORKESTR_TRY(Outcome outcome, waited_for->take());
    *output = give(std::move(std::get<kKind>(outcome)));
    return {};
  });
}

}  // namespace

std::shared_ptr<Pending> giving(Operation<void> operation) {
  return pending(std::move(operation), 0, [] { return std::optional<Node>(); });
}
std::shared_ptr<Pending> giving(Operation<Sandbox> operation) {
  return pending(std::move(operation), 1, [](Sandbox sandbox) { return sandbox; });
}
std::shared_ptr<Pending> giving(Operation<BackgroundCommand> operation) {
  return pending(std::move(operation), 2, [](BackgroundCommand command) { return command; });
}
std::shared_ptr<Pending> giving(Operation<void> operation, std::function<Node()> then) {
  return pending(std::move(operation), 0, [then = std::move(then)] { return std::optional<Node>(then()); });
}

orkestr_operation* begin(const std::function<Result<OperationBody>()>& work) noexcept {
  auto begun = attempt(work);
  auto handle = attempt([&]() -> Result<orkestr_operation*> {
    OperationBody body =
        begun.ok() ? std::move(*begun) : OperationBody{std::make_shared<Failed>(begun.error()), nullptr};
    return std::make_unique<orkestr_operation>(std::move(body)).release();
  });
  return handle.ok() ? *handle : nullptr;
}

}  // namespace orkestr::capi

using namespace orkestr;
using namespace orkestr::capi;

orkestr_status orkestr_await(orkestr_operation* operation, int64_t timeout_ms, orkestr_value** value,
                             orkestr_error** error) {
  orkestr_value* dropped = nullptr;
  const bool wanted = value != nullptr;
  const auto status = await<0>(operation, timeout_ms, "value", wanted ? value : &dropped, error, make_value);
  orkestr_value_free(dropped);
  return status;
}

orkestr_status orkestr_await_sandbox(orkestr_operation* operation, int64_t timeout_ms, orkestr_sandbox** sandbox,
                                     orkestr_error** error) {
  // The client is looked at before the operation is freed.
  const auto core = core_of(operation);
  return await<1>(operation, timeout_ms, "sandbox", sandbox, error,
                  [&](Sandbox made) { return make_handle(std::move(made), core); });
}

orkestr_status orkestr_await_command(orkestr_operation* operation, int64_t timeout_ms, orkestr_command** command,
                                     orkestr_error** error) {
  const auto core = core_of(operation);
  return await<2>(operation, timeout_ms, "command", command, error,
                  [&](BackgroundCommand made) { return make_handle(std::move(made), core); });
}

orkestr_status orkestr_operation_wait(orkestr_operation* operation, int64_t timeout_ms, orkestr_error** error) {
  return call(error, [&]() -> Result<orkestr_status> {
    ORKESTR_TRY(const auto body, orkestr_operation::open("operation", operation));
    const auto waited_for = body->pending;
    return waited_for->wait(timeout_ms) ? ORKESTR_OK : ORKESTR_AGAIN;
  });
}

int orkestr_operation_fd(orkestr_operation* operation) {
  return look(-1, [&] {
    const auto body = orkestr_operation::find(operation);
    return body ? body->pending->fd() : -1;
  });
}

orkestr_status orkestr_operation_notify(orkestr_operation* operation, orkestr_callback callback, void* user,
                                        orkestr_error** error) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_TRY(const auto body, orkestr_operation::open("operation", operation));
    ORKESTR_CHECK(check_callback(callback));
    if (!body->core) return body->pending->take().error();  // it has failed before it began
    ORKESTR_CHECK(body->core->check());
    if (body->notified->exchange(true)) {
      return Error(ErrorCode::invalid_argument, "operation has a callback already");
    }
    auto watched = body->core->dispatcher.watch(body->pending->fd(), [pending = body->pending, callback, user](bool) {
      callback(user, ORKESTR_END);
      return false;
    });
    if (watched.ok()) return {};
    body->notified->store(false);
    return watched.error();
  });
}

orkestr_status orkestr_operation_cancel(orkestr_operation* operation, orkestr_error** error) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_TRY(const auto body, orkestr_operation::open("operation", operation));
    body->pending->cancel();
    body->pending->end_progress();
    return {};
  });
}

void orkestr_operation_free(orkestr_operation* operation) {
  if (const auto body = orkestr_operation::find(operation)) body->pending->end_progress();
  orkestr_operation::free(operation);
}
