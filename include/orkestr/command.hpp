// Background commands: started and left alone. They have an id by which any process finds them again, and their output
// is kept in the sandbox, to be read from any byte offset as often as one likes; they survive pause and resume.
//
//   auto server = sandbox.start("python3 -m http.server 8000").value();
//   ... sandbox.commands().value() in another process, ...
//   auto logs = server.logs().value();
//
// Output is what the command wrote to standard output and standard error, in the order it came. The newest 4 MiB of a
// command are kept locally (of all commands of a sandbox 64 MiB; the oldest ended ones lose theirs first);
// `start_offset` of what logs() gives tells where they begin when more was written. 256 commands are kept, the oldest
// that have ended go first; while so many run, another one is refused (rate_limited).
//
// What a command leaves running in its own background (`server &`) is not waited for, and its further output is lost;
// kill() ends it too.
//
// A command that was running in exec() or a stream of its when its sandbox was paused is among them after resume. Its
// log begins with what the sandbox had not handed over by then, at the offset that has in all its output; its timeout
// stays.
//
// Thread safety: a BackgroundCommand is a handle, as cheap to copy as a pointer; all members from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <orkestr/operation.hpp>
#include <orkestr/options.hpp>
#include <orkestr/process.hpp>
#include <string>
#include <string_view>

namespace orkestr {

class SandboxImpl;

enum class CommandStatus { running, exited, killed };
// "running", "exited", "killed".
ORKESTR_API std::string_view to_string(CommandStatus value) noexcept;
ORKESTR_API Result<CommandStatus> parse_command_status(std::string_view text);

struct CommandInfo {
  std::string id;       // "cmd_…"
  std::string command;  // the shell line; of a long one the first 8 KiB
  std::optional<std::int64_t> pid;
  CommandStatus status = CommandStatus::running;  // killed: ended without an exit code
  std::optional<int> exit_code;
  std::optional<TimePoint> started_at;
};

struct CommandLogs {
  std::string content;             // bytes
  std::uint64_t start_offset = 0;  // of content; later than what was asked for when that is not kept any more
  std::uint64_t size = 0;          // bytes written in all
  bool truncated = false;          // content ends before `size`, or begins after the offset that was asked for
  std::uint64_t next_offset() const { return start_offset + content.size(); }
};

// Output of a background command as it comes, pulled. Dropping it leaves the command alone. A command that writes
// faster than this is read waits for it, as long as it is read at all; one that is not read for 5 s is waited for no
// longer, and when it comes back too late next() answers rate_limited and says from which offset there is more.
class ORKESTR_API LogStream {
 public:
  struct Impl;
  explicit LogStream(std::unique_ptr<Impl> impl);
  ~LogStream();
  LogStream(LogStream&&) noexcept;
  LogStream& operator=(LogStream&&) noexcept;

  // The next bytes; the last chunk is_final() and has the exit code, after it comes nothing. Waits at most `timeout`
  // (nothing: as long as the stream was opened for): then an empty, non-final chunk. Errors: exec_killed when the
  // command was killed, exec_timeout when the time the stream was opened for has passed (the command runs on),
  // connection.
  Result<std::optional<ExecChunk>> next(std::optional<std::chrono::milliseconds> timeout = std::nullopt);
  // Readable when next() would not wait. Owned by the stream.
  int fd();
  void close();

 private:
  std::unique_ptr<Impl> impl_;
};

class ORKESTR_API BackgroundCommand {
 public:
  BackgroundCommand(std::shared_ptr<SandboxImpl> sandbox, CommandInfo info);

  std::string id() const;
  // As of the start, the list, or the last refresh, kill or wait.
  CommandInfo info() const;
  Result<void> refresh() const;
  Operation<void> refresh_async() const;
  // SIGTERM to all it started, SIGKILL two seconds later; returns when it has ended. Idempotent; the record and the
  // logs stay readable.
  Result<void> kill() const;
  Operation<void> kill_async() const;
  // Until it has ended; exec_timeout when `timeout` passes (it runs on).
  Result<CommandInfo> wait(std::optional<std::chrono::milliseconds> timeout = std::nullopt) const;
  // At most 1 MiB from `offset` on; see CommandLogs::next_offset().
  Result<CommandLogs> logs(std::uint64_t offset = 0) const;
  Operation<CommandLogs> logs_async(std::uint64_t offset = 0) const;
  // From `offset` on until the command has ended, for at most `timeout`.
  Result<LogStream> stream(std::uint64_t offset = 0, std::chrono::seconds timeout = std::chrono::seconds(300)) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace orkestr
