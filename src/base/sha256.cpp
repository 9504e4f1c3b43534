#include "base/sha256.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <nettle/hmac.h>
#include <nettle/sha2.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::base {
namespace {

using Digest = std::array<std::uint8_t, SHA256_DIGEST_SIZE>;

std::string hex_of(const Digest& digest) {
  std::string text;
  text.reserve(2 * digest.size());
  for (auto byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

const std::uint8_t* bytes_of(std::string_view text) { return reinterpret_cast<const std::uint8_t*>(text.data()); }

class Sha256 {
 public:
  Sha256() { ::sha256_init(&state_); }
  void update(std::string_view bytes) { ::sha256_update(&state_, bytes.size(), bytes_of(bytes)); }
  std::string hex() {
    Digest digest{};
    ::sha256_digest(&state_, digest.size(), digest.data());
    return hex_of(digest);
  }

 private:
  sha256_ctx state_;
};

}  // namespace

std::string sha256_hex(std::string_view bytes) {
  Sha256 sum;
  sum.update(bytes);
  return sum.hex();
}

std::string hmac_sha256_hex(std::string_view key, std::string_view bytes) {
  hmac_sha256_ctx state;
  ::hmac_sha256_set_key(&state, key.size(), bytes_of(key));
  ::hmac_sha256_update(&state, bytes.size(), bytes_of(bytes));
  Digest digest{};
  ::hmac_sha256_digest(&state, digest.size(), digest.data());
  return hex_of(digest);
}

Result<std::string> sha256_file(const std::string& path, const std::stop_token& stop) {
  ORKESTR_TRY(auto file, open_at(AT_FDCWD, path, O_RDONLY));
  Sha256 sum;
  std::vector<char> buffer(256U << 10U);
  for (;;) {
    if (stop.stop_requested()) return Error(ErrorCode::cancelled, fmt::format("read {}: cancelled", path));
    ssize_t n = ::read(file.get(), buffer.data(), buffer.size());
    if (n == 0) return sum.hex();
    if (n > 0) {
      sum.update({buffer.data(), static_cast<std::size_t>(n)});
    } else if (errno != EINTR) {
      return errno_error(fmt::format("read {}", path), errno);
    }
  }
}

}  // namespace orkestr::base
