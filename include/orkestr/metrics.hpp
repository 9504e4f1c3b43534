// What a sandbox uses: now, lately, and in all its life.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <orkestr/options.hpp>
#include <string>
#include <vector>

namespace orkestr {

struct MetricsSample {
  TimePoint time;
  double cpu_percent = 0;  // of all allocated CPUs together
  std::uint64_t memory_bytes = 0;
};

// From Sandbox::metrics(). Without a live machine (paused, ended) the optional fields are empty and there are no
// samples.
struct Metrics {
  std::string sandbox_id;
  Status status = Status::running;
  TimePoint as_of;
  double sample_interval_seconds = 0;
  double window_seconds = 0;  // how far back samples reach: about a minute
  double cpu_cores = 0;       // allocated
  std::optional<double> cpu_usage_cores;
  std::optional<double> cpu_usage_percent;  // of all allocated CPUs together
  std::uint64_t memory_limit_bytes = 0;
  std::optional<std::uint64_t> memory_usage_bytes;  // the guest's working set: used, without what caches could give up
  std::optional<double> memory_usage_percent;
  double lifetime_cpu_seconds = 0;
  double lifetime_gb_seconds = 0;      // allocated memory times time alive
  std::vector<MetricsSample> samples;  // oldest first
};

}  // namespace orkestr
