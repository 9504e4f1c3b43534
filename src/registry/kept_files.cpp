#include "registry/kept_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::registry {
namespace {

bool link_open(int fd, const std::string& path) {
  const std::string self = fmt::format("/proc/self/fd/{}", fd);
  return ::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0;
}

Result<void> keep(int fd, const std::string& state_dir, const std::string& name) {
  const std::string directory = state_dir + "/" + kKeptDirectory;
  ORKESTR_CHECK(base::make_directories(directory, 0700));
  ORKESTR_TRY(const auto unlinked, find_unlinked(state_dir));
  for (const auto& old : unlinked) ::unlink(old.c_str());
  ORKESTR_TRY(const auto copy, base::make_unnamed_file(directory));
  ORKESTR_CHECK(base::copy_file_contents(fd, copy.get()));
  // Whatever the umask: QEMU may have a uid of its own.
  if (::fchmod(copy.get(), 0444) != 0 || ::fsync(copy.get()) != 0) return base::errno_error("copy to " + name, errno);
  if (link_open(copy.get(), name) || errno == EEXIST) return {};
  return base::errno_error("name the copy " + name, errno);
}

}  // namespace

Result<void> link_or_keep(int fd, const std::string& state_dir, const std::string& path) {
  if (link_open(fd, path)) return {};
  struct stat s {};
  if (::fstat(fd, &s) != 0) return base::errno_error("stat", errno);
  // (Not the time of change: every new link is one.)
  const std::string kept = fmt::format("{}/{}/{}-{}-{}-{}.{:09}", state_dir, kKeptDirectory, s.st_dev, s.st_ino,
                                       s.st_size, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
  // More than once, because who collects may come in between.
  for (int copies = 0; ::link(kept.c_str(), path.c_str()) != 0; ++copies) {
    if (errno != ENOENT || copies == 2) return base::errno_error(fmt::format("link {} to {}", kept, path), errno);
    ORKESTR_CHECK(keep(fd, state_dir, kept));
  }
  return {};
}

Result<std::vector<std::string>> find_unlinked(const std::string& state_dir) {
  const std::string directory = state_dir + "/" + kKeptDirectory;
  const auto names = base::list_directory(directory);
  std::vector<std::string> unlinked;
  if (!names && names.error().code() == ErrorCode::file_not_found) return unlinked;
  if (!names) return names.error();
  for (const auto& name : *names) {
    const std::string path = directory + "/" + name;
    struct stat s {};
    if (::lstat(path.c_str(), &s) == 0 && s.st_nlink == 1) unlinked.push_back(path);
  }
  return unlinked;
}

}  // namespace orkestr::registry
