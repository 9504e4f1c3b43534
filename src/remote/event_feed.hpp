// A streamed answer of server-sent events that feeds a pipe: what streams of commands and of code share. It reads on as
// there is room in the pipe, has an end of its own, and says what went wrong. Who derives from it knows the events.
//
// Threads: the I/O thread, but for start(). Alive as long as its exchange, or who holds it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/reactor.hpp"
#include "remote/api.hpp"
#include "remote/events.hpp"
#include "remote/pipe.hpp"

namespace orkestr::remote {

class EventFeed : public std::enable_shared_from_this<EventFeed> {
 public:
  // `subject` is what runs, for error texts: "command". Lines of the stream have at most `max_line_bytes`.
  EventFeed(std::shared_ptr<Api> api, ApiRequest request, std::shared_ptr<Pipe> pipe, std::string_view subject,
            std::size_t max_line_bytes = LineCutter::kMaxLineBytes)
      : api_(std::move(api)),
        request_(api_->fit_for_texts(std::move(request))),
        pipe_(std::move(pipe)),
        subject_(subject),
        lines_(max_line_bytes) {}
  virtual ~EventFeed() = default;
  EventFeed(const EventFeed&) = delete;
  EventFeed& operator=(const EventFeed&) = delete;

  // `run_time` is what the subject itself may take.
  void start(std::chrono::milliseconds run_time);

 protected:
  using Clock = base::Deadline::Clock;

  // One line. At the last event it gives the pipe its end and sets over_.
  virtual void take(std::string_view line, const AnswerContext& context) = 0;
  // The service refused the request.
  virtual void refused(Error error) { pipe_->fail(std::move(error)); }
  // The exchange failed before the end of the stream.
  virtual void broke(const Error& error);
  // What is to be known after a stream that ended too early.
  virtual std::string consequence() const;
  // False: everything is read, room or not.
  virtual bool waits_for_room() const { return true; }
  // The exchange is over, whatever comes next.
  virtual void exchange_ended() {}
  // The reader wants the end of it.
  virtual void cancelled() { exchange_->cancel(); }

  // Gives the pipe this end and lets go of the exchange.
  void fail(Error error);
  void fail(ErrorCode code, std::string_view text, ErrorDetails details = {});
  std::string request_id() const;
  // What the stream itself says went wrong.
  Error error_of_event(std::string_view wire_code, std::string_view message, ErrorDetails details = {}) const;

  const std::shared_ptr<Api> api_;
  const ApiRequest request_;
  const std::shared_ptr<Pipe> pipe_;
  const std::string_view subject_;
  std::shared_ptr<Exchange> exchange_;
  bool started_ = false;  // something of it was heard
  bool over_ = false;     // the reader has its end

 private:
  bool data(std::string_view bytes);
  bool take_line(std::string_view line);
  void ended(Result<HttpAnswer> answer);
  void watch(Clock::time_point until);
  void too_late();
  void end_soon();

  std::optional<AnswerContext> context_;
  LineCutter lines_;
  bool ended_ = false;  // so has the exchange
  std::string request_id_;
  std::chrono::milliseconds allowed_{0};
  Clock::time_point deadline_;
  std::optional<Clock::time_point> paused_since_;
  base::Reactor::TimerId timer_ = 0;  // of watch() or end_soon()
};

// The error, with what follows from it.
Error and_so(const Error& error, std::string_view consequence);

}  // namespace orkestr::remote
