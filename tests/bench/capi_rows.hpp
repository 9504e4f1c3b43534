// The rows about the C interface.
#pragma once

#include "orkestr/orkestr.hpp"
#include "rows.hpp"

namespace orkestr::bench {

// `capi_exec`: the round trip of an exec through C over that through C++, taken in turns. `capi_upload`,
// `capi_download` and `capi_stdout`: 256 MiB through C. `capi_stdout_memory`: as `stdout_memory`, through C.
Result<void> measure_capi(const Plan& plan, const Sandbox& sandbox, Report& report);

}  // namespace orkestr::bench
