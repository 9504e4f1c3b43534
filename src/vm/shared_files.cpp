#include "vm/shared_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "vm/vm_error.hpp"

namespace orkestr::vm {
namespace {

// The "flags:" line of an fdinfo file, in octal; O_RDWR when it cannot be read, to be on the safe side.
int open_flags(const std::string& fdinfo) {
  const auto at = fdinfo.find("flags:");
  if (at == std::string::npos) return O_RDWR;
  return static_cast<int>(std::strtol(fdinfo.c_str() + at + 6, nullptr, 8));
}

const SharedFile* find(const std::vector<SharedFile>& files, const struct stat& s) {
  for (const auto& file : files) {
    if (file.device == s.st_dev && file.inode == s.st_ino) return &file;
  }
  return nullptr;
}

Result<SharedFile> describe(const std::string& path, base::UniqueFd fd) {
  SharedFile file;
  file.path = path;
  file.fd = std::move(fd);
  struct stat s {};
  if (::fstat(file.fd.get(), &s) != 0) return base::errno_error("stat " + path, errno);
  if (!S_ISREG(s.st_mode)) return vm_error("files", path + " is not a regular file");
  file.device = s.st_dev;
  file.inode = s.st_ino;
  return file;
}

}  // namespace

Result<SharedFile> open_shared_file(const std::string& path) {
  ORKESTR_TRY(auto fd, base::open_at(AT_FDCWD, path, O_RDONLY | O_NOCTTY));
  return describe(path, std::move(fd));
}

Result<SharedFile> share_open_file(const std::string& what, int fd) {
  ORKESTR_TRY(auto again, base::open_at(AT_FDCWD, fmt::format("/proc/self/fd/{}", fd), O_RDONLY | O_NOCTTY));
  return describe(what, std::move(again));
}

Result<void> check_held_read_only(pid_t pid, const std::vector<SharedFile>& files) {
  const std::string proc = fmt::format("/proc/{}", pid);
  ORKESTR_TRY(const auto fds, base::list_directory(proc + "/fd"));
  for (const auto& fd : fds) {
    struct stat s {};
    if (::stat((proc + "/fd/" + fd).c_str(), &s) != 0) {
      if (errno == ENOENT) continue;  // closed meanwhile
      return base::errno_error(fmt::format("stat {}/fd/{}", proc, fd), errno);
    }
    const SharedFile* file = find(files, s);
    if (file == nullptr) continue;
    auto info = base::read_file(fmt::format("{}/fdinfo/{}", proc, fd), 4096);
    if (!info && info.error().code() == ErrorCode::file_not_found) continue;
    if (!info) return info.error();
    if ((open_flags(*info) & O_ACCMODE) == O_RDONLY) continue;
    return vm_error(
        "read-only check",
        fmt::format("QEMU holds a writable descriptor of {}, which other sandboxes share; it was not started",
                    file->path));
  }
  return {};
}

}  // namespace orkestr::vm
