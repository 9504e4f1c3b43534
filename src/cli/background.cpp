// exec --background, commands, logs, kill: commands that run on by themselves.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "base/json.hpp"
#include "base/try.hpp"
#include "cli/attach.hpp"
#include "cli/commands.hpp"
#include "cli/ids.hpp"
#include "cli/show.hpp"
#include "cli/terminal.hpp"
#include "cli/words.hpp"
#include "orkestr/command.hpp"

namespace orkestr::cli {
namespace {

constexpr std::string_view kPrefix = "cmd_";
constexpr std::chrono::seconds kFollowAtOnce{3600};
constexpr std::size_t kShownBytes = 60;

void write(base::JsonWriter& json, const CommandInfo& info) {
  json.begin_object().field("id", info.id).field("status", to_string(info.status));
  json.key("exit_code");
  info.exit_code ? json.value(std::int64_t{*info.exit_code}) : json.null();
  json.key("pid");
  info.pid ? json.value(*info.pid) : json.null();
  json.key("started_at");
  info.started_at ? json.value(time_text(*info.started_at)) : json.null();
  json.field("command", info.command).end_object();
}

void print(const base::JsonWriter& json) { fmt::print("{}\n", json.str()); }

// The command that `text` is or begins, with or without "cmd_".
Result<BackgroundCommand> find_command(const Sandbox& sandbox, const std::string& text) {
  ORKESTR_TRY(auto all, sandbox.commands());
  const std::string wanted = text.starts_with(kPrefix) ? text : std::string(kPrefix) + text;
  std::vector<BackgroundCommand> found;
  for (auto& command : all) {
    if (command.id() == wanted) return command;
    if (command.id().starts_with(wanted)) found.push_back(std::move(command));
  }
  if (found.size() == 1) return std::move(found.front());
  const std::string shown = printable(text.substr(0, 64));
  if (found.empty()) {
    return Error(ErrorCode::not_found, fmt::format("no command of {0} has an id that begins with '{1}'; `orkestr "
                                                   "commands {0}` lists them",
                                                   sandbox.id(), shown));
  }
  std::vector<std::string> ids;
  for (const auto& command : found) ids.push_back(command.id());
  return Error(ErrorCode::invalid_argument, fmt::format("'{}' begins the ids of several commands, give more of it: {}",
                                                        shown, fmt::join(ids, ", ")));
}

bool write_out(std::string_view bytes) {
  return std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size() && std::fflush(stdout) == 0;
}

int follow(const BackgroundCommand& command, std::uint64_t offset, bool as_json) {
  while (true) {
    auto stream = command.stream(offset, kFollowAtOnce);
    if (!stream) return report(stream.error());
    while (true) {
      auto next = stream->next();
      if (!next && next.error().code() == ErrorCode::exec_timeout) break;  // only ours: go on from there
      if (!next && next.error().code() != ErrorCode::exec_killed) return report(next.error());
      if (!next || !*next || (*next)->is_final()) {
        if (!as_json) return kExitOk;
        if (const auto fresh = command.refresh(); !fresh) return report(fresh.error());
        base::JsonWriter json;
        write(json, command.info());
        print(json);
        return kExitOk;
      }
      const std::string& data = (*next)->data;
      if (as_json) {
        base::JsonWriter json;
        json.begin_object().field("offset", static_cast<std::int64_t>(offset)).field("data", data).end_object();
        print(json);
        std::fflush(stdout);
      } else if (!write_out(data)) {
        return kExitFailed;
      }
      offset += data.size();
    }
  }
}

int print_logs(const BackgroundCommand& command, std::uint64_t offset) {
  // What is there now, not what comes meanwhile.
  std::optional<std::uint64_t> end;
  do {
    auto logs = command.logs(offset);
    if (!logs) return report(logs.error());
    if (!end) end = logs->size;
    if (logs->content.empty()) break;
    if (!write_out(logs->content)) return kExitFailed;
    offset = logs->next_offset();
  } while (offset < *end);
  return kExitOk;
}

}  // namespace

int exec_background(const std::string& id, const CommandOptions& command, bool as_json) {
  if (command.tty || command.interactive) {
    fmt::print(stderr, "orkestr: --background goes without --{}: nobody is there to type\n",
               command.tty ? "tty" : "interactive");
    return kExitUsage;
  }
  auto sandbox = find_sandbox(id);
  if (!sandbox) return report_command(sandbox.error());
  ExecOptions options;
  options.cwd = command.cwd;
  options.user = command.user;
  auto env = parse_pairs("--env", command.env);
  if (!env) return report_command(env.error());
  options.env = std::move(*env);
  auto started = sandbox->start(shell_line(command.argv), std::move(options));
  if (!started) return report_command(started.error());
  if (!as_json) {
    fmt::print("{}\n", started->id());
    return kExitOk;
  }
  base::JsonWriter json;
  write(json, started->info());
  print(json);
  return kExitOk;
}

int commands(const std::string& id, bool as_json) {
  auto sandbox = find_sandbox(id);
  if (!sandbox) return report(sandbox.error());
  auto all = sandbox->commands();
  if (!all) return report(all.error());
  if (as_json) {
    base::JsonWriter json;
    json.begin_array();
    for (const auto& command : *all) write(json, command.info());
    json.end_array();
    print(json);
    return kExitOk;
  }
  fmt::print("{}\n", styled(Style::bold, fmt::format("{:31} {:8} {:>4} {:>7}  {:24} {}", "ID", "STATUS", "CODE", "PID",
                                                     "STARTED", "COMMAND")));
  for (const auto& command : *all) {
    const CommandInfo info = command.info();
    std::string line = info.command.substr(0, info.command.find('\n'));
    if (line.size() > kShownBytes || line.size() < info.command.size()) line = line.substr(0, kShownBytes) + "…";
    fmt::print("{:31} {:8} {:>4} {:>7}  {:24} {}\n", info.id, to_string(info.status),
               info.exit_code ? fmt::to_string(*info.exit_code) : "-", info.pid ? fmt::to_string(*info.pid) : "-",
               info.started_at ? time_text(*info.started_at) : "-", printable(line));
  }
  return kExitOk;
}

int logs(const LogsCommand& command) {
  auto sandbox = find_sandbox(command.id);
  if (!sandbox) return report(sandbox.error());
  auto found = find_command(*sandbox, command.command_id);
  if (!found) return report(found.error());
  if (command.follow) return follow(*found, command.offset, command.as_json);
  if (!command.as_json) return print_logs(*found, command.offset);
  auto logs = found->logs(command.offset);
  if (!logs) return report(logs.error());
  base::JsonWriter json;
  json.begin_object().field("content", logs->content);
  json.field("start_offset", static_cast<std::int64_t>(logs->start_offset));
  json.field("next_offset", static_cast<std::int64_t>(logs->next_offset()));
  json.field("size", static_cast<std::int64_t>(logs->size)).field("truncated", logs->truncated).end_object();
  print(json);
  return kExitOk;
}

int kill_commands(const std::string& id, const std::vector<std::string>& command_ids) {
  auto sandbox = find_sandbox(id);
  if (!sandbox) return report(sandbox.error());
  std::vector<BackgroundCommand> chosen;
  for (const auto& one : command_ids) {
    auto found = find_command(*sandbox, one);
    if (!found) return report(found.error());
    chosen.push_back(std::move(*found));
  }
  for (const auto& command : chosen) {
    if (const auto killed = command.kill(); !killed) return report(killed.error());
    fmt::print("{}\n", command.id());
  }
  return kExitOk;
}

}  // namespace orkestr::cli
