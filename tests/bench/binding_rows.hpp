// The rows about the bindings: each is measured in a process of its own, beside C++ in the same sandbox.
#pragma once

#include <functional>

#include "orkestr/orkestr.hpp"
#include "rows.hpp"

namespace orkestr::bench {

// The round trip of an exec elsewhere over that through C++, a few of each in turns; `elsewhere` gives milliseconds.
Result<double> exec_ratio(const Sandbox& sandbox, const std::function<Result<double>()>& elsewhere);

// MiB that this process grows by while 1 GiB comes; `pour` lets so many MiB of output come, and is called before, too.
Result<double> memory_growth(const std::function<Result<void>(std::size_t mib)>& pour);

bool wants_bindings(const Plan& plan);

// `stdout_memory`: what this process grows by while 1 GiB of output comes. The same of Python and Node
// (`python_stdout_memory`, `node_stdout_memory`); `*_exec` as `capi_exec`; `*_streams_500`: as many commands at once,
// until the last one's output is there; `*_upload`, `*_download`, `*_stdout`: 256 MiB. These need the checkout, and are
// left out with a word without it.
Result<void> measure_bindings(const Plan& plan, const Sandbox& sandbox, Report& report);

}  // namespace orkestr::bench
