// The payloads of control frames: fields, each a 16-bit tag, a 32-bit length and the bytes. Integers are eight bytes,
// little endian. Unknown tags are skipped, so fields can be added; a repeated tag is a list. Strings are bytes: no
// encoding is assumed.
//
// Each message is a plain struct with encode() and a static decode(), which checks every bound and answers `connection`
// errors that name message and field. Limits are in the comments; the decoder enforces them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::wire {

// Limits that a sender should know. A whole message fits one frame: encode() may answer more than kMaxPayload (a large
// argv and env), and who sends it checks that.
inline constexpr std::size_t kMaxListEntries = 4096;        // of argv, of env
inline constexpr std::size_t kMaxEntryBytes = 128U << 10U;  // each entry is smaller (the kernel's MAX_ARG_STRLEN)
inline constexpr std::uint64_t kMaxTerminalSide = 1000;     // columns, rows
inline constexpr std::uint64_t kMaxTimeoutMs = 1'000'000'000'000;  // 31 years: no overflow in nanoseconds
inline constexpr std::size_t kMaxErrorTextBytes = 8U << 10U;
inline constexpr std::size_t kMaxConsoleTailBytes = 16U << 10U;
inline constexpr std::size_t kMaxRecordBytes = 128U << 10U;  // of a record's JSON

