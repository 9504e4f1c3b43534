#include "base/checksum.hpp"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::base {
namespace {

constexpr std::size_t kBlock = 64U << 10U;
constexpr std::size_t kChunk = 16 * kBlock;

bool all_zero(const char* bytes, std::size_t count) {
  return bytes[0] == 0 && std::memcmp(bytes, bytes + 1, count - 1) == 0;
}

// As many as there are, up to `count`.
Result<std::size_t> read_at(int fd, char* into, std::size_t count, off_t offset) {
  std::size_t got = 0;
  while (got < count) {
    const ssize_t n = ::pread(fd, into + got, count - got, offset + static_cast<off_t>(got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("read", errno);
    if (n == 0) break;
    got += static_cast<std::size_t>(n);
  }
  return got;
}

}  // namespace

struct Checksum::State {
  XXH3_state_t xxh;
};

Checksum::Checksum() : state_(std::make_unique<State>()) { XXH3_128bits_reset(&state_->xxh); }
Checksum::~Checksum() = default;

void Checksum::add(const void* bytes, std::size_t count) { XXH3_128bits_update(&state_->xxh, bytes, count); }

std::string Checksum::hex() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(&state_->xxh);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

Result<std::string> checksum_sparse_file(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return errno_error("stat", errno);
  Checksum sum;
  const auto size = static_cast<std::uint64_t>(info.st_size);
  sum.add(&size, sizeof size);
  std::vector<char> chunk(kChunk);
  off_t at = 0;
  while (at < info.st_size) {
    const off_t data = ::lseek(fd, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    if (data < 0) return errno_error("seek", errno);
    at = data / static_cast<off_t>(kBlock) * static_cast<off_t>(kBlock);
    ORKESTR_TRY(const std::size_t got, read_at(fd, chunk.data(), chunk.size(), at));
    if (got == 0) break;
    for (std::size_t block = 0; block < got; block += kBlock) {
      const std::size_t count = std::min(kBlock, got - block);
      if (all_zero(chunk.data() + block, count)) continue;
      const auto offset = static_cast<std::uint64_t>(at) + block;
      sum.add(&offset, sizeof offset);
      sum.add(chunk.data() + block, count);
    }
    at += static_cast<off_t>(got);
  }
  return sum.hex();
}

}  // namespace orkestr::base
