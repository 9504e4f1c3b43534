// One filled and one minimal value of every message: for round trips, hostile variants and the golden bytes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "wire/command_message.hpp"
#include "wire/message.hpp"

namespace orkestr::wire::samples {

// A message as the tests see it: bytes, and what decoding and encoding them again gives.
struct Sample {
  std::string name;
  std::string bytes;
  std::function<Result<std::string>(std::string_view)> recode;
};

template <class Message>
Sample sample(std::string name, const Message& message) {
  return {std::move(name), message.encode(), [](std::string_view payload) -> Result<std::string> {
            auto decoded = Message::decode(payload);
            if (!decoded) return decoded.error();
            return decoded->encode();
          }};
}

inline std::vector<Sample> all() {
  ConfigureRequest configure;
  configure.hostname = "sbx-1";
  configure.wall_clock_ns = 1'763'705'647'123'456'789;
  configure.entropy = std::string(32, '\x5A');
  configure.machine_id = "0123456789abcdef0123456789abcdef";
  configure.env = {{"LANG", "C.UTF-8"}, {"EMPTY", ""}};
  ConfigureRequest resumed = configure;
  resumed.same_machine = true;

  ExecRequest exec;
  exec.argv = {"/bin/bash", "-c", "echo \xFF$A"};
  exec.cwd = "/workspace";
  exec.env = {{"A", "b=c"}};
  exec.user = "nobody";
  exec.timeout_ms = 1500;
  exec.stdin_open = true;
  ExecRequest least_exec;
  least_exec.argv = {"/bin/true"};

  ExecRequest terminal;
  terminal.argv = {"/bin/bash"};
  terminal.stdin_open = true;
  terminal.tty = true;
  terminal.cols = 1000;
  terminal.rows = 24;
  ResizeMessage resize;
  resize.cols = 132;
  resize.rows = 1;

  StartedMessage started;
  started.pid = 4242;

  ExecExit exit;
  exit.exit_code = 3;
  exit.oom = true;
  exit.duration_us = 1'234'567;
  exit.user_us = 1'000;
  exit.system_us = 2'000;
  exit.max_rss_kb = 9'000;
  exit.stdout_bytes = 5'000'000'000;
  exit.stderr_bytes = 7;
  ExecExit killed;
  killed.signal = 9;
  killed.timed_out = true;
  killed.cancelled = true;

  FileRequest file;
  file.path = "/workspace/a b";
  file.destination = "/tmp/c";
  file.mode = 0755;
  file.parents = true;

  FileInfo info;
  info.name = "main.py";
  info.size = 29;
  info.mode = 0644;
  info.modified_ns = -1;
  FileInfo missing;
  missing.name = "none";
  missing.exists = false;

  ErrorMessage error;
  error.code = "vm_failed";
  error.message = "the kernel panicked";
  error.stage = "boot";
  error.console_tail = "Kernel panic - not syncing";

  ProgressMessage progress;
  progress.stage = "agent";
  progress.text = "waiting";

  StartRequest start;
  start.record = "{}";
  start.sandboxes_dir = "/s/sandboxes";
  start.kernel = "/c/kernel";
  start.initrd = "/c/initrd";
  start.base_image = "/c/base";
  start.scratch_image = "/c/scratch";
  start.scratch_overlay = "/c/overlay";
  start.stamp_dir = "/c/stamps";
  start.uid_lock_file = "/s/uids";
  start.accelerator = "tcg";
  start.env = {{"K", "v"}};
  start.purpose = "resume";
  start.cache_dir = "/c";
  start.cache_search = {"/c", "/system/c"};
  start.snapshot_cache_mb = 8192;
  start.max_snapshots = 100;

  TimeoutMessage timeout;
  timeout.seconds = 600;

  RecordMessage record;
  record.record = "{\"format\":1}";

  CommandStartRequest command_start;
  command_start.line = "npm start";
  command_start.exec.argv = {"/bin/bash", "-c", "npm start"};
  command_start.exec.env = {{"PORT", "8000"}};
  CommandRequest command_request;
  command_request.id = "cmd_01J9Z3";
  command_request.offset = 5'000'000'000;
  command_request.timeout_ms = 300'000;
  CommandMessage command;
  command.id = "cmd_01J9Z3";
  command.line = "npm start";
  command.pid = 4242;
  command.status = CommandMessage::Status::exited;
  command.exit_code = 255;
  command.started_ns = -1;
  command.log_bytes = 5'000'000'000;
  CommandMessage running;
  running.id = "cmd_a-b";
  CommandLogsMessage logs;
  logs.start_offset = 10;
  logs.size = 11;
  StatsMessage stats;
  stats.memory_total_bytes = 1U << 30U;
  stats.memory_used_bytes = 1U << 20U;
  MetricsRequest metrics_request;
  metrics_request.since_ms = 1'763'705'647'123;
  MetricsMessage metrics;
  metrics.as_of_ms = 1'763'705'647'123;
  metrics.interval_ms = 5000;
  metrics.window_ms = 60000;
  metrics.cpu_micros = 2'000'000;
  metrics.memory_limit_bytes = 1U << 30U;
  metrics.lifetime_cpu_us = 1'500'000;
  metrics.lifetime_ms = 9'000;
  metrics.samples = {{1'763'705'642'123, 500'000, 1U << 20U}, {1'763'705'647'123, 0, 2U << 20U}};

  return {sample("configure", configure),
          sample("exec", exec),
          sample("exec_least", least_exec),
          sample("started", started),
          sample("exec_exit", exit),
          sample("exec_exit_killed", killed),
          sample("file_request", file),
          sample("file_info", info),
          sample("file_info_missing", missing),
          sample("error", error),
          sample("progress", progress),
          sample("start", start),
          sample("set_timeout", timeout),
          sample("record", record),
          sample("configure_resumed", resumed),
          sample("exec_tty", terminal),
          sample("resize", resize),
          sample("command_start", command_start),
          sample("command_request", command_request),
          sample("command", command),
          sample("command_running", running),
          sample("command_logs", logs),
          sample("stats", stats),
          sample("metrics_request", metrics_request),
          sample("metrics", metrics)};
}

}  // namespace orkestr::wire::samples
