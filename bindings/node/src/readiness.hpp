// A stream that is looked at without waiting, and the promise of the moment when another look makes sense.
#pragma once

#include <napi.h>

#include <chrono>
#include <memory>
#include <utility>

#include "promise.hpp"

namespace orkestr::node {

inline constexpr std::chrono::milliseconds kNow{0};

// Settles when the stream's descriptor is readable; what there is to read is for next() to say.
template <class Stream>
class Readiness : public Pending {
 public:
  Readiness(Napi::Env env, std::shared_ptr<Stream> stream)
      : stream_(std::move(stream)), deferred_(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise promise() const { return deferred_.Promise(); }
  int fd() override { return stream_->fd(); }
  bool settle(Napi::Env env) override {
    if (!std::exchange(watched_, true)) return false;
    deferred_.Resolve(env.Undefined());
    return true;
  }
  bool cancel(Napi::Env env) override {
    deferred_.Resolve(env.Undefined());
    return true;
  }

 private:
  std::shared_ptr<Stream> stream_;
  Napi::Promise::Deferred deferred_;
  bool watched_ = false;  // the first look is before the descriptor is watched
};

template <class Stream>
Napi::Value ready(Napi::Env env, const std::shared_ptr<Stream>& stream) {
  auto pending = std::make_unique<Readiness<Stream>>(env, stream);
  const Napi::Promise promise = pending->promise();
  return with_id(env, promise, Runtime::of(env).add(std::move(pending)));
}

}  // namespace orkestr::node
