// Commands: what they return, and their output as it comes.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <orkestr/error.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace orkestr {

// How a command ended. A non-zero exit code is a result, not an error.
struct ExecResult {
  std::string stdout_data;  // bytes
  std::string stderr_data;
  int exit_code = 0;                      // 128 + n where a shell reports that its command died by signal n
  std::chrono::microseconds duration{0};  // in the guest, from before the start to the end of the leader
  std::uint64_t stdout_total_bytes = 0;   // how much there was; more than is here when truncated
  std::uint64_t stderr_total_bytes = 0;
  // The middle of a stream was left out: of each at most ExecOptions::max_output_bytes are kept (64 MiB unless you
  // say), the first and the last half.
  bool truncated = false;
  std::chrono::microseconds user_time{0};  // CPU of the command and its children
  std::chrono::microseconds system_time{0};
  std::uint64_t max_rss_kb = 0;
  std::vector<std::string> network_denied;  // hosts the network policy refused
};

enum class OutputStream { standard_output, standard_error };

struct ExecChunk {
  OutputStream stream = OutputStream::standard_output;
  std::string data;                       // bytes; empty in the final chunk
  std::optional<int> exit_code;           // set in the final chunk
  std::chrono::microseconds duration{0};  // set in the final chunk
  bool is_final() const { return exit_code.has_value(); }
};

// The output of a running command, pulled. Reading slowly slows the command down; nothing is buffered without bound.
//
// One reader at a time; cancel() from any thread. Dropping or closing the stream leaves the command running until its
// own timeout, its further output is discarded.
class ORKESTR_API ExecStream {
 public:
  struct Impl;
  explicit ExecStream(std::unique_ptr<Impl> impl);
  ~ExecStream();
  ExecStream(ExecStream&&) noexcept;
  ExecStream& operator=(ExecStream&&) noexcept;

  // The next chunk; the last one is_final(); after it, and after an error, nothing. Waits at most `timeout` (nothing:
  // as long as the command may run): then an empty, non-final chunk. Errors: exec_timeout, exec_killed, cancelled,
  // connection, vm_failed.
  Result<std::optional<ExecChunk>> next(std::optional<std::chrono::milliseconds> timeout = std::nullopt);
  // For commands started with ExecOptions::stdin_open or tty, otherwise invalid_argument. Writes all of `bytes`,
  // waiting at most `timeout` (nothing: as long as the command may run) while the command does not read; exec_timeout
  // when that passes, with some of it written. Bytes for a command that has closed its input or ended are dropped. May
  // be called beside next(), from another thread; one writer at a time.
  Result<void> write(std::string_view bytes, std::optional<std::chrono::milliseconds> timeout = std::nullopt);
  // The same for whoever has other things to do: waits until there is room for some of the bytes and answers how many
  // it took; 0 when `timeout` has passed.
  Result<std::size_t> write_some(std::string_view bytes, std::optional<std::chrono::milliseconds> timeout);
  // No more input: the command reads end of file; a terminal gets its end-of-file character (Ctrl-D). Idempotent.
  void close_input();
  // The terminal's new size, 1 to 1000 each; the command gets SIGWINCH. tty only, otherwise invalid_argument.
  Result<void> resize(int cols, int rows);
  // Readable when next() would not wait. Owned by the stream.
  int fd();
  // Process id in the guest; 0 until it has started.
  std::int64_t pid() const;
  // Kills the command's whole process tree.
  void cancel();
  // Lets go. Idempotent.
  void close();

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace orkestr
