#include "remote/commands.hpp"

#include <fmt/format.h>

#include "orkestr/version.hpp"
#include "remote/answers.hpp"
#include "remote/events.hpp"
#include "remote/pipe.hpp"
#include "remote/shell_line.hpp"

namespace orkestr::remote {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = base::Deadline::Clock;

// Two streams of what exec() keeps by default, and what JSON adds to them.
constexpr std::size_t kMaxExecAnswer = 160U << 20U;

Error program_not_found(const std::vector<std::string>& argv) {
  return Error(ErrorCode::file_not_found,
               fmt::format("{}: no such program in the sandbox, or it cannot be executed", argv[0]));
}

std::unique_ptr<Stream> failed(Error error) {
  auto pipe = std::make_shared<Pipe>();
  pipe->fail(std::move(error));
  return std::make_unique<PipeStream>(std::move(pipe));
}

// A command's end that came as an error of the service.
void end_with(const Api& api, Pipe& pipe, Error error) {
  ErrorDetails details = error.details();
  CommandEnd end;
  end.timed_out = error.code() == ErrorCode::exec_timeout;
  end.signal = error.code() == ErrorCode::exec_killed ? details.signal : 0;
  end.oom = details.oom;
  if (!end.timed_out && end.signal == 0) return pipe.fail(std::move(error));
  pipe.deliver(OutputStream::standard_output, details.stdout_data);
  pipe.deliver(OutputStream::standard_error, details.stderr_data);
  details.request_id = without_key(details.request_id, api.settings().api_key);
  end.details = std::move(details);
  pipe.finish(std::move(end));
}

Error and_so(const Error& error, std::string_view consequence) {
  return Error(error.code(), fmt::format("{}; {}", error.message(), consequence), error.details());
}

// A stream of events that feeds a pipe. I/O thread, but for the hooks. Alive as long as its exchange, or the request
// that kills its command.
class EventStream : public std::enable_shared_from_this<EventStream> {
 public:
  // Of a command that is started by it, or the log of one that runs anyway.
  enum class Kind { command, log };
  EventStream(Kind kind, std::shared_ptr<Api> api, std::string sandbox_id, ApiRequest request,
              std::shared_ptr<Pipe> pipe)
      : kind_(kind),
        api_(std::move(api)),
        sandbox_id_(std::move(sandbox_id)),
        request_(std::move(request)),
        pipe_(std::move(pipe)) {}

  // For a command of an argv.
  void look_for(std::string mark, std::vector<std::string> argv) {
    mark_ = std::move(mark);
    argv_ = std::move(argv);
  }

