#include "core/create.hpp"

#include <algorithm>
#include <cmath>

#include "base/cancellable.hpp"
#include "core/submit.hpp"
#include "orkestr/template.hpp"

namespace orkestr::core {
namespace {

using Clock = std::chrono::steady_clock;

// Between two attempts everything belongs to the I/O thread: the timer, and who is told when the client closes.
class Attempts : public std::enable_shared_from_this<Attempts> {
 public:
  // `start` is one attempt; `what` is for error texts.
  using Start = std::function<CancelFunction(Completion<OpenedSandbox>)>;
  Attempts(std::shared_ptr<ClientImpl> client, std::string what, Start start, ResumeOptions limits,
           Completion<OpenedSandbox> done)
      : client_(std::move(client)),
        what_(std::move(what)),
        start_(std::move(start)),
        limits_(limits),
        done_(std::move(done)) {}

  void attempt() {
    steps_.step([&] {
      return start_([self = shared_from_this()](Result<OpenedSandbox> opened) { self->answered(std::move(opened)); });
    });
  }

  void cancel() {
    steps_.cancel();
    // Refused once the client was closed, and then close() has ended the wait.
    client_->thread().post([self = shared_from_this()] { self->stop_waiting("cancelled"); });
  }

 private:
  void answered(Result<OpenedSandbox> opened) {
    if (opened || opened.error().code() != ErrorCode::fleet_full_retry) return finish(std::move(opened));
    const auto pauses = client_->backend().pauses_when_full();
    const auto pause = pause_before_retry(opened.error().details().retry_after, tries_, pauses);
    const auto spent = pauses.attempts_count ? Clock::now() - began_ : paused_;
    if (tries_++ >= limits_.max_retries || pause > limits_.retry_max - spent) return finish(std::move(opened));
    paused_ += pause;
    // In a caller's thread the next attempt would have to wait there; the timer's thread is as good, and attempts are
    // rare.
    const bool posted = client_->thread().post([self = shared_from_this(), pause] { self->wait(pause); });
    if (!posted) finish(std::move(opened));
  }

  void wait(std::chrono::nanoseconds pause) {
    if (steps_.cancelled()) pause = std::chrono::nanoseconds(0);
    timer_ = client_->thread().reactor().add_timer(pause, [self = shared_from_this()] { self->again(); });
    on_close_ = client_->waits().add([self = shared_from_this()] {
      self->on_close_ = 0;
      self->stop_waiting("the client was closed");
    });
  }

  void again() {
    timer_ = 0;
    client_->waits().remove(std::exchange(on_close_, 0));
    if (steps_.cancelled()) return finish(Error(ErrorCode::cancelled, what_ + ": cancelled"));
    attempt();
  }

  void stop_waiting(const char* why) {
    if (timer_ == 0) return;
    const auto self = shared_from_this();
    client_->thread().reactor().cancel_timer(std::exchange(timer_, 0));
    client_->waits().remove(std::exchange(on_close_, 0));
    finish(Error(ErrorCode::cancelled, what_ + ": " + why));
  }

  void finish(Result<OpenedSandbox> result) {
    if (auto done = std::exchange(done_, nullptr)) done(std::move(result));
  }

  const std::shared_ptr<ClientImpl> client_;
  const std::string what_;
  const Start start_;
  const ResumeOptions limits_;
  Completion<OpenedSandbox> done_;
  const Clock::time_point began_ = Clock::now();
  std::chrono::nanoseconds paused_{0};
  int tries_ = 0;
  base::Reactor::TimerId timer_ = 0;  // of the wait that is under way; I/O thread
  std::uint64_t on_close_ = 0;        // likewise
  base::Cancellable steps_;
};

// create, build what is missing, create once more: one of them is under way, and cancel() reaches that one.
class CreateOrBuild : public std::enable_shared_from_this<CreateOrBuild> {
 public:
  CreateOrBuild(std::shared_ptr<ClientImpl> client, CreateOptions options, Completion<OpenedSandbox> done)
      : client_(std::move(client)), options_(std::move(options)), done_(std::move(done)) {}

