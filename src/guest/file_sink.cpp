#include "guest/file_sink.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace orkestr::guest {
namespace {

constexpr std::size_t kCachedHead = 1U << 20U;
constexpr std::size_t kPiece = 512U << 10U;
constexpr std::size_t kAlignment = 4096;  // of memory, offsets and lengths: what any disk asks for

}  // namespace

int FileSink::write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (!direct_) return write_plainly(bytes);
    if (written_ < kCachedHead) {
      const auto part = bytes.substr(0, kCachedHead - written_);
      if (const int failed = write_plainly(part); failed != 0) return failed;
      bytes.remove_prefix(part.size());
      continue;
    }
    if (!piece_) {
      piece_.reset(static_cast<char*>(std::aligned_alloc(kAlignment, kPiece)));
      if (!piece_ || !set_direct(true)) {
        piece_.reset();
        direct_ = false;
        continue;
      }
    }
    const auto part = bytes.substr(0, kPiece - held_);
    std::memcpy(piece_.get() + held_, part.data(), part.size());
    held_ += part.size();
    bytes.remove_prefix(part.size());
    if (held_ < kPiece) continue;
    if (const int failed = write_piece(); failed != 0) return failed;
  }
  return 0;
}

int FileSink::finish() {
  if (!piece_) return 0;
  if (!set_direct(false)) return errno;
  const int failed = write_plainly({piece_.get(), held_});
  piece_.reset();
  return failed;
}

int FileSink::write_plainly(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    written_ += static_cast<std::size_t>(n);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

int FileSink::write_piece() {
  ssize_t n = -1;
  do {
    n = ::write(file_.get(), piece_.get(), kPiece);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno != EINVAL) return errno;
  const auto done = static_cast<std::size_t>(std::max<ssize_t>(n, 0));
  written_ += done;
  held_ = 0;
  if (done == kPiece) return 0;
  // Refused after all, or cut short at an odd place (a disk that fills up): the rest goes the ordinary way.
  direct_ = false;
  if (!set_direct(false)) return errno;
  const int failed = write_plainly({piece_.get() + done, kPiece - done});
  piece_.reset();
  return failed;
}

bool FileSink::set_direct(bool on) {
  const int flags = ::fcntl(file_.get(), F_GETFL);
  return flags >= 0 && ::fcntl(file_.get(), F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

}  // namespace orkestr::guest
