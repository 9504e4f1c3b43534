// The rows about a sandbox's life: create, pause, resume, many at once.
#pragma once

#include <functional>

#include "rows.hpp"

namespace orkestr::bench {

// `floor` takes one more sample of the floor: this machine's speed drifts, so each create has one beside it.
Result<void> measure_life(const Plan& plan, Report& report, const std::function<Result<void>()>& floor);

}  // namespace orkestr::bench
