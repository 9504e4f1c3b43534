// pause, resume, timeout, metrics: the life of a sandbox, and what it uses.
#include <fmt/format.h>

#include <cmath>

#include "base/json.hpp"
#include "cli/commands.hpp"
#include "cli/ids.hpp"
#include "cli/show.hpp"
#include "cli/terminal.hpp"
#include "orkestr/sandbox.hpp"

namespace orkestr::cli {
namespace {

constexpr double kMib = 1U << 20U;

// `--json`: all that is known now; else one word.
int show(const Sandbox& sandbox, bool as_json, const std::string& word) {
  if (!as_json) {
    fmt::print("{}\n", word);
    return kExitOk;
  }
  base::JsonWriter json;
  write(json, sandbox.info());
  fmt::print("{}\n", json.str());
  return kExitOk;
}

template <class Number>
void write(base::JsonWriter& json, std::string_view name, const std::optional<Number>& value) {
  json.key(name);
  if (value) {
    json.value(*value);
  } else {
    json.null();
  }
}

void print_json(const Metrics& metrics) {
  base::JsonWriter json;
  json.begin_object().field("sandbox_id", metrics.sandbox_id).field("status", to_string(metrics.status));
  json.field("as_of", time_text(metrics.as_of)).field("cpu_cores", metrics.cpu_cores);
  write(json, "cpu_usage_cores", metrics.cpu_usage_cores);
  write(json, "cpu_usage_percent", metrics.cpu_usage_percent);
  json.field("memory_limit_bytes", static_cast<std::int64_t>(metrics.memory_limit_bytes));
  std::optional<std::int64_t> used;
  if (metrics.memory_usage_bytes) used = static_cast<std::int64_t>(*metrics.memory_usage_bytes);
  write(json, "memory_usage_bytes", used);
  write(json, "memory_usage_percent", metrics.memory_usage_percent);
  json.field("lifetime_cpu_seconds", metrics.lifetime_cpu_seconds);
  json.field("lifetime_gb_seconds", metrics.lifetime_gb_seconds);
  json.key("samples").begin_array();
  for (const auto& sample : metrics.samples) {
    json.begin_object().field("time", time_text(sample.time)).field("cpu_percent", sample.cpu_percent);
    json.field("memory_bytes", static_cast<std::int64_t>(sample.memory_bytes)).end_object();
  }
  json.end_array().end_object();
  fmt::print("{}\n", json.str());
}

}  // namespace

int pause(const std::string& id, bool as_json) {
  auto sandbox = find_sandbox(id);
  if (!sandbox) return report(sandbox.error());
  if (const auto paused = sandbox->pause(); !paused) return report(paused.error());
  if (const auto fresh = sandbox->refresh(); !fresh) return report(fresh.error());
  return show(*sandbox, as_json, sandbox->id());
}

int resume(const std::string& id, bool as_json) {
  auto resolved = resolve_id(id);
  if (!resolved) return report(resolved.error());
  auto sandbox = Sandbox::resume(*resolved);
  if (!sandbox) return report(sandbox.error());
  return show(*sandbox, as_json, sandbox->id());
}

int set_timeout(const std::string& id, double timeout_s, bool as_json) {
  auto sandbox = find_sandbox(id);
  if (!sandbox) return report(sandbox.error());
  const auto done = sandbox->set_timeout(std::chrono::seconds(std::llround(std::ceil(timeout_s))));
  if (!done) return report(done.error());
  return show(*sandbox, as_json, time_text(sandbox->info().expires_at));
}

int metrics(const std::string& id, bool as_json) {
  auto sandbox = find_sandbox(id);
  if (!sandbox) return report(sandbox.error());
  const auto metrics = sandbox->metrics();
  if (!metrics) return report(metrics.error());
  if (as_json) {
    print_json(*metrics);
    return kExitOk;
  }
  const auto line = [](std::string_view key, const std::string& value) { fmt::print("{:12} {}\n", key, value); };
  line("status", std::string(to_string(metrics->status)));
  const double limit = static_cast<double>(metrics->memory_limit_bytes) / kMib;
  if (metrics->cpu_usage_percent && metrics->cpu_usage_cores) {
    line("cpu", fmt::format("{:.1f} % ({:.2f} of {} CPUs)", *metrics->cpu_usage_percent, *metrics->cpu_usage_cores,
                            metrics->cpu_cores));
  }
  if (metrics->memory_usage_bytes && metrics->memory_usage_percent) {
    line("memory", fmt::format("{:.1f} % ({:.0f} of {:.0f} MB)", *metrics->memory_usage_percent,
                               static_cast<double>(*metrics->memory_usage_bytes) / kMib, limit));
  }
  line("cpu, all", fmt::format("{:.1f} s", metrics->lifetime_cpu_seconds));
  line("memory, all", fmt::format("{:.1f} GB s", metrics->lifetime_gb_seconds));
  return kExitOk;
}

}  // namespace orkestr::cli
