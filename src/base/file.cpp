#include "base/file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::base {
namespace {

constexpr std::size_t kCopyChunk = 1U << 20U;

// "a/b" → {"a", "b"}, "b" → {".", "b"}, "/b" → {"/", "b"}
std::pair<std::string, std::string> split_path(const std::string& path) {
  auto slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::string random_hex() {
  std::string hex;
  for (unsigned char byte : random_bytes(8)) hex += fmt::format("{:02x}", byte);
  return hex;
}

// Removes a temporary file unless it was renamed.
class TemporaryName {
 public:
  TemporaryName(int dir_fd, std::string name) : dir_fd_(dir_fd), name_(std::move(name)) {}
  ~TemporaryName() {
    if (!name_.empty()) ::unlinkat(dir_fd_, name_.c_str(), 0);
  }
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;
  const char* c_str() const { return name_.c_str(); }
  void keep() { name_.clear(); }

 private:
  int dir_fd_;
  std::string name_;
};

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

Result<void> copy_by_hand(int from, int to, off_t offset, off_t end) {
  std::string buffer(kCopyChunk, '\0');
  while (offset < end) {
    auto want = static_cast<std::size_t>(std::min<off_t>(end - offset, static_cast<off_t>(buffer.size())));
    ssize_t got = ::pread(from, buffer.data(), want, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(fmt::format("copy: read at byte {}", offset), errno);
    if (got == 0) return {};
    for (ssize_t done = 0; done < got;) {
      ssize_t n = ::pwrite(to, buffer.data() + done, static_cast<std::size_t>(got - done), offset + done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno_error(fmt::format("copy: write at byte {}", offset + done), errno);
      done += n;
    }
    offset += got;
  }
  return {};
}

Result<void> copy_range(int from, int to, off_t offset, off_t end) {
  while (offset < end) {
    off_t in = offset;
    off_t out = offset;
    auto want = static_cast<std::size_t>(std::min<off_t>(end - offset, off_t{1} << 30));
    ssize_t n = ::copy_file_range(from, &in, to, &out, want, 0);
    if (n > 0) {
      offset += n;
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG)) {
      return errno_error(fmt::format("copy: copy_file_range at byte {}", offset), errno);
    } else {
      // Another file system, a special file, an old kernel: what cannot be copied inside the kernel is copied here.
      return copy_by_hand(from, to, offset, end);
    }
  }
  return {};
}

Result<bool> lock_command(int fd, int command, std::int64_t byte, short type, short* found) {
  struct flock lock {};  // l_pid must be 0 for open-file-description locks
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  if (::fcntl(fd, command, &lock) != 0) {
    if (command == F_OFD_SETLK && (errno == EAGAIN || errno == EACCES)) return false;
    return errno_error(fmt::format("lock byte {} of descriptor {}", byte, fd), errno);
  }
  if (found != nullptr) *found = lock.l_type;
  return true;
}

short lock_type(LockKind kind) { return kind == LockKind::read ? F_RDLCK : F_WRLCK; }

}  // namespace

Result<UniqueFd> open_at(int dir_fd, const std::string& path, int flags, mode_t mode) {
  for (;;) {
    int fd = ::openat(dir_fd, path.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0) return UniqueFd(fd);
    if (errno != EINTR) return errno_error(fmt::format("open {}", path), errno);
  }
}

Result<std::string> read_file_at(int dir_fd, const std::string& path, std::size_t max_bytes) {
  ORKESTR_TRY(auto file, open_at(dir_fd, path, O_RDONLY | O_NOCTTY));
  auto too_long = [&] {
    return Error(ErrorCode::internal, fmt::format("read {}: longer than the {} bytes it may have", path, max_bytes));
  };
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return errno_error(fmt::format("stat {}", path), errno);
  // The size is a hint: files of /proc have none, and others may grow meanwhile.
  auto expected = S_ISREG(info.st_mode) ? static_cast<std::uint64_t>(info.st_size) : 0;
  if (expected > max_bytes) return too_long();
  std::string content(static_cast<std::size_t>(std::max<std::uint64_t>(expected + 1, 4096)), '\0');
  std::size_t size = 0;
  for (;;) {
    ssize_t n = ::read(file.get(), content.data() + size, content.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(fmt::format("read {}", path), errno);
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
    if (size > max_bytes) return too_long();
    if (size == content.size()) content.resize(2 * size);
  }
  content.resize(size);
  return content;
}

Result<std::string> read_file(const std::string& path, std::size_t max_bytes) {
  return read_file_at(AT_FDCWD, path, max_bytes);
}

Result<void> write_file_atomic_at(int dir_fd, const std::string& path, std::string_view content, mode_t mode) {
  auto failed = [&](const char* step) { return errno_error(fmt::format("write {}: {}", path, step), errno); };
  auto [parent, name] = split_path(path);
  if (name.empty()) {
    return Error(ErrorCode::invalid_argument, fmt::format("write \"{}\": the path names no file", path));
  }
  ORKESTR_TRY(auto dir, open_at(dir_fd, parent, O_RDONLY | O_DIRECTORY));
  // Not the final name with a suffix: that could be too long for the file system.
  TemporaryName temporary(dir.get(), ".tmp-" + random_hex());
  UniqueFd file(::openat(dir.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) {
    temporary.keep();
    return failed("create a temporary file beside it");
  }
  if (auto written = write_all(file.get(), content); !written) return written.error().with_context("write " + path);
  if (::fchmod(file.get(), mode) != 0) return failed("fchmod");
  if (::fsync(file.get()) != 0) return failed("fsync");
  if (::renameat(dir.get(), temporary.c_str(), dir.get(), name.c_str()) != 0) return failed("rename over it");
  temporary.keep();
  if (::fsync(dir.get()) != 0) return failed("fsync of its directory");
  return {};
}

Result<void> write_file_atomic(const std::string& path, std::string_view content, mode_t mode) {
  return write_file_atomic_at(AT_FDCWD, path, content, mode);
}

Result<void> make_directories(const std::string& path, mode_t mode) {
  if (path.empty()) return Error(ErrorCode::invalid_argument, "make directory \"\": the path is empty");
  for (std::size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    std::string prefix = path.substr(0, end);
    if (::mkdir(prefix.c_str(), mode) == 0) continue;
    int err = errno;
    if (is_directory(prefix)) continue;
    return errno_error(fmt::format("make directory {}", prefix), err == EEXIST ? ENOTDIR : err);
  }
  return {};
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  ORKESTR_TRY(auto fd, open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
  std::unique_ptr<DIR, DirCloser> dir(::fdopendir(fd.get()));
  if (!dir) return errno_error(fmt::format("read directory {}", path), errno);
  fd.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return errno_error(fmt::format("read directory {}", path), errno);
  std::sort(names.begin(), names.end());
  return names;
}

bool exists(const std::string& path) { return ::faccessat(AT_FDCWD, path.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0; }

Result<UniqueFd> make_unnamed_file(const std::string& directory, mode_t mode) {
  UniqueFd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, mode));
  if (file) return file;
  int err = errno;
  // EISDIR is the answer of kernels that read the flag as O_DIRECTORY.
  if (err == EOPNOTSUPP || err == EINVAL || err == EISDIR) {
    return Error(ErrorCode::not_supported,
                 fmt::format("make an unnamed file in {}: its file system has no O_TMPFILE; set ORKESTR_HOME to a "
                             "directory on ext4, xfs, btrfs or tmpfs",
                             directory));
  }
  return errno_error(fmt::format("make an unnamed file in {}", directory), err);
}

Result<void> copy_file_contents(int from, int to) {
  struct stat source {};
  struct stat target {};
  if (::fstat(from, &source) != 0 || ::fstat(to, &target) != 0) return errno_error("copy: fstat", errno);
  bool sparse = S_ISREG(source.st_mode) && S_ISREG(target.st_mode) && target.st_size == 0;
  if (sparse && ::ioctl(to, FICLONE, from) == 0) return {};
  // Without a size to trust (block devices, /proc) the end is where read() says so.
  off_t end = S_ISREG(source.st_mode) && source.st_size > 0 ? source.st_size : off_t{1} << 62;
  if (!sparse || source.st_size == 0) return copy_range(from, to, 0, end);

  // Disk images are mostly holes; an empty target reads as zeros where nothing is written.
  if (::ftruncate(to, end) != 0) return errno_error(fmt::format("copy: set the size to {} bytes", end), errno);
  for (off_t offset = 0; offset < end;) {
    off_t data = ::lseek(from, offset, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    if (data < 0) return copy_range(from, to, offset, end);
    off_t hole = ::lseek(from, data, SEEK_HOLE);
    if (hole < 0) hole = end;
    ORKESTR_CHECK(copy_range(from, to, data, std::min(hole, end)));
    offset = hole;
  }
  return {};
}

Result<void> write_all(int fd, std::string_view bytes) {
  bool socket = true;
  while (!bytes.empty()) {
    // A library must not die of SIGPIPE because a peer is gone.
    ssize_t n = socket ? ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) : ::write(fd, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (socket && errno == ENOTSOCK) {
      socket = false;
    } else if (errno != EINTR) {
      return errno_error(fmt::format("write {} bytes to descriptor {}", bytes.size(), fd), errno);
    }
  }
  return {};
}

Result<bool> try_lock_byte(int fd, std::int64_t byte, LockKind kind) {
  return lock_command(fd, F_OFD_SETLK, byte, lock_type(kind), nullptr);
}

Result<void> unlock_byte(int fd, std::int64_t byte) {
  ORKESTR_TRY([[maybe_unused]] bool done, lock_command(fd, F_OFD_SETLK, byte, F_UNLCK, nullptr));
  return {};
}

Result<bool> is_byte_locked(int fd, std::int64_t byte, LockKind kind) {
  short found = F_UNLCK;
  ORKESTR_TRY([[maybe_unused]] bool done, lock_command(fd, F_OFD_GETLK, byte, lock_type(kind), &found));
  return found != F_UNLCK;
}

}  // namespace orkestr::base
