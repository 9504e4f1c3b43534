// Times as the service writes them: ISO 8601 with 0 to 9 digits of a second, `Z` or an offset; without either it is
// UTC.
#pragma once

#include <optional>
#include <string_view>

#include "orkestr/options.hpp"

namespace orkestr::remote {

// Nothing for what is no such time, or lies outside of the years 1970 to 9999. A leap second is the next second.
std::optional<TimePoint> parse_time(std::string_view text);

}  // namespace orkestr::remote
