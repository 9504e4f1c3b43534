#include "base/id.hpp"

#include <algorithm>

#include "base/system.hpp"

namespace orkestr::base {
namespace {

constexpr std::string_view kCrockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::size_t kUlidLength = 26;
constexpr std::size_t kTimeLength = 10;
constexpr std::int64_t kMaxTime = (std::int64_t{1} << 48) - 1;
constexpr std::string_view kSandboxPrefix = "sbx_";

}  // namespace

std::string make_ulid(std::int64_t wall_ms) {
  std::string text(kUlidLength, '0');
  auto time = static_cast<std::uint64_t>(std::clamp<std::int64_t>(wall_ms, 0, kMaxTime));
  for (std::size_t i = kTimeLength; i-- > 0; time >>= 5) text[i] = kCrockford[time & 31];
  // One byte a character wastes three of its bits and needs no arithmetic across bytes.
  std::string random = random_bytes(kUlidLength - kTimeLength);
  for (std::size_t i = 0; i < random.size(); ++i) {
    text[kTimeLength + i] = kCrockford[static_cast<unsigned char>(random[i]) & 31];
  }
  return text;
}

bool is_ulid(std::string_view text) {
  return text.size() == kUlidLength && text[0] <= '7' &&
         std::all_of(text.begin(), text.end(), [](char c) { return kCrockford.find(c) != std::string_view::npos; });
}

std::string make_sandbox_id() { return std::string(kSandboxPrefix) + make_ulid(wall_clock_ms()); }

bool is_sandbox_id(std::string_view text) {
  return text.substr(0, kSandboxPrefix.size()) == kSandboxPrefix && is_ulid(text.substr(kSandboxPrefix.size()));
}

bool is_plain_id(std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f && c != '/'; });
  return plain && !text.empty() && text.size() <= 128 && text != "." && text != "..";
}

}  // namespace orkestr::base
