#include "remote/commands.hpp"

#include <fmt/format.h>

#include "orkestr/version.hpp"
#include "remote/answers.hpp"
#include "remote/event_feed.hpp"
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
  ErrorDetails details = error.details();
  CommandEnd end;
  end.timed_out = error.code() == ErrorCode::exec_timeout;
  end.signal = error.code() == ErrorCode::exec_killed ? details.signal : 0;
  end.oom = details.oom;
  if (!end.timed_out && end.signal == 0) return pipe.fail(std::move(error));
  pipe.deliver(OutputStream::standard_output, details.stdout_data);
  pipe.deliver(OutputStream::standard_error, details.stderr_data);
  details.stdout_data.clear();  // who reads the pipe has them
  details.stderr_data.clear();
  end.details = std::make_shared<const ErrorDetails>(std::move(details));
  pipe.finish(std::move(end));
}

// The stream of a command that is started by it, or the log of one that runs anyway.
class CommandFeed final : public EventFeed {
 public:
  enum class Kind { command, log };
  CommandFeed(Kind kind, std::shared_ptr<Api> api, std::string sandbox_id, ApiRequest request,
              std::shared_ptr<Pipe> pipe)
      : EventFeed(std::move(api), std::move(request), std::move(pipe), "command"),
        kind_(kind),
        sandbox_id_(std::move(sandbox_id)) {}

  // For a command of an argv.
  void look_for(std::string mark, std::vector<std::string> argv) {
    mark_ = std::move(mark);
    argv_ = std::move(argv);
  }

 private:
  void take(std::string_view line, const AnswerContext& context) override {
    auto event = decode_event(line, context);
    if (!event) return fail(event.error());
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
        end_with_error(*event);
        break;
    }
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

  void end_with_error(const CommandEvent& event) {
    ErrorDetails details;
    details.signal = event.signal;
    details.oom = event.oom;
    refused(error_of_event(event.wire_code, event.message, std::move(details)));
  }

  void refused(Error error) override { end_with(*pipe_, std::move(error)); }

  void broke(const Error& error) override {
    if (kind_ == Kind::command) return EventFeed::broke(error);
    const Error told = api_->explain(error, request_);
    const bool answering = error.details().status_code != 0;
    pipe_->fail(answering ? and_so(told, kFollowOn) : told);
  }

  std::string consequence() const override { return kind_ == Kind::log ? kFollowOn : EventFeed::consequence(); }

  // Without its process id a command cannot be killed; it comes first, as a rule, so it is waited for a little.
  void cancelled() override {
    if (over_ || waiting_for_pid_ != 0) return;
    if (kind_ == Kind::log || pipe_->pid() > 0) return end_cancelled();
    waiting_for_pid_ = api_->http().loop().reactor().add_timer(
        seconds(1), [self = std::static_pointer_cast<CommandFeed>(shared_from_this())] { self->end_cancelled(); });
    exchange_->resume();
  }
  bool waits_for_room() const override { return waiting_for_pid_ == 0; }
  void exchange_ended() override { stop_waiting(); }

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
    // Of the group, or of the process where it leads none.
    const std::string line = fmt::format(
        "alive() {{ kill -0 -- -{0} || kill -0 {0}; }} 2>/dev/null; "
        "end() {{ kill -$1 -- -{0} || kill -$1 {0}; }} 2>/dev/null; "
        "gone() {{ for i in 1 2 3 4 5 6 7 8 9 10; do alive || exit 0; sleep 0.1; done; }}; "
        "end TERM; gone; gone; end KILL; gone; exit 1",
        pid);
    api_->call(exec_request(sandbox_id_, line, request), {1U << 20U, request.timeout},
               [end](const Result<base::JsonValue>& json, const AnswerContext& context) {
                 const auto answer = json ? decode_exec(*json, context) : Result<ExecAnswer>(json.error());
                 if (answer && answer->end.exit_code == 0) return end("its process group was ended");
                 end(fmt::format("ending its process group failed, so it may run on until its timeout ({})",
                                 answer ? "it is still there 1 s after SIGKILL" : answer.error().message()));
               });
  }

  static constexpr const char* kFollowOn = "the command may still run: follow on from the offset reached";

  const Kind kind_;
  const std::string sandbox_id_;
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
  auto feed = std::make_shared<CommandFeed>(CommandFeed::Kind::command, std::move(api), sandbox_id,
                                            exec_request(sandbox_id, line.line, request), pipe);
  feed->look_for(line.not_found_mark, request.argv);
  feed->start(request.timeout);
  return std::make_unique<PipeStream>(std::move(pipe));
}

std::unique_ptr<Stream> follow_stream(std::shared_ptr<Api> api, const std::string& sandbox_id,
                                      const std::string& command_id, std::uint64_t offset, milliseconds timeout) {
  auto pipe = std::make_shared<Pipe>();
  auto feed = std::make_shared<CommandFeed>(CommandFeed::Kind::log, std::move(api), sandbox_id,
                                            follow_request(sandbox_id, command_id, offset, timeout), pipe);
  feed->start(timeout);
  return std::make_unique<PipeStream>(std::move(pipe));
}

}  // namespace orkestr::remote
