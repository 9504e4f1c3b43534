#include "guest/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::guest {
namespace {

constexpr mode_t kPermissionBits = 07777;

std::string last_component(const std::string& path) {
  const std::size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return "/";
  const std::size_t slash = path.rfind('/', end);
  return path.substr(slash + 1, end - slash);
}

Result<void> copy_and_remove(const std::string& from, const std::string& to, const struct stat& status) {
  ORKESTR_TRY(base::UniqueFd source, base::open_at(AT_FDCWD, from, O_RDONLY | O_NOFOLLOW));
  const std::string partial = to + ".orkestr-move";
  ORKESTR_TRY(base::UniqueFd target, base::open_at(AT_FDCWD, partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  auto copied = base::copy_file_contents(source.get(), target.get());
  const timespec times[2] = {status.st_atim, status.st_mtim};
  if (copied && (::fchown(target.get(), status.st_uid, status.st_gid) != 0 ||
                 ::fchmod(target.get(), status.st_mode & kPermissionBits) != 0 ||
                 ::futimens(target.get(), times) != 0 || ::rename(partial.c_str(), to.c_str()) != 0)) {
    copied = file_error("move to", to, errno);
  }
  if (!copied) {
    ::unlink(partial.c_str());
    return copied.error();
  }
  if (::unlink(from.c_str()) != 0) return file_error("remove after copying", from, errno);
  return {};
}

}  // namespace

Error file_error(std::string_view what, std::string_view path, int err) {
  std::string text = fmt::format("{} '{}'", what, path);
  if (err == ENOSPC) return Error(ErrorCode::internal, text + ": No space left on device; the sandbox's disk is full");
  return base::errno_error(text, err);
}

wire::FileInfo file_info_of(std::string name, const struct stat& status) {
  wire::FileInfo info;
  info.name = std::move(name);
  info.is_dir = S_ISDIR(status.st_mode);
  info.size = static_cast<std::uint64_t>(status.st_size);
  info.mode = status.st_mode & kPermissionBits;
  info.modified_ns = std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
  return info;
}

Result<wire::FileInfo> stat_file(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) return file_info_of(last_component(path), status);
  if (errno != ENOENT && errno != ENOTDIR) return file_error("stat", path, errno);
  wire::FileInfo missing;
  missing.name = last_component(path);
  missing.exists = false;
  return missing;
}

Result<void> delete_file(const std::string& path) {
  if (::unlink(path.c_str()) == 0) return {};
  const int err = errno;
  struct stat status {};
  // Some file systems say EPERM for a directory.
  if (::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return file_error("delete", path, EISDIR);
  return file_error("delete", path, err);
}

Result<void> make_directory(const wire::FileRequest& request) {
  const mode_t mode = request.mode != 0 ? static_cast<mode_t>(request.mode & kPermissionBits) : 0755;
  if (request.parents) return base::make_directories(request.path, mode);
  if (::mkdir(request.path.c_str(), mode) != 0) return file_error("make directory", request.path, errno);
  return {};
}

Result<void> move_file(const wire::FileRequest& request) {
  if (::rename(request.path.c_str(), request.destination.c_str()) == 0) return {};
  const std::string what = fmt::format("move '{}' to", request.path);
  if (errno != EXDEV) return file_error(what, request.destination, errno);
  struct stat status {};
  if (::lstat(request.path.c_str(), &status) != 0) return file_error("move", request.path, errno);
  if (!S_ISREG(status.st_mode)) {
    return Error(
        ErrorCode::not_supported,
        fmt::format("{} '{}': they are on different file systems, and only regular files are moved between those; use "
                    "`mv` in a command",
                    what, request.destination));
  }
  return copy_and_remove(request.path, request.destination, status);
}

}  // namespace orkestr::guest