  void start(milliseconds command_time) {
    allowed_ = command_time + 2 * api_->settings().timeout;
    HttpRequest http = api_->http_request(request_, command_time);
    http.streamed = true;
    http.patience.silence += command_time;
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

 private:
  bool data(std::string_view bytes) {
    if (!over_ && waiting_for_pid_ == 0 && !pipe_->has_room()) {
      if (!paused_since_) paused_since_ = Clock::now();
      return false;
    }
    if (paused_since_) deadline_ += Clock::now() - *std::exchange(paused_since_, std::nullopt);
    lines_.feed(bytes, [this](std::string_view line) { return take(line); });
    if (lines_.too_long() && !over_) {
      fail(ErrorCode::api,
           fmt::format("a line of the service's stream has more than {} bytes", LineCutter::kMaxLineBytes));
    }
    return true;
  }

  // False at the end.
  bool take(std::string_view line) {
    if (!context_) context_ = AnswerContext{request_.what, request_id(), api_->settings().api_key};
    auto event = decode_event(line, *context_);
    if (!event) {
      over_ = true;
      pipe_->fail(event.error());
      exchange_->cancel();
      return false;
    }
    switch (event->kind) {
      case CommandEvent::Kind::none:
        break;
      case CommandEvent::Kind::started:
        started_ = true;
        pipe_->set_pid(event->pid);
        if (waiting_for_pid_ != 0) end_cancelled();
        break;
      case CommandEvent::Kind::output:
        started_ = true;
        output(event->stream, std::move(event->data));
        break;
      case CommandEvent::Kind::exited:
        over_ = true;
        if (!mark_.empty() && withheld_ == mark_ && event->end.exit_code == 127) {
          pipe_->fail(program_not_found(argv_));
        } else {
          pipe_->deliver(OutputStream::standard_error, withheld_);
          pipe_->finish(event->end);
        }
        break;
      case CommandEvent::Kind::error:
        over_ = true;
        pipe_->deliver(OutputStream::standard_error, withheld_);
        refused(*event);
        break;
    }
    if (over_) end_soon();
    return !over_;
  }

  // The beginning of standard error waits as long as it may be the mark.
  void output(OutputStream stream, std::string bytes) {
    if (stream == OutputStream::standard_error && !mark_.empty() && !mark_seen_through_) {
      withheld_ += bytes;
      if (withheld_.size() <= mark_.size() && mark_.compare(0, withheld_.size(), withheld_) == 0) return;
      mark_seen_through_ = true;
      bytes = std::exchange(withheld_, {});
    }
    pipe_->deliver(stream, bytes);
  }

  void refused(const CommandEvent& event) {
    ErrorDetails details;
    details.signal = event.signal;
    details.oom = event.oom;
    details.request_id = request_id();
    details.detail = without_key(event.message, api_->settings().api_key);
    const std::string_view said =
        details.detail.empty() ? std::string_view("no message") : std::string_view(details.detail);
    std::string text = fmt::format("{}: {}", request_.what, said.substr(0, 500));
    std::string facts;
    const std::string code = without_key(event.wire_code, api_->settings().api_key).substr(0, 64);
    if (!code.empty()) facts = "code " + code;
    if (!details.request_id.empty()) facts += (facts.empty() ? "request " : ", request ") + details.request_id;
    if (!facts.empty()) text += fmt::format(" ({})", facts);
    end_with(*api_, *pipe_, Error(event.code.value_or(ErrorCode::api), std::move(text), std::move(details)));
  }

  void ended(Result<HttpAnswer> answer) {
    stop_waiting();
    ended_ = true;
    request_id_ = answer ? answer->request_id : answer.error().details().request_id;
    if (timer_ != 0) api_->http().loop().reactor().cancel_timer(std::exchange(timer_, 0));
    if (over_) return;
    if (!answer) return broke(answer.error());
    if (answer->status < 200 || answer->status > 299) {
      over_ = true;
      return end_with(*api_, *pipe_, api_->refused(*answer, request_));
    }
    lines_.finish([this](std::string_view line) { return take(line); });
    if (over_) return;
    fail(ErrorCode::connection,
         fmt::format("{}; {}",
                     answer->has_length ? "the service ended its stream before the end of the command: the sandbox's "
                                          "side went away"
                                        : "the stream broke off before the end of the command: the connection or the "
                                          "sandbox's side went away",
                     kind_ == Kind::log ? kFollowOn : "whether the command still runs is not known"));
  }

  void broke(const Error& error) {
    over_ = true;
    const Error told = api_->explain(error, request_);
    const bool answering = error.details().status_code != 0;
    if (kind_ == Kind::log) return pipe_->fail(answering ? and_so(told, kFollowOn) : told);
    if (error.code() == ErrorCode::cancelled) return pipe_->fail(and_so(told, "the command runs on until its timeout"));
    if (error.code() != ErrorCode::connection || !started_) return pipe_->fail(told);
    fail(ErrorCode::connection,
         fmt::format("the connection to the service broke while the command ran; it runs on until its timeout ({})",
                     without_key(error.message(), api_->settings().api_key)),
         error.details());
  }

  void fail(ErrorCode code, std::string_view text, ErrorDetails details = {}) {
    over_ = true;
    details.request_id = request_id();
    std::string whole = fmt::format("{}: {}", request_.what, text);
    if (!details.request_id.empty()) whole += fmt::format(" (request {})", details.request_id);
    pipe_->fail(Error(code, std::move(whole), std::move(details)));
    exchange_->cancel();
  }

  std::string request_id() const {
    return without_key(ended_ ? request_id_ : exchange_->request_id(), api_->settings().api_key);
  }

  // Comments alone keep an exchange alive, so the whole has an end of its own: the command's time and some more. Time
  // in which our own side did not take data does not count.
  void watch(Clock::time_point until) {
    if (ended_ || over_) return;
    timer_ = api_->http().loop().reactor().add_timer(until, [self = shared_from_this()] {
      self->timer_ = 0;
      const auto now = Clock::now();
      if (self->paused_since_) return self->watch(now + seconds(1));
      if (now < self->deadline_) return self->watch(self->deadline_);
      self->too_late();
    });
  }
  void too_late() {
    const auto text = [](milliseconds time) { return std::chrono::duration<double>(time).count(); };
    const milliseconds more = 2 * api_->settings().timeout;
    ErrorDetails details;
    details.stage = kStageTime;
    fail(ErrorCode::connection,
         fmt::format("the service's stream goes on without the end of the command, {} s after its timeout of {} s",
                     text(more), text(allowed_ - more)),
         std::move(details));
  }
  // Behind the last event nothing counts; the end of the answer lets the connection be used again, so it is waited for
  // a little.
  void end_soon() {
    if (ended_) return;
    auto& reactor = api_->http().loop().reactor();
    if (timer_ != 0) reactor.cancel_timer(std::exchange(timer_, 0));
    timer_ = reactor.add_timer(seconds(1), [self = shared_from_this()] {
      self->timer_ = 0;
      self->exchange_->cancel();
    });
  }

  // Without its process id a command cannot be killed; it comes first, as a rule, so it is waited for a little.
  void cancelled() {
    if (over_ || waiting_for_pid_ != 0) return;
    if (kind_ == Kind::log || pipe_->pid() > 0) return end_cancelled();
    waiting_for_pid_ =
        api_->http().loop().reactor().add_timer(seconds(1), [self = shared_from_this()] { self->end_cancelled(); });
    exchange_->resume();
  }

  void stop_waiting() {
    if (waiting_for_pid_ != 0) api_->http().loop().reactor().cancel_timer(std::exchange(waiting_for_pid_, 0));
  }

  void end_cancelled() {
    const auto self = shared_from_this();  // the timer may be the last that holds it
    stop_waiting();
    if (over_) return;
    over_ = true;
    exchange_->cancel();
    const auto end = [pipe = pipe_, what = request_.what](std::string_view text) {
      pipe->fail(Error(ErrorCode::cancelled, fmt::format("{}: cancelled; {}", what, text)));
    };
    const auto pid = pipe_->pid();
    if (kind_ == Kind::log) return end("the command runs on");
    if (pid <= 1) return end("its process id was not known yet, so it may run on until its timeout");
    CommandRequest request;
    request.cwd = "/";
    request.timeout = seconds(10);
    const std::string line = fmt::format(
        "kill -TERM -- -{0} 2>/dev/null || kill -TERM {0} 2>/dev/null || exit 0; for i in 1 2 3 4 5 6 7 8 9 10 11 12 "
        "13 14 "
        "15 16 17 18 19 20; do kill -0 -- -{0} 2>/dev/null || exit 0; sleep 0.1; done; kill -KILL -- -{0} 2>/dev/null",
        pid);
    api_->call(exec_request(sandbox_id_, line, request), {1U << 20U, request.timeout},
               [end](const Result<base::JsonValue>& json, const AnswerContext&) {
                 end(json ? std::string("its process group was ended")
                          : fmt::format("ending its process group failed, so it may run on until its timeout ({})",
                                        json.error().message()));
               });
  }

  static constexpr const char* kFollowOn = "the command may still run: follow on from the offset reached";

  const Kind kind_;
  const std::shared_ptr<Api> api_;
  const std::string sandbox_id_;
  const ApiRequest request_;
  const std::shared_ptr<Pipe> pipe_;
  std::shared_ptr<Exchange> exchange_;
  std::optional<AnswerContext> context_;
  LineCutter lines_;
  bool started_ = false;
  bool over_ = false;   // the reader has its end
  bool ended_ = false;  // so has the exchange
  std::string request_id_;
  milliseconds allowed_{0};
  Clock::time_point deadline_;
  std::optional<Clock::time_point> paused_since_;
  base::Reactor::TimerId timer_ = 0;  // of watch() or end_soon()
  base::Reactor::TimerId waiting_for_pid_ = 0;
  std::string mark_;
  std::vector<std::string> argv_;
  std::string withheld_;
  bool mark_seen_through_ = false;
};

std::unique_ptr<Stream> wait_for(const std::shared_ptr<Api>& api, const std::string& sandbox_id, const ShellLine& line,
                                 const CommandRequest& request) {
  auto pipe = std::make_shared<Pipe>();
  const auto cancel = api->call(exec_request(sandbox_id, line.line, request), {kMaxExecAnswer, request.timeout},
                                [api, pipe, mark = line.not_found_mark, argv = request.argv](
                                    Result<base::JsonValue> json, const AnswerContext& context) {
                                  if (!json && json.error().code() == ErrorCode::cancelled) {
                                    return pipe->fail(and_so(json.error(),
                                                             "its request was closed, which tells the "
                                                             "service to end the command; whether it "
                                                             "has is not known"));
                                  }
                                  if (!json) return end_with(*api, *pipe, json.error());
                                  auto answer = decode_exec(*json, context);
                                  if (!answer) return pipe->fail(answer.error());
                                  if (!mark.empty() && answer->end.exit_code == 127 && answer->stderr_data == mark) {
                                    return pipe->fail(program_not_found(argv));
                                  }
                                  pipe->deliver(OutputStream::standard_output, answer->stdout_data);
                                  pipe->deliver(OutputStream::standard_error, answer->stderr_data);
                                  pipe->finish(answer->end);
                                });
  Pipe::Hooks hooks;
  hooks.on_cancel = cancel;
  pipe->set_hooks(std::move(hooks));
  return std::make_unique<PipeStream>(std::move(pipe));
}

}  // namespace

Error not_on_a_service(std::string_view what) {
  return Error(ErrorCode::not_supported,
               fmt::format("{}: the remote backend of orkestr {} does not have it; leave it out, or run locally "
                           "(ORKESTR_BACKEND=local)",
                           what, ORKESTR_VERSION));
}

Result<void> check_command(const CommandRequest& request) {
  if (request.tty) return not_on_a_service("tty");
  if (request.stdin_open) return not_on_a_service("standard input of a command");
  if (!request.user.empty()) return not_on_a_service("user");
  return {};
}

std::unique_ptr<Stream> exec_stream(std::shared_ptr<Api> api, const std::string& sandbox_id, CommandRequest request) {
  if (auto good = check_command(request); !good) return failed(good.error());
  const ShellLine line = shell_line(request.argv);
  if (!request.streamed) return wait_for(api, sandbox_id, line, request);
  auto pipe = std::make_shared<Pipe>();
  auto events = std::make_shared<EventStream>(EventStream::Kind::command, api, sandbox_id,
                                              exec_request(sandbox_id, line.line, request), pipe);
  events->look_for(line.not_found_mark, request.argv);
  events->start(request.timeout);
  return std::make_unique<PipeStream>(std::move(pipe));
}

std::unique_ptr<Stream> follow_stream(std::shared_ptr<Api> api, const std::string& sandbox_id,
                                      const std::string& command_id, std::uint64_t offset, milliseconds timeout) {
  auto pipe = std::make_shared<Pipe>();
  auto events = std::make_shared<EventStream>(EventStream::Kind::log, api, sandbox_id,
                                              follow_request(sandbox_id, command_id, offset, timeout), pipe);
  events->start(timeout);
  return std::make_unique<PipeStream>(std::move(pipe));
}

}  // namespace orkestr::remote
