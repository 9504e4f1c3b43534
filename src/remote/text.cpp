#include "remote/text.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace orkestr::remote {
namespace {

constexpr std::size_t kMaxKeptBytes = 16U << 10U;

// Cut between characters.
void cut(std::string& text, std::size_t most) {
  if (text.size() <= most) return;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0U) == 0x80) --most;
  text.resize(most);
}

}  // namespace

std::string without_key(std::string_view text, std::string_view key) {
  std::string clean;
  while (!key.empty()) {
    const auto at = text.find(key);
    if (at == std::string_view::npos) break;
    clean.append(text.substr(0, at)).append("…");
    text.remove_prefix(at + key.size());
  }
  return clean.append(text);
}

std::string shown(std::string_view text, std::string_view key, std::size_t most_bytes) {
  std::string out = without_key(text, key);
  cut(out, most_bytes);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return out;
}

std::string kept(std::string_view text, std::string_view key) {
  std::string out = without_key(text, key);
  cut(out, kMaxKeptBytes);
  return out;
}

std::string shown_request(std::string_view request_id, std::string_view key) { return shown(request_id, key, 128); }

std::string facts(int status, std::string_view code, std::string_view request_id) {
  std::string all;
  const auto add = [&all](std::string_view name, std::string_view value) {
    if (!value.empty()) all += fmt::format("{}{} {}", all.empty() ? " (" : ", ", name, value);
  };
  if (status != 0) add("HTTP", std::to_string(status));
  add("code", code);
  add("request", request_id);
  return all.empty() ? all : all + ")";
}

}  // namespace orkestr::remote
