// remove_tree() of base/file.hpp. What it removes may have been written by a guest or a package's install script.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::base {
namespace {

// One descriptor a level. What lies deeper is moved to the top of the tree and removed from there.
constexpr int kMaxDepth = 64;

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

struct Remover {
  std::string root;  // for messages
  int root_fd = -1;
  dev_t device = 0;
  unsigned moved = 0;

  Result<void> remove_entry(int dir_fd, const std::string& name, int depth);
  Result<void> empty_directory(UniqueFd fd, int depth);
  Result<UniqueFd> open_inside(int dir_fd, const std::string& name) const;
  Error failed(const std::string& name, int err) const {
    return errno_error(fmt::format("remove {}: \"{}\"", root, name), err);
  }
};

// A directory in the same mount, never through a link: a bind mount that a failed build left behind must not be
// emptied.
Result<UniqueFd> Remover::open_inside(int dir_fd, const std::string& name) const {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
  UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, dir_fd, name.c_str(), &how, sizeof how)));
  if (!fd && (errno == ENOSYS || errno == EPERM)) {  // an old kernel, or a filter that does not know the call
    fd.reset(::openat(dir_fd, name.c_str(), static_cast<int>(how.flags)));
    struct stat info {};
    if (fd && ::fstat(fd.get(), &info) == 0 && info.st_dev != device) {
      fd.reset();
      errno = EXDEV;
    }
  }
  if (fd) return fd;
  if (errno != EXDEV) return failed(name, errno);
  return Error(
      ErrorCode::internal,
      fmt::format("remove {}: \"{}\" is a mount point, and what is mounted there stays; unmount it first", root, name));
}

Result<void> Remover::remove_entry(int dir_fd, const std::string& name, int depth) {
  if (::unlinkat(dir_fd, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  int unlink_error = errno;
  struct stat info {};
  bool directory = ::fstatat(dir_fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode);
  if (!directory) return failed(name, unlink_error);
  if (depth >= kMaxDepth) {
    std::string place = fmt::format(".removing-{}-{}", ::getpid(), moved++);
    if (::renameat(dir_fd, name.c_str(), root_fd, place.c_str()) != 0) return failed(name, errno);
    return {};
  }
  ORKESTR_TRY(auto fd, open_inside(dir_fd, name));
  ORKESTR_CHECK(empty_directory(std::move(fd), depth + 1));
  if (::unlinkat(dir_fd, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) return failed(name, errno);
  return {};
}

Result<void> Remover::empty_directory(UniqueFd fd, int depth) {
  struct stat info {};
  // Package caches make their directories read-only; the owner may undo that.
  if (::fstat(fd.get(), &info) == 0 && (info.st_mode & S_IRWXU) != S_IRWXU) ::fchmod(fd.get(), S_IRWXU);
  std::unique_ptr<DIR, DirCloser> dir(::fdopendir(fd.get()));
  if (!dir) return failed("read directory", errno);
  int dir_fd = fd.release();
  for (;;) {
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(dir.get())) {
      std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    if (errno != 0) return failed("read directory", errno);
    if (names.empty()) return {};
    auto moved_before = moved;
    for (const auto& name : names) ORKESTR_CHECK(remove_entry(dir_fd, name, depth));
    // Only the top gains entries meanwhile: those that were too deep.
    if (depth > 0 || moved == moved_before) return {};
    ::rewinddir(dir.get());
  }
}

}  // namespace

Result<void> remove_tree(const std::string& path) {
  // A slash at the end would follow a link.
  std::string trimmed = path;
  while (!trimmed.empty() && trimmed.back() == '/') trimmed.pop_back();
  std::string name = trimmed.substr(trimmed.rfind('/') + 1);
  if (name.empty() || name == "." || name == "..") {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("remove tree \"{}\": the path must end in the name of what is to go", path));
  }
  if (::unlink(trimmed.c_str()) == 0 || errno == ENOENT) return {};
  int unlink_error = errno;
  UniqueFd root(::open(trimmed.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!root) return errno_error("remove " + trimmed, errno == ENOTDIR || errno == ELOOP ? unlink_error : errno);
  struct stat info {};
  if (::fstat(root.get(), &info) != 0) return errno_error("remove " + trimmed, errno);
  Remover remover{trimmed, root.get(), info.st_dev};
  UniqueFd top(::fcntl(root.get(), F_DUPFD_CLOEXEC, 0));
  if (!top) return errno_error("remove " + trimmed, errno);
  ORKESTR_CHECK(remover.empty_directory(std::move(top), 0));
  if (::rmdir(trimmed.c_str()) != 0 && errno != ENOENT) return errno_error("remove " + trimmed, errno);
  return {};
}

}  // namespace orkestr::base
