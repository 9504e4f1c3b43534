// What the end of a command means: a result, or exec_timeout, exec_killed, cancelled. One place for all backends.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "backend.hpp"

namespace orkestr::core {

// Nothing when the command ended by itself; then the output is left where it is. Else it moves into the details.
std::optional<Error> error_of(const CommandEnd& end, std::chrono::milliseconds timeout, std::string&& stdout_data,
                              std::string&& stderr_data);

}  // namespace orkestr::core
