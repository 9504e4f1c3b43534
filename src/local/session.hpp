// One sandbox of this machine, as one client reaches it: turns requests into calls on the sandbox's link, and answers
// into values.
//
// Thread safety: any thread. The link it holds belongs to the I/O thread and is let go of there.
#pragma once

#include <memory>
#include <string>

#include "backend.hpp"
#include "local/call.hpp"
#include "local/link.hpp"
#include "local/link_table.hpp"
#include "registry/record.hpp"

namespace orkestr::local {

class LocalSession final : public Session {
 public:
  // Enters `link` into `links`, of which the loop's owner shuts down all.
  LocalSession(std::shared_ptr<IoLoop> loop, std::shared_ptr<LinkTable> links, std::shared_ptr<Link> link);
  ~LocalSession() override;

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
  CancelFunction start_command(std::string line, CommandRequest request, Completion<CommandInfo> done) override;
  CancelFunction list_commands(Completion<std::vector<CommandInfo>> done) override;
  CancelFunction get_command(std::string command_id, Completion<CommandInfo> done) override;
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
  // Reads the log in the caller's thread: it is there whether or not the sandbox still is.
  CancelFunction events(EventOptions options, Completion<std::vector<Event>> done) override;

  const std::shared_ptr<Link>& link() const { return link_; }

 private:
  std::shared_ptr<Call> submit(CallRequest request) const;
  struct Answer {
    std::string output;  // all of it, up to a cap
    std::string result;  // payload of the final answer
  };
  CancelFunction ask_all(CallRequest request, Completion<Answer> done) const;
  // A call of which only one of them counts: output where there is any, else the result.
  CancelFunction ask(CallRequest request, Completion<std::string> done) const;
  CancelFunction ask_nothing(CallRequest request, Completion<void> done) const;
  CancelFunction ask_record(wire::Type type, std::string payload, std::string what, std::chrono::seconds patience,
                            Completion<SandboxInfo> done) const;

  std::shared_ptr<IoLoop> loop_;
  std::shared_ptr<LinkTable> links_;
  std::shared_ptr<Link> link_;
};

// The public view of a record.
Result<SandboxInfo> to_info(const registry::Record& record);

}  // namespace orkestr::local
