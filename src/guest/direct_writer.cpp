#include "guest/direct_writer.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace orkestr::guest {
namespace {

constexpr std::size_t kAlignment = 4096;  // of memory, offsets and lengths: what any disk asks for
// A write beyond the end of an ext4 file is waited for, whoever asks; so the end is moved ahead of it.
constexpr std::size_t kReserve = 64U << 20U;

}  // namespace

int write_at(int fd, std::string_view bytes, std::size_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    offset += static_cast<std::size_t>(n);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

DirectWriter::DirectWriter(int fd, std::size_t offset) : fd_(fd), written_(offset), reserved_(offset) {
  if (::syscall(SYS_io_setup, 1, &context_) != 0) context_ = 0;
  if (context_ != 0 && !set_direct(true)) stop_being_direct();
}

DirectWriter::~DirectWriter() { stop_being_direct(); }

int DirectWriter::write(std::string_view bytes) {
  while (!bytes.empty()) {
    Piece& piece = pieces_[filling_];
    if (!piece) piece.reset(static_cast<char*>(std::aligned_alloc(kAlignment, kPiece)));
    if (!piece) return ENOMEM;
    const auto part = bytes.substr(0, kPiece - held_);
    std::memcpy(piece.get() + held_, part.data(), part.size());
    held_ += part.size();
    bytes.remove_prefix(part.size());
    if (held_ < kPiece) continue;
    if (const int failed = start_piece(); failed != 0) return failed;
  }
  return 0;
}

int DirectWriter::start_piece() {
  if (const int failed = await_piece(); failed != 0) return failed;
  char* data = pieces_[filling_].get();
  held_ = 0;
  if (context_ != 0 && written_ + kPiece > reserved_) {
    reserved_ = written_ + kReserve;
    if (::ftruncate(fd_, static_cast<off_t>(reserved_)) != 0) stop_being_direct();
  }
  if (context_ != 0) {
    iocb request{};
    request.aio_lio_opcode = IOCB_CMD_PWRITE;
    request.aio_fildes = static_cast<std::uint32_t>(fd_);
    request.aio_buf = reinterpret_cast<std::uintptr_t>(data);
    request.aio_nbytes = kPiece;
    request.aio_offset = static_cast<std::int64_t>(written_);
    iocb* requests[] = {&request};
    if (::syscall(SYS_io_submit, context_, 1, requests) == 1) {
      under_way_ = true;
      filling_ = 1 - filling_;
      return 0;
    }
    stop_being_direct();
  }
  const int failed = write_at(fd_, {data, kPiece}, written_);
  written_ += kPiece;
  return failed;
}

int DirectWriter::await_piece() {
  if (!under_way_) return 0;
  io_event event{};
  long count = 0;
  do {
    count = ::syscall(SYS_io_getevents, context_, 1, 1, &event, nullptr);
  } while (count < 0 && errno == EINTR);
  if (count != 1) return count < 0 ? errno : EIO;
  under_way_ = false;
  const std::int64_t outcome = event.res;
  if (outcome < 0 && outcome != -EINVAL) return static_cast<int>(-outcome);
  const auto done = static_cast<std::size_t>(std::max<std::int64_t>(outcome, 0));
  int failed = 0;
  if (done < kPiece) {
    // Refused after all, or cut short at an odd place (a disk that fills up): the rest goes the ordinary way.
    stop_being_direct();
    failed = write_at(fd_, {pieces_[1 - filling_].get() + done, kPiece - done}, written_ + done);
  }
  written_ += kPiece;
  return failed;
}

int DirectWriter::finish() {
  if (const int failed = await_piece(); failed != 0) return failed;
  stop_being_direct();
  if (const int failed = write_at(fd_, {pieces_[filling_].get(), held_}, written_); failed != 0) return failed;
  written_ += held_;
  return ::ftruncate(fd_, static_cast<off_t>(written_)) == 0 ? 0 : errno;
}

bool DirectWriter::set_direct(bool on) {
  const int flags = ::fcntl(fd_, F_GETFL);
  return flags >= 0 && ::fcntl(fd_, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

void DirectWriter::stop_being_direct() {
  if (context_ == 0) return;
  ::syscall(SYS_io_destroy, context_);  // waits for what is under way
  context_ = 0;
  under_way_ = false;
  static_cast<void>(set_direct(false));
}

}  // namespace orkestr::guest
