#include "cli/words.hpp"

#include <charconv>

namespace orkestr::cli {

std::optional<double> parse_seconds(std::string_view text) {
  constexpr std::string_view kUnits = "smhd";
  constexpr double kSeconds[] = {1, 60, 3600, 86400};
  constexpr double kMost = 100'000'000;
  double count = 0;
  const char* end = text.data() + text.size();
  const auto number = std::from_chars(text.data(), end, count, std::chars_format::fixed);
  if (number.ec != std::errc() || end - number.ptr > 1) return std::nullopt;
  if (number.ptr != end) {
    const auto unit = kUnits.find(*number.ptr);
    if (unit == std::string_view::npos) return std::nullopt;
    count *= kSeconds[unit];
  }
  return count >= 0 && count < kMost ? std::optional(count) : std::nullopt;  // (not for NaN)
}

std::string quoted(const std::string& word) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string shell_line(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + quoted(word);
  return line;
}

}  // namespace orkestr::cli