  void begin() {
    steps_.step([&] {
      return create_with_retries(client_, options_, [self = shared_from_this()](Result<OpenedSandbox> opened) {
        if (opened || opened.error().code() != ErrorCode::template_not_found) return self->finish(std::move(opened));
        self->build(opened.error());
      });
    });
  }

  void cancel() { steps_.cancel(); }

 private:
  void build(const Error& missing) {
    steps_.step([&] {
      TemplateBuildOptions build;
      build.on_progress = options_.on_progress;
      return run_on_worker<TemplateInfo>(
          client_,
          [client = client_, name = options_.template_name, build](const std::stop_token& stop) {
            return client->backend().build_template(name, build, stop);
          },
          [self = shared_from_this(), missing](Result<TemplateInfo> built) {
            // A backend that builds none: what it said about the template itself tells more.
            if (!built && built.error().code() == ErrorCode::not_supported) return self->finish(missing);
            if (!built) return self->finish(built.error());
            self->steps_.step([&] {
              return create_with_retries(self->client_, self->options_,
                                         [self](Result<OpenedSandbox> opened) { self->finish(std::move(opened)); });
            });
          });
    });
  }

  void finish(Result<OpenedSandbox> result) {
    if (auto done = std::exchange(done_, nullptr)) done(std::move(result));
  }

  const std::shared_ptr<ClientImpl> client_;
  const CreateOptions options_;
  Completion<OpenedSandbox> done_;
  base::Cancellable steps_;
};

CancelFunction attempt(const std::shared_ptr<Attempts>& attempts) {
  attempts->attempt();
  return [weak = std::weak_ptr<Attempts>(attempts)] {
    if (auto self = weak.lock()) self->cancel();
  };
}

}  // namespace

std::chrono::nanoseconds pause_before_retry(std::optional<double> asked, int tries, const Backend::Pauses& pauses) {
  const double most = std::chrono::duration<double>(pauses.most).count();
  const double own = std::min(most, std::chrono::duration<double>(pauses.first).count() * std::exp2(tries));
  const double seconds = std::max(asked.value_or(own), 0.0);
  // Said so that it is also true of what is no number.
  if (!(seconds < 1e9)) return std::chrono::nanoseconds::max();
  return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
}

CancelFunction create_with_retries(std::shared_ptr<ClientImpl> client, CreateOptions options,
                                   Completion<OpenedSandbox> done) {
  const ResumeOptions limits{options.max_retries, options.retry_max};
  auto start = [client, options = std::move(options)](Completion<OpenedSandbox> each) {
    return client->backend().create(options, std::move(each));
  };
  return attempt(
      std::make_shared<Attempts>(std::move(client), "create sandbox", std::move(start), limits, std::move(done)));
}

CancelFunction resume_with_retries(std::shared_ptr<ClientImpl> client, std::string sandbox_id, ResumeOptions limits,
                                   Completion<OpenedSandbox> done) {
  std::string what = "resume sandbox " + sandbox_id;
  auto start = [client, id = std::move(sandbox_id)](Completion<OpenedSandbox> each) {
    return client->backend().resume(id, std::move(each));
  };
  return attempt(
      std::make_shared<Attempts>(std::move(client), std::move(what), std::move(start), limits, std::move(done)));
}

CancelFunction create_or_build(std::shared_ptr<ClientImpl> client, CreateOptions options,
                               Completion<OpenedSandbox> done) {
  if (!options.auto_build) return create_with_retries(std::move(client), std::move(options), std::move(done));
  auto work = std::make_shared<CreateOrBuild>(std::move(client), std::move(options), std::move(done));
  work->begin();
  return [weak = std::weak_ptr<CreateOrBuild>(work)] {
    if (auto self = weak.lock()) self->cancel();
  };
}

}  // namespace orkestr::core
