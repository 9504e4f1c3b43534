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
void end_with(Pipe& pipe, Error error) {
  const ErrorDetails& details = error.details();
  CommandEnd end;
  end.timed_out = error.code() == ErrorCode::exec_timeout;
  end.cancelled = error.code() == ErrorCode::cancelled;
  end.signal = error.code() == ErrorCode::exec_killed ? details.signal : 0;
  end.oom = details.oom;
  if (!end.timed_out && !end.cancelled && end.signal == 0) return pipe.fail(std::move(error));
  pipe.deliver(OutputStream::standard_output, details.stdout_data);
  pipe.deliver(OutputStream::standard_error, details.stderr_data);
  pipe.finish(end);
}

// A stream of events that feeds a pipe. I/O thread, but for the hooks. Alive as long as its exchange, or the request
// that kills its command.
class EventStream : public std::enable_shared_from_this<EventStream> {
 public:
  EventStream(std::shared_ptr<Api> api, std::string sandbox_id, ApiRequest request, std::shared_ptr<Pipe> pipe)
      : api_(std::move(api)),
        sandbox_id_(std::move(sandbox_id)),
        request_(std::move(request)),
        pipe_(std::move(pipe)) {}

  // For a command of an argv.
  void look_for(std::string mark, std::vector<std::string> argv) {
    mark_ = std::move(mark);
    argv_ = std::move(argv);
  }

  void start(milliseconds command_time, bool kill_when_cancelled) {
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
    hooks.on_cancel = [self = shared_from_this(), kill_when_cancelled] {
      self->api_->http().post([self, kill_when_cancelled] { self->cancelled(kill_when_cancelled); });
    };
    pipe_->set_hooks(std::move(hooks));
    exchange_->begin();
  }

 private:
  bool data(std::string_view bytes) {
    if (!over_ && waiting_for_pid_ == 0 && !pipe_->has_room()) return false;
    lines_.feed(bytes, [this](std::string_view line) { return take(line); });
    if (lines_.too_long() && !over_) {
      fail(ErrorCode::api,
           fmt::format("a line of the service's stream has more than {} bytes", LineCutter::kMaxLineBytes));
    }
    return true;
  }

  // False at the end.
  bool take(std::string_view line) {
    auto event = decode_event(line, request_.what);
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
    details.detail = without_key(event.message, api_->settings().api_key);
    const std::string_view said =
        details.detail.empty() ? std::string_view("no message") : std::string_view(details.detail);
    std::string text = fmt::format("{}: {}", request_.what, said.substr(0, 500));
    if (!event.wire_code.empty()) text += fmt::format(" (code {})", event.wire_code.substr(0, 64));
    end_with(*pipe_, Error(event.code.value_or(ErrorCode::api), std::move(text), std::move(details)));
  }

  void ended(Result<HttpAnswer> answer) {
    stop_waiting();
    if (over_) return;
    if (!answer) {
      over_ = true;
      Error error = api_->explain(answer.error(), request_);
      if (answer.error().code() == ErrorCode::connection && started_) {
        error = Error(ErrorCode::connection,
                      fmt::format("{}: the connection to the service broke while the command ran; it runs on until its "
                                  "timeout ({})",
                                  request_.what, without_key(answer.error().message(), api_->settings().api_key)),
                      answer.error().details());
      }
      return end_with(*pipe_, std::move(error));
    }
    if (answer->status < 200 || answer->status > 299) {
      over_ = true;
      return end_with(*pipe_, api_->refused(*answer, request_));
    }
    lines_.finish([this](std::string_view line) { return take(line); });
    if (over_) return;
    fail(ErrorCode::connection,
         started_ ? "the service ended its stream without the end of the command: the sandbox's side went away"
                  : "the service ended its stream before the command had started: the sandbox's side went away");
  }

  void fail(ErrorCode code, std::string_view text) {
    over_ = true;
    pipe_->fail(Error(code, fmt::format("{}: {}", request_.what, text)));
    exchange_->cancel();
  }

  // Without its process id a command cannot be killed; it comes first, as a rule, so it is waited for a little.
  void cancelled(bool kill) {
    if (over_ || waiting_for_pid_ != 0) return;
    kill_ = kill;
    if (!kill || pipe_->pid() > 0) return end_cancelled();
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
    CommandEnd end;
    end.cancelled = true;
    const auto pid = pipe_->pid();
    if (!kill_ || pid <= 1) return pipe_->finish(end);
    CommandRequest request;
    request.cwd = "/";
    request.timeout = seconds(10);
    const std::string line = fmt::format(
        "kill -TERM -- -{0} 2>/dev/null || kill -TERM {0} 2>/dev/null || exit 0; for i in 1 2 3 4 5 6 7 8 9 10 11 12 "
        "13 14 "
        "15 16 17 18 19 20; do kill -0 -- -{0} 2>/dev/null || exit 0; sleep 0.1; done; kill -KILL -- -{0} 2>/dev/null",
        pid);
    api_->call(exec_request(sandbox_id_, line, request), {1U << 20U, request.timeout},
               [pipe = pipe_, end](const Result<base::JsonValue>&, const AnswerContext&) { pipe->finish(end); });
  }

  const std::shared_ptr<Api> api_;
  const std::string sandbox_id_;
  const ApiRequest request_;
  const std::shared_ptr<Pipe> pipe_;
  std::shared_ptr<Exchange> exchange_;
  LineCutter lines_;
  bool started_ = false;
  bool over_ = false;
  bool kill_ = false;
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
                                [pipe, mark = line.not_found_mark, argv = request.argv](Result<base::JsonValue> json,
                                                                                        const AnswerContext& context) {
                                  if (!json) return end_with(*pipe, json.error());
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
  auto events = std::make_shared<EventStream>(api, sandbox_id, exec_request(sandbox_id, line.line, request), pipe);
  events->look_for(line.not_found_mark, request.argv);
  events->start(request.timeout, true);
  return std::make_unique<PipeStream>(std::move(pipe));
}

std::unique_ptr<Stream> follow_stream(std::shared_ptr<Api> api, const std::string& sandbox_id,
                                      const std::string& command_id, std::uint64_t offset, milliseconds timeout) {
  auto pipe = std::make_shared<Pipe>();
  auto events =
      std::make_shared<EventStream>(api, sandbox_id, follow_request(sandbox_id, command_id, offset, timeout), pipe);
  events->start(timeout, false);
  return std::make_unique<PipeStream>(std::move(pipe));
}

}  // namespace orkestr::remote
