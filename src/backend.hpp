// The seam between handles and what is behind them: the only family of virtual interfaces of the library. A backend
// makes sandboxes, a session reaches one of them, a stream is one command or one file transfer in it. src/local speaks
// to supervisors on this machine; a remote one speaks HTTP. Core validates before it calls: a backend sees only
// arguments that core/validate.hpp accepts.
//
// Asynchrony. Nothing here waits for a sandbox. An operation takes a Completion, which is called exactly once: on the
// I/O thread, or before the call returns. It returns what cancels it, which may be called from any thread, at any time,
// once, and makes the completion come soon (with `cancelled`, unless the answer was faster). Every operation has a
// deadline of its own.
//
// Threads. All members of Backend, Session and Stream may be called from any thread, concurrently. Everything a backend
// does in the background happens on the one I/O thread of the client (IoLoop); completions and hooks are the library's
// own code, never the user's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/reactor.hpp"
#include "orkestr/code.hpp"
#include "orkestr/command.hpp"
#include "orkestr/events.hpp"
#include "orkestr/files.hpp"
#include "orkestr/limits.hpp"
#include "orkestr/metrics.hpp"
#include "orkestr/options.hpp"
#include "orkestr/process.hpp"
#include "orkestr/sandbox.hpp"
#include "orkestr/snapshot.hpp"
#include "orkestr/template.hpp"
#include "orkestr/volume.hpp"
#include "orkestr/webhook.hpp"

namespace orkestr {

// The client's I/O thread, as a backend sees it. Outlives the backend.
class IoLoop {
 public:
  virtual ~IoLoop() = default;
  // Runs the task on the I/O thread, in order, starting the thread if need be. False (and the task is dropped) once the
  // client was closed, when no thread can be had, and in a forked child.
  virtual bool post(std::function<void()> task) = 0;
  // For descriptors and timers. I/O thread only.
  virtual base::Reactor& reactor() = 0;
  // True in a forked child: then nothing of the parent's reactor may be touched, only descriptors closed.
  virtual bool forked() const = 0;
};

template <class T>
using Completion = std::function<void(Result<T>)>;
using CancelFunction = std::function<void()>;

// A command as the guest gets it: the shell form is already spelled out.
struct CommandRequest {
  std::vector<std::string> argv;
  std::string cwd;
  std::map<std::string, std::string> env;
  std::string user;
  std::chrono::milliseconds timeout{0};
  bool stdin_open = false;  // with a terminal: true
  bool tty = false;         // a terminal of cols × rows as all three standard streams
  int cols = 0, rows = 0;   // with a terminal only
  bool streamed = false;    // the caller pulls output as it comes, rather than wait for all of it
};

// How a command ended, as the backend learned it; core decides what of it is a result and what is an error.
struct CommandEnd {
  int exit_code = 0;
  int signal = 0;  // that ended the leader
  bool timed_out = false;
  bool cancelled = false;
  bool oom = false;
  std::chrono::microseconds duration{0};
  std::chrono::microseconds user_time{0};
  std::chrono::microseconds system_time{0};
  std::uint64_t max_rss_kb = 0;
  std::uint64_t stdout_bytes = 0;  // true totals
  std::uint64_t stderr_bytes = 0;
  std::vector<std::string> network_denied;
  std::shared_ptr<const ErrorDetails> details;  // of a service that told of this end by an error; null: none
};

struct StreamItem {
  enum class Kind { output, code, end };
  Kind kind = Kind::output;
  OutputStream stream = OutputStream::standard_output;
  std::string data;                 // output: at least one byte
  std::unique_ptr<CodeEvent> code;  // code: never null
  CommandEnd end;                   // end of a command; defaults for a file and for code
};

// One command or transfer: bytes in, bytes out, one end. Pulled: who does not take stops the producer; buffers are
// bounded by a window. Dropping it before the end lets a command run on unheard, and drops a transfer.
class Stream {
 public:
  virtual ~Stream() = default;
  // The next item, or nothing yet. After an `end` item or an error: nothing, for ever.
  virtual std::optional<Result<StreamItem>> take() = 0;
  // True when take() would give something.
  virtual bool readable() const = 0;
  // Process id of a command in the guest; 0 until it has started.
  virtual std::int64_t pid() const = 0;
  // Accepts as many bytes of input as the window has room for now, maybe none; also none after the end.
  virtual std::size_t offer(std::string_view bytes) = 0;
  // No more input.
  virtual void end_input() = 0;
  // True when the end has come, though it may not have been taken: input goes nowhere any more.
  virtual bool finished() const = 0;
  // The new size of a command's terminal; nothing happens after the end, or without a terminal.
  virtual void resize(int cols, int rows) = 0;
  // Kills the command, drops the transfer; the end still comes, as `cancelled`.
  virtual void cancel() = 0;
  // Called without locks held, from any thread, whenever there may be something to take or room to offer; at once when
  // there already is. Replaces the previous hook; calls of that one that are under way may still finish.
  virtual void on_ready(std::function<void()> hook) = 0;
};

// One sandbox, as one client reaches it. All handles of a client to the same sandbox share one. Dropping it ends
// nothing.
class Session {
 public:
  virtual ~Session() = default;
  virtual CancelFunction inspect(Completion<SandboxInfo> done) = 0;
  // Completes when no process of the sandbox is left. A sandbox that already ended is success.
  virtual CancelFunction terminate(Completion<SandboxInfo> done) = 0;

