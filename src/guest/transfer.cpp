#include "guest/transfer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "guest/files.hpp"

namespace orkestr::guest {
namespace {

constexpr std::size_t kListChunk = 32U << 10U;

void send_error(Outlet& outlet, const Error& error) {
  outlet.send(wire::Type::error, wire::ErrorMessage::from(error).encode());
}

Error cancelled(std::string_view what, std::string_view path) {
  return Error(ErrorCode::cancelled, fmt::format("{} '{}': cancelled", what, path));
}

Error not_regular(std::string_view what, std::string_view path) {
  return Error(
      ErrorCode::invalid_argument,
      fmt::format("{} '{}': it is a device, a pipe or a socket; only regular files are transferred", what, path));
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

}  // namespace

Result<std::unique_ptr<FileRead>> FileRead::start(Link& link, std::uint32_t id, const wire::FileRequest& request) {
  std::unique_ptr<FileRead> read(new FileRead(link, id, request.path));
  // Non-blocking: to open a pipe nobody writes to must not stop the agent.
  read->file_.reset(::open(request.path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!read->file_) {
    if (errno == ENXIO) return not_regular("read", request.path);
    return file_error("read", request.path, errno);
  }
  struct stat status {};
  if (::fstat(read->file_.get(), &status) != 0) return file_error("read", request.path, errno);
  if (S_ISDIR(status.st_mode)) return file_error("read", request.path, EISDIR);
  if (!S_ISREG(status.st_mode)) return not_regular("read", request.path);
  return read;
}

bool FileRead::produce() {
  const std::size_t asked = std::min(kFrameData, outlet_.allowance());
  if (finished_ || asked == 0) return false;
  const auto flags = static_cast<std::uint8_t>(wire::Stream::output);
  auto frame = wire::OutFrame::with_room(wire::Type::data, outlet_.id(), asked, flags);
  const ssize_t n = ::read(file_.get(), frame.payload(), asked);
  if (n < 0 && errno == EINTR) return true;
  if (n < 0) {
    fail(file_error("read", path_, errno));
    return false;
  }
  frame.shrink(static_cast<std::size_t>(n));
  if (n == 0) frame.set_flags(flags | wire::kEndOfStream);
  outlet_.send_data(std::move(frame));
  if (n > 0) return true;
  finished_ = true;
  outlet_.send(wire::Type::result, {});
  return false;
}

void FileRead::cancel() {
  if (!finished_) fail(cancelled("read", path_));
}

void FileRead::fail(const Error& error) {
  finished_ = true;
  send_error(outlet_, error);
}

Result<std::unique_ptr<FileWrite>> FileWrite::start(Link& link, std::uint32_t id, const wire::FileRequest& request) {
  std::unique_ptr<FileWrite> write(new FileWrite(link, id));
  ORKESTR_CHECK(write->open(request));
  return write;
}

Result<void> FileWrite::open(const wire::FileRequest& request) {
  path_ = request.path;
  if (request.mode != 0) mode_ = static_cast<mode_t>(request.mode & 07777U);
  struct stat status {};
  if (::stat(path_.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) return file_error("write", path_, EISDIR);
    if (!S_ISREG(status.st_mode)) return not_regular("write", path_);
    // A link stays a link: the file it leads to is the one that is replaced.
    char target[PATH_MAX];
    if (::lstat(path_.c_str(), &status) == 0 && S_ISLNK(status.st_mode) &&
        ::realpath(path_.c_str(), target) != nullptr) {
      path_ = target;
    }
  } else if (path_.back() == '/') {
    return file_error("write", path_, EISDIR);
  }
  const std::string parent = parent_of(path_);
  ORKESTR_CHECK(base::make_directories(parent, 0755));
  std::string random;
  for (const char c : base::random_bytes(8)) random += fmt::format("{:02x}", static_cast<unsigned char>(c));
  const std::string partial = fmt::format("{}/.orkestr-{}", parent, random);
  file_ = FileSink(base::UniqueFd(::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)));
  if (!file_) return file_error("write", path_, errno);
  partial_ = partial;
  return {};
}

FileWrite::~FileWrite() {
  if (!partial_.empty()) ::unlink(partial_.c_str());
}

bool FileWrite::on_input(std::string_view bytes, bool end) {
  if (finished_) return true;  // it failed while this was on its way
  if (!inlet_.accept(bytes.size(), end)) return false;
  auto done = write(bytes);
  if (done && end) done = complete();
  if (!done) {
    fail(done.error());
  } else if (end) {
    finished_ = true;
    outlet_.send(wire::Type::result, {});
  } else {
    inlet_.consumed(bytes.size());
  }
  return true;
}

Result<void> FileWrite::write(std::string_view bytes) {
  if (const int failed = file_.write(bytes); failed != 0) return file_error("write", path_, failed);
  return {};
}

Result<void> FileWrite::complete() {
  if (const int failed = file_.finish(); failed != 0) return file_error("write", path_, failed);
  if (::fchmod(file_.fd(), mode_) != 0) return file_error("set the mode of", path_, errno);
  if (::rename(partial_.c_str(), path_.c_str()) != 0) return file_error("write", path_, errno);
  partial_.clear();
  return {};
}

void FileWrite::cancel() {
  if (!finished_) fail(cancelled("write", path_));
}

void FileWrite::fail(const Error& error) {
  finished_ = true;
  send_error(outlet_, error);
}

Result<std::unique_ptr<FileList>> FileList::start(Link& link, std::uint32_t id, const wire::FileRequest& request) {
  std::unique_ptr<FileList> list(new FileList(link, id, request.path));
  base::UniqueFd fd(::open(request.path.c_str(), O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return file_error("list", request.path, errno);
  list->directory_.reset(::fdopendir(fd.get()));
  if (!list->directory_) return file_error("list", request.path, errno);
  fd.release();
  return list;
}

bool FileList::produce() {
  const std::size_t allowed = outlet_.allowance();
  if (finished_ || (allowed == 0 && !pending_.empty())) return false;
  if (auto refilled = refill(); !refilled) {
    fail(refilled.error());
    return false;
  }
  if (allowed == 0 && !pending_.empty()) return false;
  const std::size_t count = std::min({pending_.size(), allowed, kFrameData});
  const bool last = complete_ && count == pending_.size();
  outlet_.send_data(
      wire::data_frame(outlet_.id(), wire::Stream::output, std::string_view(pending_).substr(0, count), last));
  pending_.erase(0, count);
  if (!last) return true;
  finished_ = true;
  outlet_.send(wire::Type::result, {});
  return false;
}

Result<void> FileList::refill() {
  while (!complete_ && pending_.size() < kListChunk) {
    errno = 0;
    const dirent* entry = ::readdir(directory_.get());
    if (entry == nullptr) {
      if (errno != 0) return file_error("list", path_, errno);
      complete_ = true;
    } else {
      append_entry(entry->d_name);
    }
  }
  return {};
}

void FileList::append_entry(const char* name) {
  const std::string_view text = name;
  if (text == "." || text == "..") return;
  const int fd = ::dirfd(directory_.get());
  struct stat status {};
  // A link that leads nowhere is listed as itself; an entry that went meanwhile is not listed.
  if (::fstatat(fd, name, &status, 0) != 0 && ::fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return;
  const std::string info = file_info_of(std::string(text), status).encode();
  char length[4];
  wire::store_u32(length, static_cast<std::uint32_t>(info.size()));
  pending_.append(length, sizeof length).append(info);
}

void FileList::cancel() {
  if (!finished_) fail(cancelled("list", path_));
}

void FileList::fail(const Error& error) {
  finished_ = true;
  send_error(outlet_, error);
}

}  // namespace orkestr::guest
