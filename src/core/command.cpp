#include "orkestr/command.hpp"

#include <fmt/format.h>

#include <mutex>
#include <thread>

#include "base/try.hpp"
#include "core/command_end.hpp"
#include "core/handles.hpp"
#include "core/pull.hpp"
#include "core/submit.hpp"
#include "core/validate.hpp"

namespace orkestr {
namespace {

using core::completed;

}  // namespace

// --- LogStream

struct LogStream::Impl {
  Impl(std::shared_ptr<SandboxImpl> sandbox, std::unique_ptr<Stream> stream, std::chrono::seconds its_timeout)
      : timeout(its_timeout), pull(std::move(sandbox), std::move(stream)) {}
  const std::chrono::milliseconds timeout;
  core::Pull pull;
  bool over = false;
};

LogStream::LogStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LogStream::~LogStream() = default;
LogStream::LogStream(LogStream&&) noexcept = default;
LogStream& LogStream::operator=(LogStream&&) noexcept = default;

Result<std::optional<ExecChunk>> LogStream::next(std::optional<std::chrono::milliseconds> timeout) {
  ORKESTR_CHECK(impl_->pull.check_process());
  if (impl_->over) return std::optional<ExecChunk>();
  auto item = impl_->pull.next(timeout ? base::Deadline::after(*timeout) : base::Deadline::never());
  if (!item) return std::optional<ExecChunk>(ExecChunk{});
  if (!*item) {
    impl_->over = true;
    return item->error();
  }
  ExecChunk chunk;
  if ((*item)->kind == StreamItem::Kind::output) {
    chunk.data = std::move((*item)->data);
    return std::optional<ExecChunk>(std::move(chunk));
  }
  impl_->over = true;
  const CommandEnd& end = (*item)->end;
  if (end.timed_out) {
    return Error(ErrorCode::exec_timeout,
                 fmt::format("logs: the command had not ended after {} s; it runs on. Read on from the offset reached",
                             impl_->timeout.count() / 1000),
                 end.details ? *end.details : ErrorDetails());
  }
  if (auto error = core::error_of(end, impl_->timeout, {}, {})) return *error;
  chunk.exit_code = end.exit_code;
  chunk.duration = end.duration;
  return std::optional<ExecChunk>(std::move(chunk));
}

int LogStream::fd() { return impl_->pull.fd(); }

void LogStream::close() {
  if (impl_->pull.forked()) return;
  impl_->over = true;
  impl_->pull.close();
}

// --- BackgroundCommand

struct BackgroundCommand::State {
  State(std::shared_ptr<SandboxImpl> its_sandbox, CommandInfo its_info)
      : sandbox(std::move(its_sandbox)), id(its_info.id), info(std::move(its_info)) {}
  void set(CommandInfo fresh) {
    std::lock_guard lock(mutex);
    info = std::move(fresh);
  }
  const std::shared_ptr<SandboxImpl> sandbox;
  const std::string id;
  std::mutex mutex;
  CommandInfo info;
};

namespace {

// Stores what was learned in the handle.
template <class State>
Completion<CommandInfo> into(std::shared_ptr<State> state, Completion<void> done) {
  return [state = std::move(state), done = std::move(done)](Result<CommandInfo> info) {
    if (!info) return done(info.error());
    state->set(std::move(*info));
    done({});
  };
}

}  // namespace

BackgroundCommand::BackgroundCommand(std::shared_ptr<SandboxImpl> sandbox, CommandInfo info)
    : state_(std::make_shared<State>(std::move(sandbox), std::move(info))) {}

std::string BackgroundCommand::id() const { return state_->id; }

CommandInfo BackgroundCommand::info() const {
  std::lock_guard lock(state_->mutex);
  return state_->info;
}

Operation<void> BackgroundCommand::refresh_async() const {
  const auto& sandbox = state_->sandbox;
  if (auto here = sandbox->client->check_process(); !here) return completed<void>(here);
  return core::submit<void>(
      [&](auto done) { return sandbox->session->get_command(state_->id, into(state_, std::move(done))); });
}

Operation<void> BackgroundCommand::kill_async() const {
  const auto& sandbox = state_->sandbox;
  if (auto here = sandbox->client->check_process(); !here) return completed<void>(here);
  return core::submit<void>(
      [&](auto done) { return sandbox->session->kill_command(state_->id, into(state_, std::move(done))); });
}

Operation<CommandLogs> BackgroundCommand::logs_async(std::uint64_t offset) const {
  const auto& sandbox = state_->sandbox;
  if (auto here = sandbox->client->check_process(); !here) return completed<CommandLogs>(here.error());
  return core::submit<CommandLogs>(
      [&](auto done) { return sandbox->session->command_logs(state_->id, offset, std::move(done)); });
}

Result<void> BackgroundCommand::refresh() const { return refresh_async().get(); }
Result<void> BackgroundCommand::kill() const { return kill_async().get(); }
Result<CommandLogs> BackgroundCommand::logs(std::uint64_t offset) const { return logs_async(offset).get(); }

Result<LogStream> BackgroundCommand::stream(std::uint64_t offset, std::chrono::seconds timeout) const {
  const auto& sandbox = state_->sandbox;
  ORKESTR_CHECK(sandbox->client->check_process());
  ORKESTR_CHECK(core::check_follow_timeout(timeout));
  return LogStream(std::make_unique<LogStream::Impl>(
      sandbox, sandbox->session->follow_command(state_->id, offset, timeout), timeout));
}

// By asking, with growing pauses: a wait may take hours, and no connection has to stay open for it.
Result<CommandInfo> BackgroundCommand::wait(std::optional<std::chrono::milliseconds> timeout) const {
  constexpr std::chrono::milliseconds kLongestPause{500};
  const auto deadline = timeout ? base::Deadline::after(*timeout) : base::Deadline::never();
  std::chrono::milliseconds pause{5};
  while (true) {
    ORKESTR_CHECK(refresh());
    CommandInfo now = info();
    if (now.status != CommandStatus::running) return now;
    if (deadline.expired()) {
      return Error(ErrorCode::exec_timeout, fmt::format("wait: command {} had not ended after {} ms; it runs on",
                                                        state_->id, timeout.value_or(pause).count()));
    }
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(pause, deadline.remaining().value_or(pause)));
    pause = std::min(pause * 2, kLongestPause);
  }
}

