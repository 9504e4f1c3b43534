// ls, inspect, rm, events: looking at sandboxes, and ending them.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <thread>

#include "base/json.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "cli/commands.hpp"
#include "cli/ids.hpp"
#include "cli/show.hpp"
#include "cli/terminal.hpp"
#include "cli/words.hpp"
#include "orkestr/sandbox.hpp"

namespace orkestr::cli {
namespace {

constexpr auto kFollowPause = std::chrono::milliseconds(250);

std::int64_t ms_of(TimePoint time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

// "45 s", "12 min", "3 h", "2 d"
std::string span_text(std::chrono::system_clock::duration span) {
  const auto seconds = std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(span).count());
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 7200) return fmt::format("{} min", seconds / 60);
  if (seconds < 172800) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} d", seconds / 86400);
}

std::string metadata_text(const SandboxInfo& info) {
  std::string out;
  for (const auto& [name, value] : info.metadata) out += fmt::format("{}{}={}", out.empty() ? "" : ",", name, value);
  return printable(out);
}

Style style_of(Status status) {
  if (status == Status::running) return Style::green;
  return status == Status::failed ? Style::red : Style::plain;
}

void print_table(const std::vector<SandboxInfo>& infos) {
  const auto now = std::chrono::system_clock::now();
  fmt::print("{}\n",
             styled(Style::bold, fmt::format("{:31} {:18} {:11} {:>8} {:>8} {:>5} {:>8}  {:7} {}", "ID", "TEMPLATE",
                                             "STATUS", "AGE", "LEFT", "CPU", "MEMORY", "BACKEND", "METADATA")));
  for (const auto& info : infos) {
    const std::string left = has_ended(info) || info.status == Status::paused ? "-" : span_text(info.expires_at - now);
    fmt::print("{:31} {:18} {} {:>8} {:>8} {:>5} {:>5} MB  {:7} {}\n", info.id, info.template_name,
               styled(style_of(info.status), fmt::format("{:11}", to_string(info.status))),
               span_text(now - info.created_at), left, info.cpu, info.memory_mb, info.backend, metadata_text(info));
  }
}

Result<TimePoint> parse_since(const std::string& text) {
  if (const auto ms = base::parse_iso8601_utc(text)) return TimePoint(std::chrono::milliseconds(*ms));
  const bool has_unit = !text.empty() && std::isalpha(static_cast<unsigned char>(text.back())) != 0;
  if (const auto seconds = parse_seconds(text); seconds && has_unit) {
    return std::chrono::system_clock::now() - std::chrono::seconds(std::llround(*seconds));
  }
  return Error(
      ErrorCode::invalid_argument,
      fmt::format("--since is '{}'; it must be a time like 2026-11-21T06:14:07Z (UTC), or how long ago: 90s, 5m, "
                  "2h, 1d",
                  printable(text.substr(0, 64))));
}

void print_event(const Event& event, bool as_json) {
  if (as_json) {
    fmt::print("{}\n", event.json);
    return;
  }
  std::string line = fmt::format("{}  {:11}", time_text(event.time), event.kind);
  if (event.duration_ms) line += fmt::format(" {:>7} ms", *event.duration_ms);
  if (!event.outcome.empty()) line += "  " + event.outcome;
  if (event.exit_code && event.outcome == "exit") line += fmt::format(" {}", *event.exit_code);
  for (const auto* text : {&event.command, &event.path, &event.reason}) {
    if (!text->empty()) line += "  " + *text;
  }
  fmt::print("{}\n", printable(line));
}

// Prints what is new. Events of one millisecond may come in several looks, so those already shown are counted.
class Follower {
 public:
  Follower(const Sandbox& sandbox, std::optional<TimePoint> since, bool as_json)
      : sandbox_(sandbox), since_(since), as_json_(as_json) {}

  Result<void> look() {
    ORKESTR_TRY(const auto events, sandbox_.events({since_}));
    std::size_t skip = shown_at_since_;
    for (const auto& event : events) {
      if (skip > 0 && event.time == since_) {
        --skip;
        continue;
      }
      print_event(event, as_json_);
      if (!since_ || event.time > *since_) {
        since_ = event.time;
        shown_at_since_ = 0;
      }
      if (event.time == *since_) ++shown_at_since_;
    }
    std::fflush(stdout);
    return {};
  }

 private:
  const Sandbox& sandbox_;
  std::optional<TimePoint> since_;
  std::size_t shown_at_since_ = 0;
  const bool as_json_;
};

}  // namespace

std::string time_text(TimePoint time) { return base::iso8601_utc(ms_of(time)); }

