// How much memory this machine has left.
#pragma once

#include <cstdint>

namespace orkestr::base {

// MemAvailable of /proc/meminfo, in MiB: what can be had without swapping. 0 where it cannot be read.
std::int64_t available_memory_mb();

}  // namespace orkestr::base
