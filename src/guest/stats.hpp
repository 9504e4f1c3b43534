// What the machine as a whole uses.
#pragma once

#include "orkestr/error.hpp"
#include "wire/command_message.hpp"

namespace orkestr::guest {

// From /proc/meminfo: all memory, and what of it is in use beyond what caches would give up.
Result<wire::StatsMessage> memory_stats();

}  // namespace orkestr::guest
