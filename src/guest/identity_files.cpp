#include "guest/identity_files.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::guest {
namespace {

constexpr const char* kDirectory = "/run/orkestr";

Result<base::UniqueFd> make_over(const char* name, const std::string& target) {
  const std::string source = std::string(kDirectory) + "/" + name;
  ORKESTR_TRY(auto file, base::open_at(AT_FDCWD, source, O_RDWR | O_CREAT | O_EXCL, 0644));
  // What there was is seen until the first identity comes.
  if (const auto before = base::read_file(target, 64U << 10U)) ORKESTR_CHECK(rewrite(file, *before));
  if (!base::exists(target)) {
    ORKESTR_TRY(const auto place, base::open_at(AT_FDCWD, target, O_WRONLY | O_CREAT | O_NOFOLLOW, 0644));
  }
  if (::mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return base::errno_error("mount over " + target, errno);
  }
  return file;
}

}  // namespace

Result<void> rewrite(const base::UniqueFd& file, std::string_view content) {
  std::size_t at = 0;
  while (at < content.size()) {
    const ssize_t n = ::pwrite(file.get(), content.data() + at, content.size() - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::errno_error("write", errno);
    at += static_cast<std::size_t>(n);
  }
  const auto size = static_cast<off_t>(content.size());
  if (::lseek(file.get(), 0, SEEK_END) != size && ::ftruncate(file.get(), size) != 0) {
    return base::errno_error("ftruncate", errno);
  }
  return {};
}

Result<IdentityFiles> make_identity_files() {
  ORKESTR_CHECK(base::make_directories(kDirectory, 0755));
  IdentityFiles files;
  ORKESTR_TRY(files.hostname, make_over("hostname", "/etc/hostname"));
  ORKESTR_TRY(files.hosts, make_over("hosts", "/etc/hosts"));
  ORKESTR_TRY(files.machine_id, make_over("machine-id", "/etc/machine-id"));
  ORKESTR_TRY(files.boot_id, make_over("boot_id", "/proc/sys/kernel/random/boot_id"));
  ORKESTR_TRY(files.random, base::open_at(AT_FDCWD, "/dev/urandom", O_WRONLY));
  return files;
}

}  // namespace orkestr::guest
