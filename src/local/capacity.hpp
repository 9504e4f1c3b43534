// How many sandboxes this machine takes: by configuration, by its cores and memory, and by what is free now.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "orkestr/error.hpp"
#include "orkestr/limits.hpp"

namespace orkestr::local {

// What the rules need to know of a host.
struct HostFigures {
  int cores = 1;
  std::int64_t memory_mb = 0;     // in all
  std::int64_t available_mb = 0;  // without swapping
};
// From /proc/meminfo (MemTotal and MemAvailable, kB), else zeros.
HostFigures read_host_figures();
HostFigures parse_meminfo(std::string_view meminfo, int cores);

struct CapacitySettings {
  int max_sandboxes = 0;    // ORKESTR_MAX_SANDBOXES; 0: by the host
  int max_snapshots = 100;  // ORKESTR_MAX_SNAPSHOTS
};
// invalid_argument names the variable, its value and what is allowed.
Result<CapacitySettings> read_capacity_settings();

// A sandbox that idles takes about 30 MB of the host and a vCPU it does not use, so many more than would fit with all
// their memory in use may run: 64 a core, as long as the host has 160 MB for each. Pure.
int max_concurrent(const CapacitySettings& settings, const HostFigures& host);

// Before anything is started: plan_limit when `running` sandboxes are as many as may be, or the machine has less than
// the memory of this one and a reserve of 512 MB; fleet_full_retry when less than that is available now. Pure.
Result<void> check_capacity(int running, std::int64_t memory_mb, const CapacitySettings& settings,
                            const HostFigures& host);

Limits local_limits(const CapacitySettings& settings, const HostFigures& host);

}  // namespace orkestr::local
