// Named places where a test can have this process fail: ORKESTR_FAILPOINT=NAME:kill (SIGKILL to itself), NAME:stop (it
// hangs) or NAME:error (as if the disk were full there). Without the variable a failpoint is one comparison.
#pragma once

#include <array>
#include <string_view>

#include "orkestr/error.hpp"

namespace orkestr::supervisor {

// All of them, in the order in which a sandbox passes them. `orkestr-supervisor --failpoints` prints them, and a test
// walks through every one.
inline constexpr std::array<std::string_view, 23> kFailpoints = {
    "snapshot.booted", "snapshot.stopped", "snapshot.devices", "snapshot.memory", "snapshot.layer", "snapshot.named",
    "pause.links",     "pause.stopped",    "pause.devices",    "pause.pages",     "pause.manifest", "pause.named",
    "resume.claimed",  "resume.disk",      "resume.running",   "pool.slot",       "pool.directory", "pool.booted",
    "pool.stopped",    "pool.claimed",     "pool.named",       "pool.held",       "pool.identified"};

// Passes the failpoint `name`, which must be one of these.
Result<void> failpoint(std::string_view name);

}  // namespace orkestr::supervisor
