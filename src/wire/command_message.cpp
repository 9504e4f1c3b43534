#include "wire/command_message.hpp"

#include <algorithm>
#include <limits>

#include "wire/decoder.hpp"

namespace orkestr::wire {
namespace {

constexpr std::string_view kIdPrefix = "cmd_";
constexpr std::size_t kSampleBytes = 24;
constexpr std::uint64_t kMaxMicros = 1'000'000'000'000;  // a million CPUs

bool is_id_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

// The request inside of a start is a whole ExecRequest of its own.
constexpr std::size_t kMaxNestedBytes = kMaxPayload;

}  // namespace

bool is_command_id(std::string_view text) {
  return text.size() > kIdPrefix.size() && text.size() <= kMaxCommandIdBytes &&
         text.substr(0, kIdPrefix.size()) == kIdPrefix && std::all_of(text.begin(), text.end(), is_id_character);
}

std::string CommandStartRequest::encode() const {
  FieldWriter out;
  put_text(out, 1, line);
  out.put(2, exec.encode());
  return out.take();
}

Result<CommandStartRequest> CommandStartRequest::decode(std::string_view payload) {
  CommandStartRequest m;
  std::string exec;
  Decoder in("command_start", payload);
  while (in.next()) {
    if (in.tag() == 1) in.c_text(m.line, "line", kMaxCommandLineBytes);
    if (in.tag() == 2) in.text(exec, "exec", kMaxNestedBytes);
  }
  in.require(!m.line.empty(), "field `line` is missing");
  auto whole = in.finish(std::move(m));
  if (!whole) return whole;
  auto request = ExecRequest::decode(exec);
  if (!request) return request.error();
  if (request->stdin_open || request->tty || request->timeout_ms != 0) {
    return Error(ErrorCode::connection,
                 "malformed message command_start: a background command has no input, no terminal and no timeout");
  }
  whole->exec = std::move(*request);
  return whole;
}

std::string CommandRequest::encode() const {
  FieldWriter out;
  put_text(out, 1, id);
  out.put(2, offset).put(3, timeout_ms);
  return out.take();
}

Result<CommandRequest> CommandRequest::decode(std::string_view payload) {
  CommandRequest m;
  Decoder in("command request", payload);
  while (in.next()) {
    if (in.tag() == 1) in.text(m.id, "id", kMaxCommandIdBytes);
    if (in.tag() == 2) in.number(m.offset, "offset");
    if (in.tag() == 3) in.number(m.timeout_ms, "timeout_ms", kMaxTimeoutMs);
  }
  in.require(is_command_id(m.id), "field `id` is no command's id (\"cmd_\" and letters or digits)");
  return in.finish(std::move(m));
}

std::string CommandMessage::encode() const {
  FieldWriter out;
  put_text(out, 1, id);
  put_text(out, 2, line);
  out.put(3, pid).put(4, static_cast<std::uint64_t>(status));
  out.put_signed(5, exit_code).put_signed(6, started_ns);
  out.put(7, log_bytes);
  return out.take();
}

Result<CommandMessage> CommandMessage::decode(std::string_view payload) {
  CommandMessage m;
  std::uint64_t status = 0;
  Decoder in("command", payload);
  while (in.next()) {
    switch (in.tag()) {
      case 1:
        in.text(m.id, "id", kMaxCommandIdBytes);
        break;
      case 2:
        in.c_text(m.line, "line", kMaxCommandLineBytes);
        break;
      case 3:
        in.number(m.pid, "pid", kMaxPid);
        break;
      case 4:
        in.number(status, "status", static_cast<std::uint64_t>(Status::killed));
        break;
      case 5:
        in.signed_number(m.exit_code, "exit_code", 0, kMaxExitCode);
        break;
      case 6:
        in.signed_number(m.started_ns, "started_ns", std::numeric_limits<std::int64_t>::min(),
                         std::numeric_limits<std::int64_t>::max());
        break;
      case 7:
        in.number(m.log_bytes, "log_bytes");
        break;
      default:
        break;
    }
  }
  m.status = static_cast<Status>(status);
  in.require(is_command_id(m.id), "field `id` is no command's id (\"cmd_\" and letters or digits)");
  in.require(m.status == Status::exited || m.exit_code == 0, "field `exit_code` of a command that has not exited");
  return in.finish(std::move(m));
}

std::string CommandLogsMessage::encode() const { return FieldWriter().put(1, start_offset).put(2, size).take(); }

Result<CommandLogsMessage> CommandLogsMessage::decode(std::string_view payload) {
  CommandLogsMessage m;
  Decoder in("command logs", payload);
  while (in.next()) {
    if (in.tag() == 1) in.number(m.start_offset, "start_offset");
    if (in.tag() == 2) in.number(m.size, "size");
  }
  in.require(m.start_offset <= m.size, "field `start_offset` is beyond `size`");
  return in.finish(m);
}

std::string StatsMessage::encode() const {
  return FieldWriter().put(1, memory_total_bytes).put(2, memory_used_bytes).take();
}

Result<StatsMessage> StatsMessage::decode(std::string_view payload) {
  StatsMessage m;
  Decoder in("stats", payload);
  while (in.next()) {
    if (in.tag() == 1) in.number(m.memory_total_bytes, "memory_total_bytes");
    if (in.tag() == 2) in.number(m.memory_used_bytes, "memory_used_bytes");
  }
  in.require(m.memory_used_bytes <= m.memory_total_bytes, "field `memory_used_bytes` is above the total");
  return in.finish(m);
}

std::string MetricsRequest::encode() const { return FieldWriter().put_signed(1, since_ms).take(); }

Result<MetricsRequest> MetricsRequest::decode(std::string_view payload) {
  MetricsRequest m;
  Decoder in("metrics request", payload);
  while (in.next()) {
    if (in.tag() == 1) in.signed_number(m.since_ms, "since_ms", 0, std::numeric_limits<std::int64_t>::max());
  }
  return in.finish(m);
}

std::string MetricsMessage::encode() const {
  FieldWriter out;
  out.put_signed(1, as_of_ms);
  out.put(2, interval_ms).put(3, window_ms).put(4, cpu_micros).put(5, memory_limit_bytes);
  out.put(6, lifetime_cpu_us).put(7, lifetime_ms);
  for (const Sample& sample : samples) {
    char bytes[kSampleBytes];
    store_u64(bytes, static_cast<std::uint64_t>(sample.time_ms));
    store_u64(bytes + 8, sample.cpu_micros);
    store_u64(bytes + 16, sample.memory_bytes);
    out.put(8, std::string_view(bytes, sizeof bytes));
  }
  return out.take();
}

Result<MetricsMessage> MetricsMessage::decode(std::string_view payload) {
  MetricsMessage m;
  Decoder in("metrics", payload);
  while (in.next()) {
    switch (in.tag()) {
      case 1:
        in.signed_number(m.as_of_ms, "as_of_ms", 0, std::numeric_limits<std::int64_t>::max());
        break;
      case 2:
        in.number(m.interval_ms, "interval_ms");
        break;
      case 3:
        in.number(m.window_ms, "window_ms");
        break;
      case 4:
        in.number(m.cpu_micros, "cpu_micros", kMaxMicros);
        break;
      case 5:
        in.number(m.memory_limit_bytes, "memory_limit_bytes");
        break;
      case 6:
        in.number(m.lifetime_cpu_us, "lifetime_cpu_us");
        break;
      case 7:
        in.number(m.lifetime_ms, "lifetime_ms");
        break;
      case 8: {
        const std::string_view bytes = in.bytes();
        in.require(bytes.size() == kSampleBytes, "field `samples` has an entry that is not 24 bytes long");
        in.require(m.samples.size() < kMaxMetricsSamples, "field `samples` comes more than 1024 times");
        if (bytes.size() != kSampleBytes) break;
        const MetricsMessage::Sample sample{static_cast<std::int64_t>(load_u64(bytes.data())),
                                            load_u64(bytes.data() + 8), load_u64(bytes.data() + 16)};
        in.require(sample.time_ms >= 0 && sample.cpu_micros <= kMaxMicros && sample.memory_bytes <= kMaxSigned,
                   "field `samples` has a number that is out of bounds");
        m.samples.push_back(sample);
        break;
      }
      default:
        break;
    }
  }
  return in.finish(std::move(m));
}

}  // namespace orkestr::wire