class FieldWriter {
 public:
  FieldWriter& put(std::uint16_t tag, std::string_view bytes);
  FieldWriter& put(std::uint16_t tag, std::uint64_t number);
  FieldWriter& put_signed(std::uint16_t tag, std::int64_t number) {
    return put(tag, static_cast<std::uint64_t>(number));
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

struct Field {
  std::uint16_t tag = 0;
  std::string_view bytes;
  std::optional<std::uint64_t> number() const;  // nothing unless eight bytes long
};

class FieldReader {
 public:
  explicit FieldReader(std::string_view payload) : rest_(payload) {}
  // The next field; nothing at the end; an error when the payload is cut or a length lies.
  Result<std::optional<Field>> next();

 private:
  std::string_view rest_;
};

using EnvList = std::vector<std::pair<std::string, std::string>>;

// supervisor → guest, first of all: identity and time. Answered by an empty result when all of it is applied.
struct ConfigureRequest {
  std::string hostname;             // 1..64 of [a-z0-9-]
  std::uint64_t wall_clock_ns = 0;  // CLOCK_REALTIME of the host
  std::string entropy;              // 32..512 bytes for the kernel's generator
  std::string machine_id;           // 32 hex digits
  EnvList env;                      // for every command of this sandbox
  bool same_machine = false;  // resumed: it keeps host name, machine-id and boot id; clock and entropy are renewed
  std::string encode() const;
  static Result<ConfigureRequest> decode(std::string_view payload);
};

// Runs a command. Data frames: input (if stdin_open) towards the guest; output and error_output back, each ended by
// kEndOfStream.
struct ExecRequest {
  std::vector<std::string> argv;  // 1..4096 entries, each below 128 KiB; the shell form is {"/bin/bash", "-c", line}
  std::string cwd;                // absolute; empty: /workspace
  EnvList env;                    // over the sandbox's own
  std::string user;               // name or number; empty: root
  std::uint64_t timeout_ms = 0;   // 0: none
  bool stdin_open = false;        // false: /dev/null; with a terminal: true
  // A terminal of cols × rows (1..1000 each) as all three standard streams. What the command writes is `output`;
  // error_output ends at once. The end of input types the terminal's end-of-file character.
  bool tty = false;
  std::uint64_t cols = 0, rows = 0;  // with a terminal only
  std::string encode() const;
  static Result<ExecRequest> decode(std::string_view payload);
};

// `resize`: the new size of an exec's terminal, 1..1000 each.
struct ResizeMessage {
  std::uint64_t cols = 0, rows = 0;
  std::string encode() const;
  static Result<ResizeMessage> decode(std::string_view payload);
};

struct StartedMessage {
  std::uint64_t pid = 0;
  std::string encode() const;
  static Result<StartedMessage> decode(std::string_view payload);
};

// How a command ended: the result of `exec`.
struct ExecExit {
  std::int64_t exit_code = 0;     // when signal is 0
  std::int64_t signal = 0;        // that ended the leader
  bool timed_out = false;         // we ended it at its timeout
  bool cancelled = false;         // we ended it on request
  bool oom = false;               // the kernel's out-of-memory killer ended something of it
  std::uint64_t duration_us = 0;  // from before the start to the leader's end
  std::uint64_t user_us = 0;      // CPU time of the whole process tree, where known
  std::uint64_t system_us = 0;
  std::uint64_t max_rss_kb = 0;    // of the leader and its waited-for children
  std::uint64_t stdout_bytes = 0;  // true totals
  std::uint64_t stderr_bytes = 0;
  std::string encode() const;
  static Result<ExecExit> decode(std::string_view payload);
};

// All file requests. Paths are absolute, without "..", without NUL, at most 4096 bytes.
//   file_read    output data frames, then result
//   file_write   input data frames up to kEndOfStream; written to a temporary name and renamed, so a cut transfer
//   changes nothing file_list    output data frames: FileInfo messages, each behind a 32-bit length; then result
//   file_stat    result is one FileInfo, with exists=false for a missing path
//   file_delete  refuses directories      file_mkdir  `parents`      file_move  path → destination
struct FileRequest {
  std::string path;
  std::string destination;  // file_move
  std::uint64_t mode = 0;   // file_write (default 0644), file_mkdir (default 0755)
  bool parents = false;     // file_mkdir: make missing parents, accept an existing directory
  std::string encode() const;
  static Result<FileRequest> decode(std::string_view payload);
};

struct FileInfo {
  std::string name;  // last component
  bool exists = true;
  bool is_dir = false;
  std::uint64_t size = 0;
  std::uint64_t mode = 0;        // permission bits
  std::int64_t modified_ns = 0;  // since 1970
  std::string encode() const;
  static Result<FileInfo> decode(std::string_view payload);
};

// An error answer. `code` is the spelling of an ErrorCode; an unknown one becomes `internal`.
struct ErrorMessage {
  std::string code;
  std::string message;       // at most 8 KiB
  std::string stage;         // vm_failed
  std::string console_tail;  // vm_failed, at most 16 KiB
  std::string encode() const;
  static Result<ErrorMessage> decode(std::string_view payload);
  static ErrorMessage from(const Error& error);
  Error to_error() const;
};

// `set_timeout`: the sandbox's life span from now on. Result: its record.
struct TimeoutMessage {
  std::uint64_t seconds = 0;  // 1 to 10 years
  std::string encode() const;
  static Result<TimeoutMessage> decode(std::string_view payload);
};

struct ProgressMessage {
  std::string stage;  // "boot", "agent" …
  std::string text;
  std::string encode() const;
  static Result<ProgressMessage> decode(std::string_view payload);
};

// client → supervisor: everything a supervisor needs to know; it never reads our configuration itself.
struct StartRequest {
  // "": a new sandbox. "resume": the paused one of this id; of the record only that counts, and none of the template's
  // files. "snapshot": no sandbox at all, only the snapshot that one of this record would start from. "pool": one that
  // waits, ready and stopped, for the `start` of whoever claims it.
  std::string purpose;
  std::string record;         // the sandbox's record as JSON (registry/record.hpp), status "starting"
  std::string sandboxes_dir;  // <state>/sandboxes: where the sandbox's directory is made
  std::string kernel, initrd, base_image, scratch_image, scratch_overlay;  // absolute paths of the template's files
  // Of base_image, scratch_image, scratch_overlay and kernel, as 64 hex digits: the files are compared with them first.
  // None: that was done since the host booted.
  std::vector<std::string> image_sha256;
  std::string stamp_dir;                  // where verified checksums and the accelerator's speed are remembered
  std::string uid_lock_file;              // allocation of user ids, used when root
  std::string accelerator;                // forced: "", "kvm", "tcg"
  std::string cache_dir;                  // where snapshots are made; none: they are neither made nor used
  std::vector<std::string> cache_search;  // where they are looked for
  std::uint64_t snapshot_cache_mb = 0;    // how much of them is kept
  std::uint64_t max_snapshots = 0;        // paused sandboxes there may be
  // To a member of the warm pool, and of it: what it must be; the one is claimed only with the key it was made with.
  std::string pool_key;
  EnvList env;
  std::string encode() const;
  static Result<StartRequest> decode(std::string_view payload);
};

// inspect, start, terminate answer with the record.
struct RecordMessage {
  std::string record;  // JSON
  std::string encode() const;
  static Result<RecordMessage> decode(std::string_view payload);
};

}  // namespace orkestr::wire
