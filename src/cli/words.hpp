// Words of a command line: what they mean, and how a shell wants them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace orkestr::cli {

// Seconds of "90", "0.5", "90s", "5m", "2h" or "1d"; nothing for anything else, below 0 or beyond three years.
std::optional<double> parse_seconds(std::string_view text);

// One word as a shell takes it: in quotes only where it must be.
std::string quoted(const std::string& word);
std::string shell_line(const std::vector<std::string>& words);

}  // namespace orkestr::cli
