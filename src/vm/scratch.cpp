#include "vm/scratch.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "vm/vm_error.hpp"

namespace orkestr::vm {
namespace {

// A real empty overlay is 192 KiB; one that grew has been booted from and would leak its content into every sandbox.
constexpr off_t kMaxEmptyOverlayBytes = 4 << 20;
constexpr std::array<char, 4> kQcow2Magic = {'Q', 'F', 'I', '\xfb'};

Result<void> check_empty_overlay(int fd, const std::string& path) {
  struct stat s {};
  if (::fstat(fd, &s) != 0) return base::errno_error("stat " + path, errno);
  std::array<char, 4> magic{};
  const bool read = ::pread(fd, magic.data(), magic.size(), 0) == static_cast<ssize_t>(magic.size());
  if (read && magic == kQcow2Magic && s.st_size <= kMaxEmptyOverlayBytes) return {};
  return vm_error("files",
                  fmt::format("{} is not an empty qcow2 image ({} bytes); build the template again", path, s.st_size));
}

}  // namespace

Result<base::UniqueFd> make_scratch_overlay(const std::string& directory, const std::string& empty_qcow2) {
  ORKESTR_TRY(auto empty, base::open_at(AT_FDCWD, empty_qcow2, O_RDONLY));
  ORKESTR_CHECK(check_empty_overlay(empty.get(), empty_qcow2));
  ORKESTR_TRY(auto disk, base::make_unnamed_file(directory));
  ORKESTR_CHECK(base::copy_file_contents(empty.get(), disk.get()));
  return disk;
}

}  // namespace orkestr::vm
