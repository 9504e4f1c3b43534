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

// The fields of a qcow2 header that grow with the disk (docs/interop/qcow2.txt of QEMU); all big endian.
constexpr std::size_t kHeaderBytes = 48;
constexpr std::size_t kClusterBits = 20;
constexpr std::size_t kVirtualSize = 24;
constexpr std::size_t kL1Entries = 36;
constexpr std::size_t kL1Offset = 40;
constexpr std::uint64_t kMaxDiskBytes = std::uint64_t{128} << 30U;

std::uint64_t load_be(const char* bytes, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value = value << 8U | static_cast<unsigned char>(bytes[i]);
  return value;
}

void store_be(char* bytes, std::size_t count, std::uint64_t value) {
  for (std::size_t i = count; i-- > 0; value >>= 8U) bytes[i] = static_cast<char>(value & 0xffU);
}

Result<void> check_empty_overlay(int fd, const std::string& path) {
  struct stat s {};
  if (::fstat(fd, &s) != 0) return base::errno_error("stat " + path, errno);
  std::array<char, 4> magic{};
  const bool read = ::pread(fd, magic.data(), magic.size(), 0) == static_cast<ssize_t>(magic.size());
  if (read && magic == kQcow2Magic && s.st_size <= kMaxEmptyOverlayBytes) return {};
  return vm_error("files",
                  fmt::format("{} is not an empty qcow2 image ({} bytes); build the template again", path, s.st_size));
}

// An empty image has an empty L1 table: more of it is more zeros, which are there up to the end of the table's cluster.
Result<void> grow(int fd, std::uint64_t disk_bytes, const std::string& origin) {
  std::array<char, kHeaderBytes> header{};
  if (::pread(fd, header.data(), header.size(), 0) != static_cast<ssize_t>(header.size())) {
    return base::errno_error("read the header of " + origin, errno);
  }
  const std::uint64_t present = load_be(&header[kVirtualSize], 8);
  if (disk_bytes == present) return {};
  const std::uint64_t cluster_bits = load_be(&header[kClusterBits], 4);
  if (cluster_bits < 9 || cluster_bits > 21) {
    return vm_error("files",
                    fmt::format("{} has clusters of 2^{} bytes; a qcow2 image has 2^9 to 2^21", origin, cluster_bits));
  }
  const std::uint64_t cluster = std::uint64_t{1} << cluster_bits;
  const std::uint64_t mapped_by_entry = cluster * cluster / 8;
  const std::uint64_t entries = (disk_bytes + mapped_by_entry - 1) / mapped_by_entry;
  if (disk_bytes < present || disk_bytes > kMaxDiskBytes || disk_bytes % 512 != 0 || entries * 8 > cluster) {
    return vm_error("files", fmt::format("a disk of {} bytes cannot be made from {}, which has {}; allowed is up to {}",
                                         disk_bytes, origin, present, kMaxDiskBytes));
  }
  const auto table_end = static_cast<off_t>(load_be(&header[kL1Offset], 8) + entries * 8);
  struct stat s {};
  if (::fstat(fd, &s) != 0) return base::errno_error("stat a copy of " + origin, errno);
  if (s.st_size < table_end && ::ftruncate(fd, table_end) != 0) {
    return base::errno_error("lengthen a copy of " + origin, errno);
  }
  store_be(&header[kVirtualSize], 8, disk_bytes);
  store_be(&header[kL1Entries], 4, entries);
  if (::pwrite(fd, header.data(), header.size(), 0) != static_cast<ssize_t>(header.size())) {
    return base::errno_error("write the header of a copy of " + origin, errno);
  }
  return {};
}

}  // namespace

Result<base::UniqueFd> make_scratch_overlay(const std::string& directory, const std::string& empty_qcow2,
                                            std::uint64_t disk_bytes) {
  ORKESTR_TRY(auto empty, base::open_at(AT_FDCWD, empty_qcow2, O_RDONLY));
  ORKESTR_CHECK(check_empty_overlay(empty.get(), empty_qcow2));
  ORKESTR_TRY(auto disk, base::make_unnamed_file(directory));
  ORKESTR_CHECK(base::copy_file_contents(empty.get(), disk.get()));
  if (disk_bytes != 0) ORKESTR_CHECK(grow(disk.get(), disk_bytes, empty_qcow2));
  return disk;
}

}  // namespace orkestr::vm
