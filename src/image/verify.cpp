#include "image/verify.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/file.hpp"
#include "base/sha256.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::image {
namespace {

// What of a file's metadata changes when its content does. Not the time of its inode's change: that is also the time
// when a paused sandbox last made a link to it, or took one away.
Result<std::string> fingerprint(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return base::errno_error("look at " + path, errno);
  return fmt::format("{} {}:{} {} {}.{}\n", path, info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec,
                     info.st_mtim.tv_nsec);
}

struct Verified {
  const std::string* path;
  const std::string* digest;
  bool sparse;
};

std::array<Verified, 4> verified_files(const TemplateFiles& files) {
  return {{{&files.base_image, &files.base_sha256, false},
           {&files.scratch_image, &files.scratch_sha256, true},
           {&files.scratch_overlay, &files.overlay_sha256, false},
           {&files.kernel, &files.kernel_sha256, false}}};
}

struct Stamp {
  std::string path;
  std::string content;
  bool is_there() const {
    const auto seen = base::read_file(path, 64U << 10U);
    return seen && *seen == content;
  }
};

Result<Stamp> stamp_of(const TemplateFiles& files, const std::string& stamp_dir) {
  Stamp stamp;
  stamp.path = fmt::format("{}/{}-{}.verified", stamp_dir, files.name, base::sha256_hex(files.directory).substr(0, 16));
  stamp.content = fmt::format("{}\n{}\n", base::boot_id(), files.digest);
  for (const auto& file : verified_files(files)) {
    ORKESTR_TRY(const std::string line, fingerprint(*file.path));
    stamp.content += line;
  }
  return stamp;
}

}  // namespace

Result<void> verify_template(const TemplateFiles& files, const std::string& stamp_dir, const std::stop_token& stop) {
  ORKESTR_TRY(const Stamp stamp, stamp_of(files, stamp_dir));
  if (stamp.is_there()) return {};
  for (const auto& file : verified_files(files)) {
    ORKESTR_TRY(const std::string actual,
                file.sparse ? digest_sparse_file(*file.path, stop) : base::sha256_file(*file.path, stop));
    if (actual != *file.digest) {
      ErrorDetails details;
      details.stage = "verify template";
      return Error(
          ErrorCode::template_build_failed,
          fmt::format("{} is not what was built: its SHA-256 is {} instead of {}. Something changed or damaged "
                      "it; build the template again with `orkestr template build {} --force`.",
                      *file.path, actual, *file.digest, files.name),
          std::move(details));
    }
  }
  ORKESTR_CHECK(base::make_directories(stamp_dir, 0700));
  return base::write_file_atomic(stamp.path, stamp.content, 0600);
}

bool is_verified(const TemplateFiles& files, const std::string& stamp_dir) {
  const auto stamp = stamp_of(files, stamp_dir);
  return stamp && stamp->is_there();
}

std::chrono::seconds verification_time(const TemplateFiles& files) {
  constexpr std::int64_t kBytesPerSecond = 20'000'000;
  std::int64_t bytes = 0;
  for (const auto& file : verified_files(files)) {
    struct stat info {};
    if (::stat(file.path->c_str(), &info) == 0) bytes += info.st_blocks * 512;
  }
  return std::chrono::seconds(bytes / kBytesPerSecond + 1);
}

Result<std::string> digest_sparse_file(const std::string& path, const std::stop_token& stop) {
  constexpr off_t kBlock = 64 << 10;
  ORKESTR_TRY(const base::UniqueFd fd, base::open_at(AT_FDCWD, path, O_RDONLY));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return base::errno_error("look at " + path, errno);
  std::string lines = fmt::format("sparse {}\n", info.st_size);
  std::string block(kBlock, '\0');
  const std::string zeros(kBlock, '\0');
  off_t at = 0;
  while (at < info.st_size) {
    // Holes are skipped; a file system that cannot tell them reports data throughout, and the digest is the same.
    const off_t data = ::lseek(fd.get(), at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    if (data < 0) return base::errno_error("read " + path, errno);
    at = data - data % kBlock;
    off_t hole = ::lseek(fd.get(), data, SEEK_HOLE);
    if (hole < 0) return base::errno_error("read " + path, errno);
    for (; at < hole; at += kBlock) {
      if (stop.stop_requested()) return Error(ErrorCode::cancelled, "read " + path + ": cancelled");
      const auto want = static_cast<std::size_t>(std::min<off_t>(kBlock, info.st_size - at));
      std::size_t got = 0;
      while (got < want) {
        const ssize_t n = ::pread(fd.get(), block.data() + got, want - got, at + static_cast<off_t>(got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return base::errno_error("read " + path, errno);
        if (n == 0) return Error(ErrorCode::internal, path + " became shorter while it was read");
        got += static_cast<std::size_t>(n);
      }
      const std::string_view content(block.data(), want);
      if (content == std::string_view(zeros).substr(0, want)) continue;
      lines += fmt::format("{} {}\n", at, base::sha256_hex(content));
    }
  }
  return base::sha256_hex(lines);
}

}  // namespace orkestr::image