  // What goes wrong with these three is their first item.
  virtual std::unique_ptr<Stream> exec(CommandRequest request) = 0;
  virtual std::unique_ptr<Stream> read_file(std::string path) = 0;
  // `size`: of what will be written, where it is known; exactly so many bytes are then offered.
  virtual std::unique_ptr<Stream> write_file(std::string path, int mode, std::optional<std::uint64_t> size) = 0;

  virtual CancelFunction list_files(std::string path, Completion<std::vector<FileEntry>> done) = 0;
  virtual CancelFunction stat_file(std::string path, Completion<FileStat> done) = 0;
  virtual CancelFunction remove_file(std::string path, Completion<void> done) = 0;
  virtual CancelFunction make_directory(std::string path, bool parents, Completion<void> done) = 0;
  virtual CancelFunction move_file(std::string source, std::string destination, Completion<void> done) = 0;

  virtual CancelFunction write_batch(std::vector<BatchFile> files, Completion<std::vector<BatchWriteResult>> done) = 0;
  enum class Presigned { download, upload };
  virtual CancelFunction presign(Presigned kind, std::string path, std::chrono::seconds expires_in,
                                 Completion<PresignedUrl> done) = 0;

  virtual CancelFunction events(EventOptions options, Completion<std::vector<Event>> done) = 0;

  // Background commands. `line` is what CommandInfo::command shows.
  virtual CancelFunction start_command(std::string line, CommandRequest request, Completion<CommandInfo> done) = 0;
  virtual CancelFunction list_commands(Completion<std::vector<CommandInfo>> done) = 0;
  virtual CancelFunction get_command(std::string command_id, Completion<CommandInfo> done) = 0;
  virtual CancelFunction kill_command(std::string command_id, Completion<CommandInfo> done) = 0;
  virtual CancelFunction command_logs(std::string command_id, std::uint64_t offset, Completion<CommandLogs> done) = 0;
  // Its output from `offset` on as standard_output, then its end; `timed_out` when `timeout` has passed.
  virtual std::unique_ptr<Stream> follow_command(std::string command_id, std::uint64_t offset,
                                                 std::chrono::milliseconds timeout) = 0;

  // The code interpreter. An empty context_id is the default context. The stream gives `code` items, of which `done` is
  // the last, then its end; what goes wrong with it later than at once is an item of it.
  virtual CancelFunction run_code(std::string code, CodeOptions options, Completion<CodeExecution> done) = 0;
  virtual Result<std::unique_ptr<Stream>> run_code_stream(std::string code, CodeOptions options) = 0;
  virtual CancelFunction create_context(std::string cwd, Completion<CodeContextInfo> done) = 0;  // empty: not said
  virtual CancelFunction list_contexts(Completion<std::vector<CodeContextInfo>> done) = 0;
  virtual CancelFunction restart_context(std::string context_id, Completion<void> done) = 0;
  virtual CancelFunction remove_context(std::string context_id, Completion<void> done) = 0;

