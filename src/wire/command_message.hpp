// Messages about background commands, metrics and the guest's own figures. See message.hpp for what all messages have
// in common.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "orkestr/error.hpp"
#include "wire/frame.hpp"
#include "wire/message.hpp"

namespace orkestr::wire {

inline constexpr std::size_t kMaxCommandIdBytes = 64;
// Of a command's line as it is shown; the command itself may be longer.
inline constexpr std::size_t kMaxCommandLineBytes = 8U << 10U;
// What one answer to `command_logs` holds at most: it needs no credit.
inline constexpr std::uint64_t kMaxLogsBytes = kInitialCredit;
inline constexpr std::size_t kMaxMetricsSamples = 1024;

// "cmd_" and at least one more of [A-Za-z0-9_-], at most kMaxCommandIdBytes.
bool is_command_id(std::string_view text);

// `command_start`: what to run, as an `exec` without input, terminal and timeout. The result is a CommandMessage.
struct CommandStartRequest {
  std::string line;  // to show; at most kMaxCommandLineBytes, no NUL
  ExecRequest exec;
  std::string encode() const;
  static Result<CommandStartRequest> decode(std::string_view payload);
};

// `command_get`, `command_kill`, `command_logs`, `command_follow`.
struct CommandRequest {
  std::string id;
  std::uint64_t offset = 0;      // logs, follow: of the first byte wanted
  std::uint64_t timeout_ms = 0;  // follow: 0 for none; at most 10¹²
  std::string encode() const;
  static Result<CommandRequest> decode(std::string_view payload);
};

// One background command: the result of `command_start`, `command_get`, `command_kill`, an entry of `command_list`.
struct CommandMessage {
  enum class Status : std::uint8_t { running, exited, killed };
  std::string id;
  std::string line;
  std::uint64_t pid = 0;
  Status status = Status::running;
  std::int64_t exit_code = 0;   // 0..255 of one that has exited; else 0
  std::int64_t started_ns = 0;  // since 1970, by the guest's clock
  std::uint64_t log_bytes = 0;  // written so far
  std::string encode() const;
  static Result<CommandMessage> decode(std::string_view payload);
};

// The result of `command_logs`, behind the data.
struct CommandLogsMessage {
  std::uint64_t start_offset = 0;  // of the data
  std::uint64_t size = 0;          // written in all; never less than where the data ends
  std::string encode() const;
  static Result<CommandLogsMessage> decode(std::string_view payload);
};

// supervisor → guest: `stats`, empty; this is the result.
struct StatsMessage {
  std::uint64_t memory_total_bytes = 0;
  std::uint64_t memory_used_bytes = 0;  // without what caches could give up; at most the total
  std::string encode() const;
  static Result<StatsMessage> decode(std::string_view payload);
};

// client → supervisor: `metrics`. Times are milliseconds since 1970, CPU is in millionths of one CPU.
struct MetricsRequest {
  std::int64_t since_ms = 0;  // samples of this moment or later
  std::string encode() const;
  static Result<MetricsRequest> decode(std::string_view payload);
};

struct MetricsMessage {
  struct Sample {
    std::int64_t time_ms = 0;
    std::uint64_t cpu_micros = 0;  // used in a second
    std::uint64_t memory_bytes = 0;
  };
  std::int64_t as_of_ms = 0;
  std::uint64_t interval_ms = 0;
  std::uint64_t window_ms = 0;
  std::uint64_t cpu_micros = 0;  // allocated
  std::uint64_t memory_limit_bytes = 0;
  std::uint64_t lifetime_cpu_us = 0;
  std::uint64_t lifetime_ms = 0;
  std::vector<Sample> samples;  // oldest first, at most kMaxMetricsSamples; the last one is the present
  std::string encode() const;
  static Result<MetricsMessage> decode(std::string_view payload);
};

}  // namespace orkestr::wire
