// LocalSession: what the sandbox uses. Its supervisor measures; of one that has no machine the record tells the rest.
#include <algorithm>

#include "local/session.hpp"
#include "wire/command_message.hpp"

namespace orkestr::local {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(20'000);
constexpr double kMicros = 1e6;
constexpr double kMibPerGb = 1024;

TimePoint from_ms(std::int64_t ms) { return TimePoint(std::chrono::milliseconds(ms)); }
double seconds_of(std::uint64_t ms) { return static_cast<double>(ms) / 1000; }

Metrics base_of(const registry::Record& record) {
  Metrics metrics;
  metrics.sandbox_id = record.id;
  metrics.status = parse_status(record.status).ok() ? *parse_status(record.status) : Status::failed;
  metrics.as_of = std::chrono::system_clock::now();
  metrics.cpu_cores = record.cpu;
  metrics.memory_limit_bytes = static_cast<std::uint64_t>(record.memory_mb) << 20U;
  return metrics;
}

Metrics without_machine(const registry::Record& record) {
  Metrics metrics = base_of(record);
  metrics.lifetime_cpu_seconds = static_cast<double>(std::max<std::int64_t>(0, record.cpu_ms)) / 1000;
  // (A supervisor that was killed has not said how long it had lived.)
  const std::int64_t lived =
      std::max(record.alive_ms, record.alive_ms == 0 ? record.ended_at_ms - record.created_at_ms : 0);
  metrics.lifetime_gb_seconds = static_cast<double>(record.memory_mb) / kMibPerGb *
                                seconds_of(static_cast<std::uint64_t>(std::max<std::int64_t>(0, lived)));
  return metrics;
}

Metrics live(const registry::Record& record, const wire::MetricsMessage& message) {
  Metrics metrics = base_of(record);
  const double cores = static_cast<double>(message.cpu_micros) / kMicros;
  metrics.as_of = from_ms(message.as_of_ms);
  metrics.sample_interval_seconds = seconds_of(message.interval_ms);
  metrics.window_seconds = seconds_of(message.window_ms);
  metrics.cpu_cores = cores;
  metrics.memory_limit_bytes = message.memory_limit_bytes;
  metrics.lifetime_cpu_seconds = static_cast<double>(message.lifetime_cpu_us) / kMicros;
  metrics.lifetime_gb_seconds =
      static_cast<double>(message.memory_limit_bytes) / (1U << 30U) * seconds_of(message.lifetime_ms);
  for (const auto& sample : message.samples) {
    const double used = static_cast<double>(sample.cpu_micros) / kMicros;
    metrics.samples.push_back({from_ms(sample.time_ms), cores > 0 ? used / cores * 100 : 0, sample.memory_bytes});
  }
  if (message.samples.empty()) return metrics;
  const auto& now = message.samples.back();
  metrics.cpu_usage_cores = static_cast<double>(now.cpu_micros) / kMicros;
  metrics.cpu_usage_percent = metrics.samples.back().cpu_percent;
  metrics.memory_usage_bytes = now.memory_bytes;
  if (message.memory_limit_bytes > 0) {
    metrics.memory_usage_percent =
        static_cast<double>(now.memory_bytes) / static_cast<double>(message.memory_limit_bytes) * 100;
  }
  return metrics;
}

}  // namespace

CancelFunction LocalSession::metrics(std::optional<TimePoint> since, Completion<Metrics> done) {
  auto entry = registry::inspect(link_->sandboxes_dir(), link_->id());
  if (!entry || entry->record.status != "running") {
    done(entry ? Result<Metrics>(without_machine(entry->record)) : Result<Metrics>(entry.error()));
    return [] {};
  }
  wire::MetricsRequest request;
  if (since) {
    request.since_ms =
        std::max<std::int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(since->time_since_epoch()).count());
  }
  CallRequest call;
  call.type = wire::Type::metrics;
  call.payload = request.encode();
  call.patience = {kPatience, true};
  call.what = "metrics";
  return ask(std::move(call), [since, record = entry->record, done = std::move(done)](Result<std::string> payload) {
    if (!payload) return done(payload.error());
    auto message = wire::MetricsMessage::decode(*payload);
    if (!message) return done(message.error());
    Metrics metrics = live(record, *message);
    if (since) std::erase_if(metrics.samples, [&](const MetricsSample& sample) { return sample.time < *since; });
    done(std::move(metrics));
  });
}

}  // namespace orkestr::local