  // Completes when the sandbox is durably paused (its processes go at that moment); a failure leaves it running.
  virtual CancelFunction pause(Completion<SandboxInfo> done) = 0;
  virtual CancelFunction set_timeout(std::chrono::seconds timeout, Completion<SandboxInfo> done) = 0;
  virtual CancelFunction metrics(std::optional<TimePoint> since, Completion<Metrics> done) = 0;
  virtual CancelFunction snapshot(std::string name, Completion<SnapshotInfo> done) = 0;
  virtual CancelFunction host(int port, Completion<std::string> done) = 0;
};

struct OpenedSandbox {
  SandboxInfo info;
  std::shared_ptr<Session> session;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;  // "local", "remote"
  // Between attempts while it is full and does not say when to come again: doubling, from `first` to `most`.
  struct Pauses {
    std::chrono::milliseconds first{250};
    std::chrono::milliseconds most{8'000};
    bool attempts_count = true;  // towards CreateOptions::retry_max, which else is of the pauses alone
  };
  virtual Pauses pauses_when_full() const { return {}; }
  virtual CancelFunction create(CreateOptions options, Completion<OpenedSandbox> done) = 0;
  virtual CancelFunction get(std::string sandbox_id, Completion<OpenedSandbox> done) = 0;
  virtual CancelFunction list(ListOptions options, Completion<std::vector<SandboxInfo>> done) = 0;
  // One attempt; core repeats it while the answer is fleet_full_retry.
  virtual CancelFunction resume(std::string sandbox_id, Completion<OpenedSandbox> done) = 0;
  virtual CancelFunction limits(Completion<Limits> done) = 0;
  virtual CancelFunction list_snapshots(Completion<std::vector<SnapshotInfo>> done) = 0;
  virtual CancelFunction get_snapshot(std::string snapshot_id, Completion<SnapshotInfo> done) = 0;
  virtual CancelFunction remove_snapshot(std::string snapshot_id, Completion<void> done) = 0;

  virtual CancelFunction create_volume(std::string name, VolumeOptions options, Completion<VolumeInfo> done) = 0;
  virtual CancelFunction list_volumes(Completion<std::vector<VolumeInfo>> done) = 0;
  virtual CancelFunction update_volume(std::string volume_id, VolumeLifetime lifetime, Completion<VolumeInfo> done) = 0;
  virtual CancelFunction move_volume(std::string volume_id, std::string region, Completion<VolumeInfo> done) = 0;
  virtual CancelFunction remove_volume(std::string volume_id, Completion<void> done) = 0;
  virtual CancelFunction create_webhook(std::string url, std::optional<std::vector<std::string>> event_types,
                                        Completion<WebhookInfo> done) = 0;
  virtual CancelFunction list_webhooks(Completion<std::vector<WebhookInfo>> done) = 0;
  virtual CancelFunction enable_webhook(std::string webhook_id, Completion<WebhookInfo> done) = 0;
  virtual CancelFunction remove_webhook(std::string webhook_id, Completion<void> done) = 0;

  // Templates. These work in the caller's thread until they are done: a build takes minutes, so it is never called on
  // the I/O thread. A request to `stop` ends it within a second or so, with `cancelled`.
  virtual Result<TemplateInfo> build_template(const std::string& name, const TemplateBuildOptions& options,
                                              const std::stop_token& stop) = 0;
  virtual Result<TemplateInfo> prepare_template(const std::string& name, const TemplateBuildOptions& options,
                                                const std::stop_token& stop) = 0;
  virtual Result<std::vector<TemplateInfo>> list_templates() = 0;
  virtual Result<TemplateInfo> inspect_template(const std::string& name) = 0;
  virtual Result<void> remove_template(const std::string& name) = 0;

  // Completes everything that is open with `cancelled` and lets go of all descriptors. Called once, on the I/O thread,
  // as the last thing that happens there.
  virtual void shut_down() = 0;
  // In a forked child: closes the descriptors that the parent's I/O thread had open, touching nothing else.
  virtual void close_descriptors_after_fork() noexcept = 0;
};

}  // namespace orkestr
