#include "image/staging.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/file.hpp"
#include "base/id.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "image/user_namespace.hpp"

namespace orkestr::image {
namespace {
constexpr std::string_view kPrefix = ".staging-";

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

Result<void> sync_directory(const std::string& path) {
  ORKESTR_TRY(const base::UniqueFd fd, base::open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return base::errno_error("sync " + path, errno);
  return {};
}
}  // namespace

Result<Staging> Staging::create(const std::string& parent) {
  ORKESTR_CHECK(base::make_directories(parent, 0755));
  std::string path = fmt::format("{}/{}{}", parent, kPrefix, base::make_ulid(base::wall_clock_ms()));
  ORKESTR_CHECK(base::make_directories(path, 0700));
  return Staging(std::move(path));
}

Staging::~Staging() {
  // What cannot be removed now is removed by the next build.
  if (!path_.empty()) (void)remove_built(path_);
}

Result<void> clear_staging(const std::string& parent) {
  if (!base::exists(parent)) return {};
  ORKESTR_TRY(const auto names, base::list_directory(parent));
  for (const auto& name : names) {
    if (name.starts_with(kPrefix)) ORKESTR_CHECK(remove_built(parent + "/" + name));
  }
  return {};
}

Result<void> publish_directory(const std::string& from, const std::string& to) {
  ORKESTR_CHECK(sync_directory(from));
  if (::rename(from.c_str(), to.c_str()) != 0) {
    if (errno != ENOTEMPTY && errno != EEXIST)
      return base::errno_error(fmt::format("rename {} to {}", from, to), errno);
    const std::string aside = parent_of(from) + "/replaced";
    if (::rename(to.c_str(), aside.c_str()) != 0) return base::errno_error("move away " + to, errno);
    if (::rename(from.c_str(), to.c_str()) != 0)
      return base::errno_error(fmt::format("rename {} to {}", from, to), errno);
  }
  return sync_directory(parent_of(to));
}

}  // namespace orkestr::image
