// Operations of the library as promises.
//
// begin() answers [promise, id]; id is for cancel(), 0 when there is nothing to cancel any more. A promise is rejected
// with the record of the library's Error (to_js); lib/errors.js makes the exception of it.
#pragma once

#include <napi.h>

#include <memory>
#include <optional>
#include <orkestr/orkestr.hpp>
#include <type_traits>
#include <utility>

#include "blocking.hpp"
#include "convert.hpp"
#include "runtime.hpp"

namespace orkestr::node {

// `convert` makes the JavaScript value: (env, T&&), or (env) of void.
template <class T, class Convert>
void settle_with(Napi::Env env, const Napi::Promise::Deferred& deferred, Result<T> result, const Convert& convert) {
  if (!result.ok()) {
    deferred.Reject(to_js(env, result.error()));
    return;
  }
  try {
    if constexpr (std::is_void_v<T>) {
      deferred.Resolve(convert(env));
    } else {
      deferred.Resolve(convert(env, std::move(*result)));
    }
  } catch (const Napi::Error& error) {  // a value that JavaScript cannot hold, such as a string beyond its limit
    deferred.Reject(error.Value());
  }
}

template <class T, class Convert>
class PendingOperation : public Pending {
 public:
  PendingOperation(Napi::Env env, Operation<T> operation, Convert convert)
      : operation_(std::move(operation)), convert_(std::move(convert)), deferred_(Napi::Promise::Deferred::New(env)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }
  int fd() override { return operation_.fd(); }
  bool settle(Napi::Env env) override {
    if (!operation_.wait(std::chrono::milliseconds{0})) return false;
    settle_with(env, deferred_, operation_.get(), convert_);
    return true;
  }
  // It still completes, with `cancelled` unless it was faster.
  bool cancel(Napi::Env) override {
    operation_.cancel();
    return false;
  }
  void abandon() override { operation_.cancel(); }
  void settled(std::chrono::milliseconds timeout) override { operation_.wait(timeout); }

 private:
  Operation<T> operation_;
  Convert convert_;
  Napi::Promise::Deferred deferred_;
};

// A call that blocks, on a thread of its own. It cannot be cancelled: cancel() settles the promise, the work goes on.
template <class T>
struct Outcome {
  std::optional<Result<T>> result;  // written by the thread before it posts
};

template <class T, class Convert>
class PendingCall : public Pending {
 public:
  PendingCall(Napi::Env env, std::shared_ptr<Outcome<T>> outcome, Convert convert)
      : outcome_(std::move(outcome)), convert_(std::move(convert)), deferred_(Napi::Promise::Deferred::New(env)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }
  int fd() override { return kPosted; }
  bool settle(Napi::Env env) override {
    if (!begun_) return false;  // the thread has not been given it yet
    settle_with(env, deferred_, std::move(*outcome_->result), convert_);
    return true;
  }
  bool cancel(Napi::Env env) override {
    deferred_.Reject(to_js(env, Error(ErrorCode::cancelled, "cancelled while it was waiting; what it began goes on")));
    return true;
  }
  void begun() { begun_ = true; }

 private:
  std::shared_ptr<Outcome<T>> outcome_;
  Convert convert_;
  Napi::Promise::Deferred deferred_;
  bool begun_ = false;
};

inline Napi::Value with_id(Napi::Env env, const Napi::Promise& promise, std::uint32_t id) {
  Napi::Array pair = Napi::Array::New(env, 2);
  pair.Set(0U, promise);
  pair.Set(1U, Napi::Number::New(env, id));
  return pair;
}

template <class T, class Convert>
Napi::Value begin(Napi::Env env, Operation<T> operation, Convert convert) {
  auto pending = std::make_unique<PendingOperation<T, Convert>>(env, std::move(operation), std::move(convert));
  const Napi::Promise promise = pending->promise();
  return with_id(env, promise, Runtime::of(env).add(std::move(pending)));
}

// `work` returns a Result and runs elsewhere: it may hold no JavaScript value.
template <class Work, class Convert>
Napi::Value begin_blocking(Napi::Env env, Work work, Convert convert) {
  using T = typename ResultValue<decltype(work())>::type;
  Runtime& runtime = Runtime::of(env);
  auto outcome = std::make_shared<Outcome<T>>();
  auto pending = std::make_unique<PendingCall<T, Convert>>(env, outcome, std::move(convert));
  auto* raw = pending.get();
  const Napi::Promise promise = pending->promise();
  const std::uint32_t id = runtime.add(std::move(pending));
  raw->begun();
  auto given = run_blocking([outcome, id, inbox = runtime.inbox(), work = std::move(work)]() mutable {
    outcome->result.emplace(work());
    inbox->post([id](Napi::Env here) { Runtime::of(here).look(id); });
  });
  if (!given.ok()) {
    outcome->result.emplace(given.error());
    runtime.look(id);
  }
  return with_id(env, promise, id);
}

}  // namespace orkestr::node
