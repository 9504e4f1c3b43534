#include "supervisor/masking.hpp"

#include <algorithm>

namespace orkestr::supervisor {
namespace {

constexpr std::string_view kStars = "***";
constexpr std::string_view kEllipsis = "\u2026";

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

// For use between single quotes of a shell.
std::string escape_quotes(std::string_view text) {
  std::string escaped(text);
  replace_all(escaped, "'", "'\\''");
  return escaped;
}

bool is_plain_word(std::string_view word) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  return !word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos;
}

// Length of the well-formed UTF-8 sequence at the beginning of `text`; 0 when there is none.
std::size_t utf8_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) return 1;
  std::size_t length = 0;
  unsigned low = 0x80;
  unsigned high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  }
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < low || byte > high) return 0;
    low = 0x80;
    high = 0xBF;
  }
  return length;
}

// U+0080..U+009F are control characters too, and terminals obey some of them.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character.front());
  if (character.size() == 1) return (first < 0x20 && first != '\n' && first != '\t') || first == 0x7F;
  return first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

}  // namespace

std::string mask(std::string_view text, const std::vector<const wire::EnvList*>& environments) {
  std::vector<std::string> secrets;
  for (const wire::EnvList* environment : environments) {
    for (const auto& [name, value] : *environment) {
      if (value.size() < kMinSecretBytes) continue;
      secrets.push_back(value);
      if (value.find('\'') != std::string::npos) secrets.push_back(escape_quotes(value));  // as command_line() shows it
    }
  }
  // A secret that contains another must go first, or its remainder would show.
  std::sort(secrets.begin(), secrets.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  std::string masked(text);
  for (const std::string_view secret : secrets) replace_all(masked, secret, kStars);
  if (masked.size() > kMaxLoggedBytes) {
    std::size_t keep = kMaxLoggedBytes - kEllipsis.size();
    while (keep > 0 && (static_cast<unsigned char>(masked[keep]) & 0xC0U) == 0x80U) --keep;
    masked.resize(keep);
    masked += kEllipsis;
  }
  return masked;
}

std::string command_line(const std::vector<std::string>& argv) {
  if (argv.size() == 3 && argv[0] == "/bin/bash" && argv[1] == "-c") return argv[2];
  std::string line;
  for (const std::string& word : argv) {
    if (!line.empty()) line += ' ';
    if (is_plain_word(word)) {
      line += word;
      continue;
    }
    line += '\'' + escape_quotes(word) + '\'';
  }
  return line;
}

std::string sanitised(std::string_view text, std::size_t max_bytes) {
  std::string clean;
  clean.reserve(std::min(text.size(), max_bytes));
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(length, 1));
    const bool bad = length == 0 || is_control(character);
    if (clean.size() + (bad ? 1 : length) > max_bytes) break;
    if (bad) {
      clean += '?';
    } else {
      clean += character;
    }
    text.remove_prefix(character.size());
  }
  return clean;
}

}  // namespace orkestr::supervisor
