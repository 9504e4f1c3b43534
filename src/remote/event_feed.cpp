#include "remote/event_feed.hpp"

#include <fmt/format.h>

#include "remote/errors.hpp"
#include "remote/text.hpp"

namespace orkestr::remote {

using std::chrono::milliseconds;
using std::chrono::seconds;

Error and_so(const Error& error, std::string_view consequence) {
  return Error(error.code(), fmt::format("{}; {}", error.message(), consequence), error.details());
}

void EventFeed::start(milliseconds run_time) {
  allowed_ = run_time + 2 * api_->settings().timeout;
  HttpRequest http = api_->http_request(request_, run_time);
  http.streamed = true;
  http.patience.silence += run_time;
  Exchange::Handlers handlers;
  handlers.on_data = [self = shared_from_this()](std::string_view bytes) { return self->data(bytes); };
  handlers.on_end = [self = shared_from_this()](Result<HttpAnswer> answer) { self->ended(std::move(answer)); };
  exchange_ = api_->http().prepare(std::move(http), std::move(handlers));
  Pipe::Hooks hooks;
  hooks.on_room = [exchange = exchange_] { exchange->resume(); };
  hooks.on_abandon = [exchange = exchange_] { exchange->cancel(); };
  hooks.on_cancel = [self = shared_from_this()] { self->api_->http().post([self] { self->cancelled(); }); };
  pipe_->set_hooks(std::move(hooks));
  exchange_->begin();
  api_->http().post([self = shared_from_this()] {
    self->deadline_ = Clock::now() + self->allowed_;
    self->watch(self->deadline_);
  });
}

bool EventFeed::data(std::string_view bytes) {
  if (!over_ && waits_for_room() && !pipe_->has_room()) {
    if (!paused_since_) paused_since_ = Clock::now();
    return false;
  }
  if (paused_since_) deadline_ += Clock::now() - *std::exchange(paused_since_, std::nullopt);
  lines_.feed(bytes, [this](std::string_view line) { return take_line(line); });
  if (lines_.too_long() && !over_) {
    fail(ErrorCode::api, fmt::format("a line of the service's stream has more than {} bytes", lines_.max_line_bytes()));
  }
  return true;
}

// False at the end.
bool EventFeed::take_line(std::string_view line) {
  if (!context_) context_ = AnswerContext{request_.what, request_id(), api_->settings().api_key};
  take(line, *context_);
  if (over_) end_soon();
  return !over_;
}

void EventFeed::ended(Result<HttpAnswer> answer) {
  exchange_ended();
  ended_ = true;
  request_id_ = answer ? answer->request_id : answer.error().details().request_id;
  if (timer_ != 0) api_->http().loop().reactor().cancel_timer(std::exchange(timer_, 0));
  if (over_) return;
  if (!answer) {
    over_ = true;
    return broke(answer.error());
  }
  if (answer->status < 200 || answer->status > 299) {
    over_ = true;
    return refused(api_->refused(*answer, request_));
  }
  lines_.finish([this](std::string_view line) { return take_line(line); });
  if (over_) return;
  fail(ErrorCode::connection,
       fmt::format("{}; {}",
                   answer->has_length
                       ? fmt::format("the service ended its stream before the end of the {}: the sandbox's side went "
                                     "away",
                                     subject_)
                       : fmt::format("the stream broke off before the end of the {}: the connection or the sandbox's "
                                     "side went away",
                                     subject_),
                   consequence()));
}

void EventFeed::broke(const Error& error) {
  const Error told = api_->explain(error, request_);
  if (error.code() == ErrorCode::cancelled) {
    if (started_) return pipe_->fail(and_so(told, fmt::format("the {} runs on until its timeout", subject_)));
    if (!exchange_->sent()) return pipe_->fail(told);
    return pipe_->fail(and_so(told, fmt::format("whether the {} runs is not known", subject_)));
  }
  if (error.code() != ErrorCode::connection || !started_) return pipe_->fail(told);
  fail(ErrorCode::connection,
       fmt::format("the connection to the service broke while the {} ran; it runs on until its timeout ({})", subject_,
                   without_key(error.message(), api_->settings().api_key)),
       error.details());
}

std::string EventFeed::consequence() const { return fmt::format("whether the {} still runs is not known", subject_); }

void EventFeed::fail(Error error) {
  over_ = true;
  pipe_->fail(std::move(error));
  exchange_->cancel();
}

void EventFeed::fail(ErrorCode code, std::string_view text, ErrorDetails details) {
  details.request_id = request_id();
  std::string whole = fmt::format("{}: {}{}", request_.what, text, facts(0, {}, details.request_id));
  fail(Error(code, std::move(whole), std::move(details)));
}

Error EventFeed::error_of_event(std::string_view wire_code, std::string_view message, ErrorDetails details) const {
  const std::string& key = api_->settings().api_key;
  details.request_id = request_id();
  details.detail = kept(message, key);
  std::string text = fmt::format("{}: {}{}", request_.what, message.empty() ? "no message" : shown(details.detail, key),
                                 facts(0, shown(wire_code, key, 64), details.request_id));
  return Error(code_named(wire_code).value_or(ErrorCode::api), std::move(text), std::move(details));
}

std::string EventFeed::request_id() const {
  return shown_request(ended_ ? request_id_ : exchange_->request_id(), api_->settings().api_key);
}

// Comments alone keep an exchange alive, so the whole has an end of its own: the time it may run and some more. Time in
// which our own side did not take data does not count.
void EventFeed::watch(Clock::time_point until) {
  if (ended_ || over_) return;
  timer_ = api_->http().loop().reactor().add_timer(until, [self = shared_from_this()] {
    self->timer_ = 0;
    const auto now = Clock::now();
    if (self->paused_since_) return self->watch(now + seconds(1));
    if (now < self->deadline_) return self->watch(self->deadline_);
    self->too_late();
  });
}

void EventFeed::too_late() {
  const auto text = [](milliseconds time) { return std::chrono::duration<double>(time).count(); };
  const milliseconds more = 2 * api_->settings().timeout;
  ErrorDetails details;
  details.stage = kStageTime;
  fail(ErrorCode::connection,
       fmt::format("the service's stream goes on without the end of the {}, {} s after its timeout of {} s", subject_,
                   text(more), text(allowed_ - more)),
       std::move(details));
}

// Behind the last event nothing counts; the end of the answer lets the connection be used again, so it is waited for a
// little.
void EventFeed::end_soon() {
  if (ended_) return;
  auto& reactor = api_->http().loop().reactor();
  if (timer_ != 0) reactor.cancel_timer(std::exchange(timer_, 0));
  timer_ = reactor.add_timer(seconds(1), [self = shared_from_this()] {
    self->timer_ = 0;
    self->exchange_->cancel();
  });
}

}  // namespace orkestr::remote
