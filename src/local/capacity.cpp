#include "local/capacity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <thread>

#include "base/file.hpp"
#include "base/try.hpp"

namespace orkestr::local {
namespace {

constexpr int kSandboxesPerCore = 64;
constexpr std::int64_t kIdleMb = 160;
constexpr std::int64_t kReserveMb = 512;
constexpr int kMost = 100'000;

// "MemTotal:       24689088 kB"
std::int64_t field_mb(std::string_view meminfo, std::string_view name) {
  const auto at = meminfo.find(name);
  if (at == std::string_view::npos) return 0;
  std::string_view rest = meminfo.substr(at + name.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
  std::int64_t kb = 0;
  std::from_chars(rest.data(), rest.data() + rest.size(), kb);
  return kb / 1024;
}

Result<int> setting(const char* name, int fallback) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return fallback;
  const std::string_view text = value;
  int number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && number >= 1 && number <= kMost) {
    return number;
  }
  return Error(ErrorCode::invalid_argument,
               fmt::format("{} is '{}'; allowed are 1 to {}, or unset for {}", name, text.substr(0, 64), kMost,
                           fallback == 0 ? "what fits this machine" : std::to_string(fallback)));
}

}  // namespace

HostFigures parse_meminfo(std::string_view meminfo, int cores) {
  return {std::max(cores, 1), field_mb(meminfo, "MemTotal:"), field_mb(meminfo, "MemAvailable:")};
}

HostFigures read_host_figures() {
  const auto text = base::read_file("/proc/meminfo", 64U << 10U);
  return parse_meminfo(text ? *text : "", static_cast<int>(std::thread::hardware_concurrency()));
}

Result<CapacitySettings> read_capacity_settings() {
  CapacitySettings settings;
  ORKESTR_TRY(settings.max_sandboxes, setting("ORKESTR_MAX_SANDBOXES", settings.max_sandboxes));
  ORKESTR_TRY(settings.max_snapshots, setting("ORKESTR_MAX_SNAPSHOTS", settings.max_snapshots));
  return settings;
}

int max_concurrent(const CapacitySettings& settings, const HostFigures& host) {
  if (settings.max_sandboxes > 0) return settings.max_sandboxes;
  const std::int64_t by_memory = host.memory_mb / kIdleMb;
  return static_cast<int>(std::clamp<std::int64_t>(by_memory, 1, std::int64_t{host.cores} * kSandboxesPerCore));
}

Result<void> check_capacity(int running, std::int64_t memory_mb, const CapacitySettings& settings,
                            const HostFigures& host) {
  const int most = max_concurrent(settings, host);
  if (running >= most) {
    return Error(ErrorCode::plan_limit,
                 fmt::format("{} sandboxes run on this machine, as many as may be; terminate some, or raise "
                             "ORKESTR_MAX_SANDBOXES",
                             running));
  }
  const std::int64_t needed = memory_mb + kReserveMb;
  if (host.memory_mb != 0 && host.memory_mb < needed) {
    return Error(ErrorCode::plan_limit,
                 fmt::format("this machine has {} MB of memory in all; a sandbox with memory_mb={} needs {} to start. "
                             "Ask for less memory",
                             host.memory_mb, memory_mb, needed));
  }
  if (host.available_mb == 0 || host.available_mb >= needed) return {};
  ErrorDetails details;
  details.retry_after = 2;
  return Error(
      ErrorCode::fleet_full_retry,
      fmt::format("this machine has {} MB of memory available; a sandbox with memory_mb={} needs {} to start. Ask "
                  "for less memory, end something, or try again later",
                  host.available_mb, memory_mb, needed),
      std::move(details));
}

Limits local_limits(const CapacitySettings& settings, const HostFigures& host) {
  Limits limits;
  limits.plan = "local";
  limits.max_concurrent = max_concurrent(settings, host);
  limits.max_snapshots = settings.max_snapshots;
  limits.sizes = {{"small", 1, 1024, true}, {"medium", 2, 4096, true}, {"large", 4, 8192, true}};
  for (auto& size : limits.sizes) {
    size.allowed = host.memory_mb == 0 || size.memory_mb + kReserveMb <= host.memory_mb;
    if (size.allowed) limits.allowed_sizes.push_back(size.size);
  }
  limits.max_timeout = std::chrono::hours(24);
  return limits;
}

}  // namespace orkestr::local
