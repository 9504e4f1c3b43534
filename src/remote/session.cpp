#include "remote/session.hpp"

#include "base/cancellable.hpp"
#include "remote/answers.hpp"
#include "remote/code.hpp"
#include "remote/commands.hpp"
#include "remote/transfers.hpp"

namespace orkestr::remote {
namespace {

template <class T>
CancelFunction refuse(std::string_view what, const Completion<T>& done) {
  done(not_on_a_service(what));
  return [] {};
}

}  // namespace

SandboxInfo RemoteSession::update(const std::function<void(SandboxInfo&)>& change) {
  std::lock_guard lock(mutex_);
  change(info_);
  return info_;
}

CancelFunction RemoteSession::inspect(Completion<SandboxInfo> done) {
  return api_->ask<SandboxInfo>(
      get_request(id_), std::move(done),
      [self = shared_from_this()](const JsonValue& json, const AnswerContext& context) -> Result<SandboxInfo> {
        auto info = decode_sandbox(json, context);
        if (!info) return info;
        return self->update([&](SandboxInfo& last) { last = *info; });
      });
}

// The answer may be empty, or an object that is no sandbox.
CancelFunction RemoteSession::terminate(Completion<SandboxInfo> done) {
  return api_->ask<SandboxInfo>(
      terminate_request(id_), std::move(done),
      [self = shared_from_this()](const JsonValue&, const AnswerContext&) -> Result<SandboxInfo> {
        return self->update([](SandboxInfo& last) {
          if (last.status != Status::failed) last.status = Status::terminated;
        });
      });
}

std::unique_ptr<Stream> RemoteSession::exec(CommandRequest request) {
  return exec_stream(api_, id_, std::move(request));
}
std::unique_ptr<Stream> RemoteSession::read_file(std::string path) { return read_stream(api_, id_, path); }
std::unique_ptr<Stream> RemoteSession::write_file(std::string path, int mode, std::optional<std::uint64_t> size) {
  return write_stream(api_, id_, path, mode, size);
}

CancelFunction RemoteSession::list_files(std::string path, Completion<std::vector<FileEntry>> done) {
  auto request = read_file_request(id_, path);
  request.what = "list " + path;
  return api_->ask<std::vector<FileEntry>>(
      std::move(request), std::move(done),
      [path](const JsonValue& json, const AnswerContext& context) { return decode_directory(json, context, path); },
      // It may turn out to be a large file, of which nothing is wanted but that it is one.
      {64U << 20U});
}
CancelFunction RemoteSession::stat_file(std::string path, Completion<FileStat> done) {
  return api_->ask<FileStat>(stat_request(id_, path), std::move(done), decode_stat);
}
CancelFunction RemoteSession::remove_file(std::string path, Completion<void> done) {
  return api_->ask_nothing(remove_file_request(id_, path), std::move(done));
}
CancelFunction RemoteSession::make_directory(std::string path, bool parents, Completion<void> done) {
  return api_->ask_nothing(mkdir_request(id_, path, parents), std::move(done));
}
CancelFunction RemoteSession::move_file(std::string source, std::string destination, Completion<void> done) {
  return api_->ask_nothing(move_request(id_, source, destination), std::move(done));
}
CancelFunction RemoteSession::write_batch(std::vector<BatchFile> files,
                                          Completion<std::vector<BatchWriteResult>> done) {
  return api_->ask<std::vector<BatchWriteResult>>(batch_request(id_, files), std::move(done), decode_batch);
}
CancelFunction RemoteSession::presign(Presigned kind, std::string path, std::chrono::seconds expires_in,
                                      Completion<PresignedUrl> done) {
  return api_->ask<PresignedUrl>(presign_request(id_, kind, path, expires_in), std::move(done), decode_presigned);
}

CancelFunction RemoteSession::events(EventOptions, Completion<std::vector<Event>> done) {
  return refuse("the events of a sandbox", done);
}

CancelFunction RemoteSession::start_command(std::string line, CommandRequest request, Completion<CommandInfo> done) {
  if (auto good = check_command(request); !good) {
    done(good.error());
    return [] {};
  }
  return api_->ask<CommandInfo>(start_request(id_, line, request), std::move(done), decode_command);
}
CancelFunction RemoteSession::list_commands(Completion<std::vector<CommandInfo>> done) {
  return api_->ask<std::vector<CommandInfo>>(list_commands_request(id_), std::move(done), decode_commands);
}
CancelFunction RemoteSession::get_command(std::string command_id, Completion<CommandInfo> done) {
  return api_->ask<CommandInfo>(get_command_request(id_, command_id), std::move(done), decode_command);
}
CancelFunction RemoteSession::kill_command(std::string command_id, Completion<CommandInfo> done) {
  auto steps = std::make_shared<base::Cancellable>();
  auto killed = [self = shared_from_this(), steps, command_id, done = std::move(done)](const Result<void>& result) {
    if (!result) return done(result.error());
    steps->step([&] { return self->get_command(command_id, done); });
  };
  steps->step([&] {
    return api_->ask<void>(kill_command_request(id_, command_id), std::move(killed),
                           [](const JsonValue&, const AnswerContext&) { return Result<void>(); },
                           {1U << 20U, std::chrono::seconds(10)});  // SIGTERM, grace, SIGKILL
  });
  return [steps] { steps->cancel(); };
}
CancelFunction RemoteSession::command_logs(std::string command_id, std::uint64_t offset, Completion<CommandLogs> done) {
  return api_->ask<CommandLogs>(
      logs_request(id_, command_id, offset), std::move(done),
      [offset](const JsonValue& json, const AnswerContext& context) { return decode_logs(json, context, offset); },
      {64U << 20U});
}
std::unique_ptr<Stream> RemoteSession::follow_command(std::string command_id, std::uint64_t offset,
                                                      std::chrono::milliseconds timeout) {
  return follow_stream(api_, id_, command_id, offset, timeout);
}

CancelFunction RemoteSession::run_code(std::string code, CodeOptions options, Completion<CodeExecution> done) {
  return api_->ask<CodeExecution>(run_code_request(id_, code, options, false), std::move(done), decode_execution,
                                  {kMaxCodeAnswer, options.timeout});
}
Result<std::unique_ptr<Stream>> RemoteSession::run_code_stream(std::string code, CodeOptions options) {
  return code_stream(api_, id_, code, options);
}
CancelFunction RemoteSession::create_context(std::string cwd, Completion<CodeContextInfo> done) {
  return api_->ask<CodeContextInfo>(create_context_request(id_, cwd), std::move(done), decode_context,
                                    {1U << 20U, kInterpreterTime});
}
CancelFunction RemoteSession::list_contexts(Completion<std::vector<CodeContextInfo>> done) {
  return api_->ask<std::vector<CodeContextInfo>>(list_contexts_request(id_), std::move(done), decode_contexts);
}
CancelFunction RemoteSession::restart_context(std::string context_id, Completion<void> done) {
  return api_->ask<void>(restart_context_request(id_, context_id), std::move(done),
                         [](const JsonValue&, const AnswerContext&) { return Result<void>(); },
                         {1U << 20U, kInterpreterTime});
}
CancelFunction RemoteSession::remove_context(std::string context_id, Completion<void> done) {
  return api_->ask_nothing(remove_context_request(id_, context_id), std::move(done));
}

CancelFunction RemoteSession::pause(Completion<SandboxInfo> done) {
  return api_->ask<SandboxInfo>(
      pause_request(id_), std::move(done),
      [self = shared_from_this()](const JsonValue&, const AnswerContext&) -> Result<SandboxInfo> {
        return self->update([](SandboxInfo& last) { last.status = Status::paused; });
      },
      {1U << 20U, kMachineTime});
}
CancelFunction RemoteSession::set_timeout(std::chrono::seconds timeout, Completion<SandboxInfo> done) {
  return api_->ask<SandboxInfo>(
      set_timeout_request(id_, timeout), std::move(done),
      [self = shared_from_this()](const JsonValue& json, const AnswerContext& context) -> Result<SandboxInfo> {
        const auto expires = decode_expiry(json, context);
        if (!expires) return expires.error();
        return self->update([&](SandboxInfo& last) { last.expires_at = *expires; });
      });
}
// The wire knows whole seconds only: what is a little older than asked for is taken out here.
CancelFunction RemoteSession::metrics(std::optional<TimePoint> since, Completion<Metrics> done) {
  return api_->ask<Metrics>(metrics_request(id_, since), std::move(done),
                            [since](const JsonValue& json, const AnswerContext& context) -> Result<Metrics> {
                              auto metrics = decode_metrics(json, context);
                              if (metrics && since) {
                                std::erase_if(metrics->samples,
                                              [&](const MetricsSample& sample) { return sample.time < *since; });
                              }
                              return metrics;
                            });
}
CancelFunction RemoteSession::snapshot(std::string name, Completion<SnapshotInfo> done) {
  return api_->ask<SnapshotInfo>(snapshot_request(id_, name), std::move(done), decode_snapshot,
                                 {1U << 20U, kMachineTime});
}
CancelFunction RemoteSession::host(int port, Completion<std::string> done) {
  return api_->ask<std::string>(host_request(id_, port), std::move(done), decode_host);
}

}  // namespace orkestr::remote