void write(base::JsonWriter& json, const SandboxInfo& info) {
  json.begin_object()
      .field("id", info.id)
      .field("status", to_string(info.status))
      .field("template", info.template_name);
  json.field("backend", info.backend).field("network", to_string(info.network)).field("cpu", info.cpu);
  json.field("cpu_reason", info.cpu_reason).field("memory_mb", info.memory_mb).field("disk_mb", info.disk_mb);
  json.field("created_at", time_text(info.created_at)).field("expires_at", time_text(info.expires_at));
  json.key("metadata").begin_object();
  for (const auto& [name, value] : info.metadata) json.field(name, value);
  json.end_object();
  json.field("on_timeout", to_string(info.on_timeout)).field("auto_resume", info.auto_resume);
  json.key("paused_expires_at");
  info.paused_expires_at ? json.value(time_text(*info.paused_expires_at)) : json.null();
  json.field("end_reason", info.end_reason);
  json.field("accelerator", info.accelerator).field("accelerator_reason", info.accelerator_reason);
  json.field("isolation", info.isolation).field("jail", info.jail).end_object();
}

int list(const ListCommand& command) {
  ListOptions options;
  if (!command.status.empty()) {
    auto status = parse_status(command.status);
    if (!status) return report(status.error());
    options.status = *status;
  }
  auto metadata = parse_pairs("--metadata", command.metadata);
  if (!metadata) return report(metadata.error());
  options.metadata = std::move(*metadata);
  auto infos = Sandbox::list(options);
  if (!infos) return report(infos.error());
  if (!command.all && !options.status) std::erase_if(*infos, has_ended);
  if (!command.as_json) {
    print_table(*infos);
    return kExitOk;
  }
  base::JsonWriter json;
  json.begin_array();
  for (const auto& info : *infos) write(json, info);
  json.end_array();
  fmt::print("{}\n", json.str());
  return kExitOk;
}

int inspect(const std::string& id, bool as_json) {
  auto sandbox = find_sandbox(id);
  if (!sandbox) return report(sandbox.error());
  const SandboxInfo info = sandbox->info();
  if (as_json) {
    base::JsonWriter json;
    write(json, info);
    fmt::print("{}\n", json.str());
    return kExitOk;
  }
  auto line = [](std::string_view key, std::string_view value) {
    if (!value.empty()) fmt::print("{:12} {}\n", key, printable(value));
  };
  line("id", info.id);
  line("status", to_string(info.status));
  line("ended", info.end_reason);
  line("template", info.template_name);
  line("backend", info.backend);
  line("network", to_string(info.network));
  line("cpu",
       info.cpu_reason.empty() ? fmt::format("{}", info.cpu) : fmt::format("{} ({})", info.cpu, info.cpu_reason));
  line("memory", fmt::format("{} MB", info.memory_mb));
  line("disk", fmt::format("{} MB", info.disk_mb));
  line("created", time_text(info.created_at));
  line("expires", time_text(info.expires_at));
  for (const auto& [name, value] : info.metadata) line("metadata", name + "=" + value);
  line("accelerator", fmt::format("{} ({})", info.accelerator, info.accelerator_reason));
  line("isolation", info.isolation);
  line("jail", info.jail);
  return kExitOk;
}

int remove(const std::vector<std::string>& ids, bool all, bool yes) {
  std::vector<std::string> chosen;
  if (all) {
    auto infos = Sandbox::list();
    if (!infos) return report(infos.error());
    for (const auto& info : *infos) {
      if (!has_ended(info)) chosen.push_back(info.id);
    }
    if (!chosen.empty() && !yes && !confirm(fmt::format("End all {} sandboxes?", chosen.size()))) {
      const bool asked = is_terminal(0);
      fmt::print(stderr, "orkestr: nothing was ended{}\n",
                 asked ? "" : "; without a terminal to ask on, --yes is needed");
      return asked ? kExitFailed : kExitUsage;
    }
  }
  // Names that are wrong are said before anything is ended.
  for (const auto& id : ids) {
    auto resolved = resolve_id(id);
    if (!resolved) return report(resolved.error());
    chosen.push_back(std::move(*resolved));
  }
  int code = kExitOk;
  for (const auto& id : chosen) {
    auto sandbox = Sandbox::get(id);
    const auto ended = sandbox ? sandbox->terminate() : Result<void>(sandbox.error());
    if (ended) {
      fmt::print("{}\n", id);
    } else {
      code = std::max(code, report(ended.error()));
    }
  }
  return code;
}

int events(const EventsCommand& command) {
  std::optional<TimePoint> since;
  if (!command.since.empty()) {
    auto parsed = parse_since(command.since);
    if (!parsed) return report(parsed.error());
    since = *parsed;
  }
  auto sandbox = find_sandbox(command.id);
  if (!sandbox) return report(sandbox.error());
  Follower follower(*sandbox, since, command.as_json);
  while (true) {
    // First its state: what a sandbox that has ended logged last is in the log before its record says so.
    if (const auto fresh = sandbox->refresh(); !fresh) return report(fresh.error());
    const bool over = !command.follow || has_ended(sandbox->info());
    if (const auto looked = follower.look(); !looked) return report(looked.error());
    if (over) return kExitOk;
    std::this_thread::sleep_for(kFollowPause);
  }
}

}  // namespace orkestr::cli
