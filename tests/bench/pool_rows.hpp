// The rows about the warm pool.
#pragma once

#include <functional>

#include "rows.hpp"

namespace orkestr::bench {

// `floor` takes one more sample of the floor beside each of ours.
Result<void> measure_pool(const Plan& plan, Report& report, const std::function<Result<void>()>& floor);

}  // namespace orkestr::bench
