// How values are shown, by several commands.
#pragma once

#include <string>

#include "base/json.hpp"
#include "orkestr/sandbox.hpp"

namespace orkestr::cli {

// "2026-11-21T06:14:07.000Z"
std::string time_text(TimePoint time);
// The object that `ls --json` and `inspect --json` show.
void write(base::JsonWriter& json, const SandboxInfo& info);

}  // namespace orkestr::cli
