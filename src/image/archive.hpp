// libarchive in the four forms we need, each with a cap on what comes out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::image {

// One compressed stream (gzip, bzip2, xz, lzma, zstd, lz4 and its legacy form), recognised by content. Bytes that are
// not compressed come back as they are. An error when damaged or longer than `max_bytes`.
Result<std::string> decompress(std::string_view bytes, std::size_t max_bytes);

// A regular file, directory or device of a cpio archive; owner root, all times zero.
struct CpioEntry {
  std::string path;             // relative, without a leading slash
  std::uint32_t mode = 0;       // with the file type (S_IFREG, S_IFDIR, S_IFCHR)
  std::string content;          // S_IFREG
  std::uint32_t dev_major = 0;  // S_IFCHR
  std::uint32_t dev_minor = 0;
};

// An uncompressed archive in the kernel's initramfs format (newc). The same entries give the same bytes.
Result<std::string> make_cpio(const std::vector<CpioEntry>& entries);

// Unpacks what is under `prefix` (a folder in the archive, without the trailing slash; or one file) to `destination`:
// the folder's content below it, the file as it. Existing files are replaced. Paths with "..", absolute ones and ones
// through links are refused, links inside are kept. Returns the number of entries; none is an error. Archives: whatever
// libarchive reads (zip, tar and their compressions).
Result<int> unpack(const std::string& archive, std::string_view prefix, const std::string& destination,
                   std::uint64_t max_bytes);

}  // namespace orkestr::image
