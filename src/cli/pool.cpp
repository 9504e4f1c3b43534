// orkestr pool: set, ls, clear.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>

#include "base/json.hpp"
#include "base/system.hpp"
#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "orkestr/host.hpp"

namespace orkestr::cli {
namespace {

std::int64_t wall_ms(TimePoint time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

void write(base::JsonWriter& json, const PoolInfo& info) {
  json.begin_object();
  json.field("template", info.template_name).field("count", info.count).field("ready", info.ready());
  json.field("cpu", info.cpu).field("memory_mb", info.memory_mb).field("disk_mb", info.disk_mb);
  json.field("idle_seconds", std::int64_t{info.idle_timeout.count()});
  json.field("min_available_mb", info.min_available_mb).field("problem", info.problem);
  json.key("members").begin_array();
  for (const auto& member : info.members) {
    json.begin_object().field("id", member.id).field("ready", member.ready);
    json.field("created_at", base::iso8601_utc(wall_ms(member.created_at))).end_object();
  }
  json.end_array().end_object();
}

std::string line_of(const PoolInfo& info) {
  return fmt::format("{:<24} {:>2} of {:<2} ready  {} CPU, {} MB", info.template_name, info.ready(), info.count,
                     info.cpu, info.memory_mb);
}

// "python-3.12=4": a name alone means one.
Result<PoolOptions> parse(const PoolCommand& command) {
  PoolOptions options;
  const auto equals = command.what.find('=');
  options.template_name = command.what.substr(0, equals);
  if (equals != std::string::npos) {
    const std::string number = command.what.substr(equals + 1);
    const char* end = number.data() + number.size();
    const auto parsed = std::from_chars(number.data(), end, options.count);
    if (number.empty() || parsed.ec != std::errc() || parsed.ptr != end) {
      return Error(ErrorCode::invalid_argument,
                   fmt::format("'{}' is no number of machines; write TEMPLATE=N, as in python-3.12=4", number));
    }
  }
  auto size = parse_size(command.size);
  if (!size) return size.error();
  options.size = *size;
  options.cpu = command.cpu;
  options.memory_mb = command.memory_mb;
  options.disk_mb = command.disk_mb;
  options.idle_timeout = std::chrono::seconds(command.idle_s);
  options.min_available_mb = command.min_available_mb;
  return options;
}

}  // namespace

int pool_set(const PoolCommand& command) {
  const auto options = parse(command);
  if (!options) return report(options.error());
  const auto info = orkestr::pool_set(*options);
  if (!info) return report(info.error());
  if (command.as_json) {
    base::JsonWriter json;
    write(json, *info);
    fmt::print("{}\n", json.str());
  } else {
    fmt::print("{}\n", line_of(*info));
  }
  if (info->problem.empty()) return kExitOk;
  fmt::print(stderr, "orkestr: {}\n", info->problem);
  return kExitFailed;
}

int pool_list(bool as_json) {
  const auto all = orkestr::pool_list();
  if (!all) return report(all.error());
  if (as_json) {
    base::JsonWriter json;
    json.begin_array();
    for (const auto& info : *all) write(json, info);
    json.end_array();
    fmt::print("{}\n", json.str());
    return kExitOk;
  }
  if (all->empty()) fmt::print(stderr, "no pool is configured; `orkestr pool set TEMPLATE=N` does it\n");
  for (const auto& info : *all) {
    fmt::print("{}\n", line_of(info));
    if (!info.problem.empty()) fmt::print("  {}\n", info.problem);
  }
  return kExitOk;
}

int pool_clear(const std::string& template_name, bool as_json) {
  const auto ended = orkestr::pool_clear(template_name);
  if (!ended) return report(ended.error());
  if (as_json) {
    base::JsonWriter json;
    json.begin_object().field("ended", *ended).end_object();
    fmt::print("{}\n", json.str());
  } else {
    fmt::print("{} ended\n", *ended);
  }
  return kExitOk;
}

void add_pool_commands(CLI::App& app, Invocation& invocation) {
  auto command = std::make_shared<PoolCommand>();
  auto name = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  const auto add = [](CLI::App* parent, const char* which, const char* summary, const char* example) {
    CLI::App* made = parent->add_subcommand(which, summary);
    made->footer(std::string("\nExample:\n  ") + example);
    return made;
  };
  CLI::App* pool =
      add(&app, "pool", "machines that are ready before anybody asks for a sandbox", "orkestr pool set python-3.12=4");
  pool->require_subcommand(1);

  CLI::App* set = add(pool, "set", "keep N machines of a template ready, for sandboxes of this very size",
                      "orkestr pool set python-3.12=4 --size medium");
  set->add_option("template", command->what, "TEMPLATE=N, or TEMPLATE for one; =0 for none any more")->required();
  set->add_option("--size", command->size, "small (1 CPU, 1024 MB), medium (2, 4096) or large (4, 8192)")
      ->capture_default_str();
  set->add_option("--cpu", command->cpu, "CPUs, 0.25 to 16, instead of the size's");
  set->add_option("--memory-mb", command->memory_mb, "memory in MiB, 256 to 65536, instead of the size's");
  set->add_option("--disk-mb", command->disk_mb, "disk in MiB, 8192 to 131072");
  takes_duration(
      set->add_option("--idle", command->idle_s, "seconds (or 5m, 2h) after which one that nobody took ends"))
      ->capture_default_str();
  set->add_option("--min-available-mb", command->min_available_mb,
                  "with less memory available on the host they end, in MiB")
      ->capture_default_str();
  set->add_flag("--json", command->as_json, "for machines: an object");
  set->callback([=, &invocation] { invocation.code = pool_set(*command); });

  CLI::App* ls = add(pool, "ls", "what is configured, and how many are ready", "orkestr pool ls --json");
  ls->add_flag("--json", *as_json, "for machines: an array");
  ls->callback([=, &invocation] { invocation.code = pool_list(*as_json); });

  CLI::App* clear = add(pool, "clear", "configure none any more, and end those that wait", "orkestr pool clear");
  clear->add_option("template", *name, "only of this template");
  clear->add_flag("--json", *as_json, "for machines: an object");
  clear->callback([=, &invocation] { invocation.code = pool_clear(*name, *as_json); });
}

}  // namespace orkestr::cli
