#include "remote/base64.hpp"

#include <array>
#include <cstdint>

namespace orkestr::remote {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNone = 0xff;

constexpr std::array<std::uint8_t, 256> make_values() {
  std::array<std::uint8_t, 256> values{};
  for (auto& value : values) value = kNone;
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}
constexpr auto kValues = make_values();

}  // namespace

void base64_append(std::string& to, std::string_view bytes) {
  const std::size_t start = to.size();
  to.resize(start + (bytes.size() + 2) / 3 * 4);
  char* out = to.data() + start;
  std::size_t i = 0;
  auto byte = [&](std::size_t at) { return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at])); };
  for (; i + 3 <= bytes.size(); i += 3) {
    const std::uint32_t group = byte(i) << 16U | byte(i + 1) << 8U | byte(i + 2);
    *out++ = kAlphabet[group >> 18U];
    *out++ = kAlphabet[group >> 12U & 63U];
    *out++ = kAlphabet[group >> 6U & 63U];
    *out++ = kAlphabet[group & 63U];
  }
  if (i == bytes.size()) return;
  const bool two = bytes.size() - i == 2;
  const std::uint32_t group = byte(i) << 16U | (two ? byte(i + 1) << 8U : 0);
  *out++ = kAlphabet[group >> 18U];
  *out++ = kAlphabet[group >> 12U & 63U];
  *out++ = two ? kAlphabet[group >> 6U & 63U] : '=';
  *out++ = '=';
}

std::string base64_encode(std::string_view bytes) {
  std::string text;
  base64_append(text, bytes);
  return text;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  std::string bytes;
  bytes.resize(text.size() / 4 * 3);
  char* out = bytes.data();
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::uint32_t group = 0;
    std::uint8_t bad = 0;
    const std::size_t digits = i + 4 == text.size() ? 4 - padding : 4;
    for (std::size_t k = 0; k < digits; ++k) {
      const std::uint8_t value = kValues[static_cast<unsigned char>(text[i + k])];
      bad |= value;
      group |= static_cast<std::uint32_t>(value) << (18U - 6U * k);
    }
    if ((bad & 0xc0U) != 0) return std::nullopt;
    *out++ = static_cast<char>(group >> 16U);
    *out++ = static_cast<char>(group >> 8U);
    *out++ = static_cast<char>(group);
  }
  bytes.resize(bytes.size() - padding);
  return bytes;
}

}  // namespace orkestr::remote