// --- Sandbox

Operation<BackgroundCommand> Sandbox::start_async(std::string_view command, ExecOptions options) const {
  using Value = BackgroundCommand;
  if (auto here = impl_->client->check_process(); !here) return completed<Value>(here.error());
  auto request = core::background_command(command, options);
  if (!request) return completed<Value>(request.error());
  return core::submit<Value>([&](Completion<Value> done) {
    return impl_->session->start_command(std::string(command), std::move(*request),
                                         [sandbox = impl_, done = std::move(done)](Result<CommandInfo> info) {
                                           if (!info) return done(info.error());
                                           done(BackgroundCommand(sandbox, std::move(*info)));
                                         });
  });
}

Operation<std::vector<BackgroundCommand>> Sandbox::commands_async() const {
  using Value = std::vector<BackgroundCommand>;
  if (auto here = impl_->client->check_process(); !here) return completed<Value>(here.error());
  return core::submit<Value>([&](Completion<Value> done) {
    return impl_->session->list_commands(
        [sandbox = impl_, done = std::move(done)](Result<std::vector<CommandInfo>> infos) {
          if (!infos) return done(infos.error());
          Value all;
          for (CommandInfo& info : *infos) all.emplace_back(sandbox, std::move(info));
          done(std::move(all));
        });
  });
}

Result<BackgroundCommand> Sandbox::start(std::string_view command, ExecOptions options) const {
  return start_async(command, std::move(options)).get();
}
Result<std::vector<BackgroundCommand>> Sandbox::commands() const { return commands_async().get(); }

Result<BackgroundCommand> Sandbox::command(std::string_view command_id) const {
  ORKESTR_CHECK(core::check_command_id(command_id));
  CommandInfo info;
  info.id = command_id;
  BackgroundCommand command(impl_, std::move(info));
  ORKESTR_CHECK(command.refresh());
  return command;
}

}  // namespace orkestr
