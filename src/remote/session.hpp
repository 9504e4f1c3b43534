// One sandbox of the service, as one client reaches it: turns calls into requests, and answers into values.
//
// Thread safety: any thread.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "backend.hpp"
#include "remote/api.hpp"

namespace orkestr::remote {

class RemoteSession final : public Session, public std::enable_shared_from_this<RemoteSession> {
 public:
  RemoteSession(std::shared_ptr<Api> api, SandboxInfo info)
      : api_(std::move(api)), id_(info.id), info_(std::move(info)) {}

  CancelFunction inspect(Completion<SandboxInfo> done) override;
  CancelFunction terminate(Completion<SandboxInfo> done) override;
  std::unique_ptr<Stream> exec(CommandRequest request) override;
  std::unique_ptr<Stream> read_file(std::string path) override;
  std::unique_ptr<Stream> write_file(std::string path, int mode, std::optional<std::uint64_t> size) override;
  CancelFunction list_files(std::string path, Completion<std::vector<FileEntry>> done) override;
  CancelFunction stat_file(std::string path, Completion<FileStat> done) override;
  CancelFunction remove_file(std::string path, Completion<void> done) override;
  CancelFunction make_directory(std::string path, bool parents, Completion<void> done) override;
  CancelFunction move_file(std::string source, std::string destination, Completion<void> done) override;
  CancelFunction write_batch(std::vector<BatchFile> files, Completion<std::vector<BatchWriteResult>> done) override;
  CancelFunction presign(Presigned kind, std::string path, std::chrono::seconds expires_in,
                         Completion<PresignedUrl> done) override;
  CancelFunction events(EventOptions options, Completion<std::vector<Event>> done) override;
  CancelFunction start_command(std::string line, CommandRequest request, Completion<CommandInfo> done) override;
  CancelFunction list_commands(Completion<std::vector<CommandInfo>> done) override;
  CancelFunction get_command(std::string command_id, Completion<CommandInfo> done) override;
  // Two requests: the answer to the first need not say how it ended.
  CancelFunction kill_command(std::string command_id, Completion<CommandInfo> done) override;
  CancelFunction command_logs(std::string command_id, std::uint64_t offset, Completion<CommandLogs> done) override;
  std::unique_ptr<Stream> follow_command(std::string command_id, std::uint64_t offset,
                                         std::chrono::milliseconds timeout) override;
  CancelFunction run_code(std::string code, CodeOptions options, Completion<CodeExecution> done) override;
  Result<std::unique_ptr<Stream>> run_code_stream(std::string code, CodeOptions options) override;
  CancelFunction create_context(std::string cwd, Completion<CodeContextInfo> done) override;
  CancelFunction list_contexts(Completion<std::vector<CodeContextInfo>> done) override;
  CancelFunction restart_context(std::string context_id, Completion<void> done) override;
  CancelFunction remove_context(std::string context_id, Completion<void> done) override;
  CancelFunction pause(Completion<SandboxInfo> done) override;
  CancelFunction set_timeout(std::chrono::seconds timeout, Completion<SandboxInfo> done) override;
  CancelFunction metrics(std::optional<TimePoint> since, Completion<Metrics> done) override;
  CancelFunction snapshot(std::string name, Completion<SnapshotInfo> done) override;
  CancelFunction host(int port, Completion<std::string> done) override;

 private:
  // The last that is known, changed by `change`.
  SandboxInfo update(const std::function<void(SandboxInfo&)>& change);

  const std::shared_ptr<Api> api_;
  const std::string id_;
  std::mutex mutex_;
  SandboxInfo info_;
};

// Time that saving or bringing back a machine takes, over that of any other request.
inline constexpr std::chrono::milliseconds kMachineTime{120'000};

// Likewise, to start an interpreter.
inline constexpr std::chrono::milliseconds kInterpreterTime{60'000};

}  // namespace orkestr::remote
