#include "core/create.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>

namespace orkestr::core {
namespace {

class Attempts : public std::enable_shared_from_this<Attempts> {
 public:
  Attempts(std::shared_ptr<ClientImpl> client, CreateOptions options, Completion<OpenedSandbox> done)
      : client_(std::move(client)),
        options_(std::move(options)),
        done_(std::move(done)),
        give_up_(base::Deadline::after(options_.retry_max)) {}

  void attempt() {
    auto cancel = client_->backend().create(
        options_, [self = shared_from_this()](Result<OpenedSandbox> opened) { self->answered(std::move(opened)); });
    CancelFunction now;
    {
      std::lock_guard lock(mutex_);
      (cancelled_ ? now : cancel_) = std::move(cancel);
    }
    if (now) now();
  }

  void cancel() {
    CancelFunction hook;
    {
      std::lock_guard lock(mutex_);
      cancelled_ = true;
      hook = std::exchange(cancel_, nullptr);
    }
    if (hook) hook();
  }

 private:
  void answered(Result<OpenedSandbox> opened) {
    if (opened || opened.error().code() != ErrorCode::fleet_full_retry) return finish(std::move(opened));
    const double asked = opened.error().details().retry_after;
    const double seconds = asked > 0 ? asked : std::min(8.0, 0.25 * std::exp2(tries_));
    const auto pause = std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
    if (tries_++ >= options_.max_retries || *give_up_.remaining() < pause) return finish(std::move(opened));
    const auto self = shared_from_this();
    const bool posted = client_->thread().post([self, pause] {
      // In a caller's thread the next attempt would have to wait there; the timer's thread is as good, and attempts are
      // rare.
      self->client_->thread().reactor().add_timer(pause, [self] { self->again(); });
    });
    if (!posted) finish(std::move(opened));
  }

  void again() {
    bool cancelled = false;
    {
      std::lock_guard lock(mutex_);
      cancelled = cancelled_;
    }
    if (cancelled) return finish(Error(ErrorCode::cancelled, "create sandbox: cancelled"));
    attempt();
  }

  void finish(Result<OpenedSandbox> result) {
    if (auto done = std::exchange(done_, nullptr)) done(std::move(result));
  }

  const std::shared_ptr<ClientImpl> client_;
  const CreateOptions options_;
  Completion<OpenedSandbox> done_;
  const base::Deadline give_up_;
  int tries_ = 0;
  std::mutex mutex_;
  bool cancelled_ = false;
  CancelFunction cancel_;
};

}  // namespace

CancelFunction create_with_retries(std::shared_ptr<ClientImpl> client, CreateOptions options,
                                   Completion<OpenedSandbox> done) {
  auto attempts = std::make_shared<Attempts>(std::move(client), std::move(options), std::move(done));
  attempts->attempt();
  return [weak = std::weak_ptr<Attempts>(attempts)] {
    if (auto self = weak.lock()) self->cancel();
  };
}

}  // namespace orkestr::core
