#include "wire/message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "wire/decoder.hpp"

namespace orkestr::wire {
namespace {

constexpr std::size_t kMaxNameBytes = 255;
constexpr std::size_t kMaxCodeBytes = 64;
constexpr std::size_t kMaxStageBytes = 256;
constexpr std::uint64_t kMaxMode = 07777;

bool is_hostname(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

bool is_machine_id(std::string_view id) {
  return id.size() == 32 &&
         std::all_of(id.begin(), id.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

std::string ConfigureRequest::encode() const {
  FieldWriter out;
  put_text(out, 1, hostname);
  out.put(2, wall_clock_ns);
  put_text(out, 3, entropy);
  put_text(out, 4, machine_id);
  put_env(out, 5, env);
  put_flag(out, 6, same_machine);
  return out.take();
}

Result<ConfigureRequest> ConfigureRequest::decode(std::string_view payload) {
  ConfigureRequest m;
  Decoder in("configure", payload);
  while (in.next()) {
    switch (in.tag()) {
      case 1:
        in.text(m.hostname, "hostname", 64);
        break;
      case 2:
        in.number(m.wall_clock_ns, "wall_clock_ns");
        break;
      case 3:
        in.text(m.entropy, "entropy", 512);
        break;
      case 4:
        in.text(m.machine_id, "machine_id", 32);
        break;
      case 5:
        in.env(m.env);
        break;
      case 6:
        in.flag(m.same_machine, "same_machine");
        break;
      default:
        break;
    }
  }
  in.require(is_hostname(m.hostname), "field `hostname` must be 1 to 64 of [a-z0-9-]");
  in.require(m.entropy.size() >= 32, "field `entropy` must have 32 to 512 bytes");
  in.require(is_machine_id(m.machine_id), "field `machine_id` must be 32 digits of [0-9a-f]");
  return in.finish(std::move(m));
}

std::string ExecRequest::encode() const {
  FieldWriter out;
  for (const std::string& argument : argv) out.put(1, argument);
  put_text(out, 2, cwd);
  put_env(out, 3, env);
  put_text(out, 4, user);
  out.put(5, timeout_ms);
  put_flag(out, 6, stdin_open);
  if (tty) {
    put_flag(out, 7, true);
    out.put(8, cols).put(9, rows);
  }
  return out.take();
}

Result<ExecRequest> ExecRequest::decode(std::string_view payload) {
  ExecRequest m;
  Decoder in("exec", payload);
  while (in.next()) {
    switch (in.tag()) {
      case 1:
        in.entry(m.argv, "argv");
        break;
      case 2:
        in.absolute_path(m.cwd, "cwd");
        break;
      case 3:
        in.env(m.env);
        break;
      case 4:
        in.c_text(m.user, "user", kMaxUserBytes);
        break;
      case 5:
        in.number(m.timeout_ms, "timeout_ms", kMaxTimeoutMs);
        break;
      case 6:
        in.flag(m.stdin_open, "stdin_open");
        break;
      case 7:
        in.flag(m.tty, "tty");
        break;
      case 8:
        in.number(m.cols, "cols", kMaxTerminalSide);
        break;
      case 9:
        in.number(m.rows, "rows", kMaxTerminalSide);
        break;
      default:
        break;
    }
  }
  in.require(!m.argv.empty(), "field `argv` is missing");
  in.require(m.argv.empty() || !m.argv.front().empty(), "field `argv` begins with an empty program name");
  in.require(m.tty == (m.cols > 0) && m.tty == (m.rows > 0),
             "fields `cols` and `rows` are 1 to 1000 with a terminal, and not there without");
  in.require(!m.tty || m.stdin_open, "field `tty` needs `stdin_open`");
  return in.finish(std::move(m));
}

std::string ResizeMessage::encode() const { return FieldWriter().put(1, cols).put(2, rows).take(); }

Result<ResizeMessage> ResizeMessage::decode(std::string_view payload) {
  ResizeMessage m;
  Decoder in("resize", payload);
  while (in.next()) {
    if (in.tag() == 1) in.number(m.cols, "cols", kMaxTerminalSide);
    if (in.tag() == 2) in.number(m.rows, "rows", kMaxTerminalSide);
  }
  in.require(m.cols > 0 && m.rows > 0, "fields `cols` and `rows` must be 1 to 1000");
  return in.finish(m);
}

std::string StartedMessage::encode() const {
  FieldWriter out;
  out.put(1, pid);
  return out.take();
}

Result<StartedMessage> StartedMessage::decode(std::string_view payload) {
  StartedMessage m;
  Decoder in("started", payload);
  while (in.next()) {
    if (in.tag() == 1) in.number(m.pid, "pid", kMaxPid);
  }
  in.require(m.pid > 0, "field `pid` is missing or 0");
  return in.finish(m);
}

std::string ExecExit::encode() const {
  FieldWriter out;
  out.put_signed(1, exit_code);
  out.put_signed(2, signal);
  put_flag(out, 3, timed_out);
  put_flag(out, 4, cancelled);
  put_flag(out, 5, oom);
  out.put(6, duration_us);
  out.put(7, user_us);
  out.put(8, system_us);
  out.put(9, max_rss_kb);
  out.put(10, stdout_bytes);
  out.put(11, stderr_bytes);
  return out.take();
}

Result<ExecExit> ExecExit::decode(std::string_view payload) {
  ExecExit m;
  Decoder in("exec result", payload);
  while (in.next()) {
    switch (in.tag()) {
      case 1:
        in.signed_number(m.exit_code, "exit_code", -1, kMaxExitCode);
        break;
      case 2:
        in.signed_number(m.signal, "signal", 0, kMaxSignal);
        break;
      case 3:
        in.flag(m.timed_out, "timed_out");
        break;
      case 4:
        in.flag(m.cancelled, "cancelled");
        break;
      case 5:
        in.flag(m.oom, "oom");
        break;
      case 6:
        in.number(m.duration_us, "duration_us");
        break;
      case 7:
        in.number(m.user_us, "user_us");
        break;
      case 8:
        in.number(m.system_us, "system_us");
        break;
      case 9:
        in.number(m.max_rss_kb, "max_rss_kb");
        break;
      case 10:
        in.number(m.stdout_bytes, "stdout_bytes");
        break;
      case 11:
        in.number(m.stderr_bytes, "stderr_bytes");
        break;
      default:
        break;
    }
  }
  return in.finish(m);
}

std::string FileRequest::encode() const {
  FieldWriter out;
  put_text(out, 1, path);
  put_text(out, 2, destination);
  out.put(3, mode);
  put_flag(out, 4, parents);
  return out.take();
}

Result<FileRequest> FileRequest::decode(std::string_view payload) {
  FileRequest m;
  Decoder in("file request", payload);
  while (in.next()) {
    switch (in.tag()) {
      case 1:
        in.guest_path(m.path, "path");
        break;
      case 2:
        in.guest_path(m.destination, "destination");
        break;
      case 3:
        in.number(m.mode, "mode", kMaxMode);
        break;
      case 4:
        in.flag(m.parents, "parents");
        break;
      default:
        break;
    }
  }
  in.require(!m.path.empty(), "field `path` is missing");
  return in.finish(std::move(m));
}

std::string FileInfo::encode() const {
  FieldWriter out;
  put_text(out, 1, name);
  put_flag(out, 2, exists);
  put_flag(out, 3, is_dir);
  out.put(4, size);
  out.put(5, mode);
  out.put_signed(6, modified_ns);
  return out.take();
}

Result<FileInfo> FileInfo::decode(std::string_view payload) {
  FileInfo m;
  Decoder in("file info", payload);
  while (in.next()) {
    switch (in.tag()) {
      case 1:
        in.c_text(m.name, "name", kMaxNameBytes);
        break;
      case 2:
        in.flag(m.exists, "exists");
        break;
      case 3:
        in.flag(m.is_dir, "is_dir");
        break;
      case 4:
        in.number(m.size, "size");
        break;
      case 5:
        in.number(m.mode, "mode", kMaxMode);
        break;
      case 6:
        in.signed_number(m.modified_ns, "modified_ns", std::numeric_limits<std::int64_t>::min(),
                         std::numeric_limits<std::int64_t>::max());
        break;
      default:
        break;
    }
  }
  const bool is_component = m.name == "/" || (m.name.find('/') == std::string::npos && m.name != "..");
  in.require(is_component, "field `name` is no single component of a path");
  return in.finish(std::move(m));
}

std::string ErrorMessage::encode() const {
  FieldWriter out;
  put_text(out, 1, std::string_view(code).substr(0, kMaxCodeBytes));
  put_text(out, 2, std::string_view(message).substr(0, kMaxErrorTextBytes));
  put_text(out, 3, std::string_view(stage).substr(0, kMaxStageBytes));
  const std::size_t skipped = console_tail.size() - std::min(console_tail.size(), kMaxConsoleTailBytes);
  put_text(out, 4, std::string_view(console_tail).substr(skipped));
  return out.take();
}

Result<ErrorMessage> ErrorMessage::decode(std::string_view payload) {
  ErrorMessage m;
  Decoder in("error", payload);
  while (in.next()) {
    switch (in.tag()) {
      case 1:
        in.text(m.code, "code", kMaxCodeBytes);
        break;
      case 2:
        in.text(m.message, "message", kMaxErrorTextBytes);
        break;
      case 3:
        in.text(m.stage, "stage", kMaxStageBytes);
        break;
      case 4:
        in.text(m.console_tail, "console_tail", kMaxConsoleTailBytes);
        break;
      default:
        break;
    }
  }
  in.require(!m.code.empty(), "field `code` is missing");
  return in.finish(std::move(m));
}

ErrorMessage ErrorMessage::from(const Error& error) {
  ErrorMessage m;
  m.code = to_string(error.code());
  m.message = error.message();
  m.stage = error.details().stage;
  m.console_tail = error.details().console_tail;
  return m;
}

Error ErrorMessage::to_error() const {
  const ErrorCode known = error_code_from_string(code).value_or(ErrorCode::internal);
  if (stage.empty() && console_tail.empty()) return Error(known, message);
  ErrorDetails details;
  details.stage = stage;
  details.console_tail = console_tail;
  return Error(known, message, std::move(details));
}

std::string ProgressMessage::encode() const {
  FieldWriter out;
  put_text(out, 1, std::string_view(stage).substr(0, kMaxStageBytes));
  put_text(out, 2, std::string_view(text).substr(0, kMaxErrorTextBytes));
  return out.take();
}

Result<ProgressMessage> ProgressMessage::decode(std::string_view payload) {
  ProgressMessage m;
  Decoder in("progress", payload);
  while (in.next()) {
    if (in.tag() == 1) in.text(m.stage, "stage", kMaxStageBytes);
    if (in.tag() == 2) in.text(m.text, "text", kMaxErrorTextBytes);
  }
  return in.finish(std::move(m));
}

std::string TimeoutMessage::encode() const {
  FieldWriter out;
  out.put(1, seconds);
  return out.take();
}

Result<TimeoutMessage> TimeoutMessage::decode(std::string_view payload) {
  TimeoutMessage m;
  Decoder in("set_timeout", payload);
  while (in.next()) {
    if (in.tag() == 1) in.number(m.seconds, "seconds", kMaxTimeoutMs / 1000);
  }
  in.require(m.seconds >= 1, "field `seconds` is missing or 0");
  return in.finish(m);
}

std::string StartRequest::encode() const {
  FieldWriter out;
  put_text(out, 1, record);
  put_text(out, 2, sandboxes_dir);
  put_text(out, 3, kernel);
  put_text(out, 4, initrd);
  put_text(out, 5, base_image);
  put_text(out, 6, scratch_image);
  put_text(out, 7, scratch_overlay);
  put_text(out, 8, stamp_dir);
  put_text(out, 9, uid_lock_file);
  put_text(out, 10, accelerator);
  put_env(out, 11, env);
  put_text(out, 12, purpose);
  put_text(out, 13, cache_dir);
  for (const auto& directory : cache_search) out.put(14, directory);
  out.put(15, snapshot_cache_mb);
  out.put(16, max_snapshots);
  put_text(out, 17, pool_key);
  for (const auto& digest : image_sha256) out.put(18, digest);
  return out.take();
}

Result<StartRequest> StartRequest::decode(std::string_view payload) {
  StartRequest m;
  Decoder in("start", payload);
  while (in.next()) {
    switch (in.tag()) {
      case 1:
        in.text(m.record, "record", kMaxRecordBytes);
        break;
      case 2:
        in.absolute_path(m.sandboxes_dir, "sandboxes_dir");
        break;
      case 3:
        in.absolute_path(m.kernel, "kernel");
        break;
      case 4:
        in.absolute_path(m.initrd, "initrd");
        break;
      case 5:
        in.absolute_path(m.base_image, "base_image");
        break;
      case 6:
        in.absolute_path(m.scratch_image, "scratch_image");
        break;
      case 7:
        in.absolute_path(m.scratch_overlay, "scratch_overlay");
        break;
      case 8:
        in.absolute_path(m.stamp_dir, "stamp_dir");
        break;
      case 9:
        in.absolute_path(m.uid_lock_file, "uid_lock_file");
        break;
      case 10:
        in.text(m.accelerator, "accelerator", 16);
        break;
      case 11:
        in.env(m.env);
        break;
      case 12:
        in.text(m.purpose, "purpose", 16);
        break;
      case 13:
        in.absolute_path(m.cache_dir, "cache_dir");
        break;
      case 14:
        in.entry(m.cache_search, "cache_search");
        break;
      case 15:
        in.number(m.snapshot_cache_mb, "snapshot_cache_mb");
        break;
      case 16:
        in.number(m.max_snapshots, "max_snapshots");
        break;
      case 17:
        in.text(m.pool_key, "pool_key", 64);
        break;
      case 18:
        in.entry(m.image_sha256, "image_sha256");
        break;
      default:
        break;
    }
  }
  in.require(m.purpose.empty() || m.purpose == "resume" || m.purpose == "snapshot" || m.purpose == "pool",
             "field `purpose` is none that is known");
  in.require(m.image_sha256.empty() || m.image_sha256.size() == 4, "field `image_sha256` is not there four times");
  in.require(!m.record.empty(), "field `record` is missing");
  in.require(!m.sandboxes_dir.empty(), "field `sandboxes_dir` is missing");
  in.require(m.accelerator.empty() || m.accelerator == "kvm" || m.accelerator == "tcg",
             "field `accelerator` is neither \"kvm\" nor \"tcg\"");
  return in.finish(std::move(m));
}

std::string RecordMessage::encode() const {
  FieldWriter out;
  put_text(out, 1, record);
  return out.take();
}

Result<RecordMessage> RecordMessage::decode(std::string_view payload) {
  RecordMessage m;
  Decoder in("record", payload);
  while (in.next()) {
    if (in.tag() == 1) in.text(m.record, "record", kMaxRecordBytes);
  }
  in.require(!m.record.empty(), "field `record` is missing");
  return in.finish(std::move(m));
}

}  // namespace orkestr::wire
