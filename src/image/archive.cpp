#include "image/archive.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>

#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::image {
namespace {

struct ReadCloser {
  void operator()(archive* a) const { archive_read_free(a); }
};
struct WriteCloser {
  void operator()(archive* a) const { archive_write_free(a); }
};
struct EntryCloser {
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};
using Reader = std::unique_ptr<archive, ReadCloser>;
using Writer = std::unique_ptr<archive, WriteCloser>;
using Entry = std::unique_ptr<archive_entry, EntryCloser>;

Error archive_error(std::string_view what, archive* a) {
  const char* text = archive_error_string(a);
  return Error(ErrorCode::internal, fmt::format("{}: {}", what, text ? text : "unknown error of libarchive"));
}

Error too_long(std::string_view what, std::uint64_t max_bytes) {
  return Error(ErrorCode::internal, fmt::format("{}: more than {} bytes", what, max_bytes));
}

// Names no program to run: archive_read_support_filter_all would start external ones for formats it was built without.
void support_filters(archive* a) {
  archive_read_support_filter_gzip(a);
  archive_read_support_filter_bzip2(a);
  archive_read_support_filter_xz(a);
  archive_read_support_filter_lzma(a);
  archive_read_support_filter_zstd(a);
  archive_read_support_filter_lz4(a);
}

Result<void> copy_entry_data(archive* from, archive* to, std::uint64_t& budget) {
  while (true) {
    const void* block = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    const int status = archive_read_data_block(from, &block, &size, &offset);
    if (status == ARCHIVE_EOF) return {};
    if (status < ARCHIVE_WARN) return archive_error("read archive", from);
    if (size > budget) return too_long("unpack archive", budget);
    budget -= size;
    if (archive_write_data_block(to, block, size, offset) < ARCHIVE_WARN) return archive_error("write file", to);
  }
}

// The path with its parent directory resolved.
Result<std::string> resolve_parent(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(parent.c_str(), nullptr), &std::free);
  if (!resolved) return base::errno_error("resolve " + parent, errno);
  return fmt::format("{}/{}", resolved.get(), path.substr(slash == std::string::npos ? 0 : slash + 1));
}

// Where an entry goes below the destination: nothing when it is not under the prefix, "" for the prefix itself.
std::optional<std::string_view> below_prefix(std::string_view path, std::string_view prefix) {
  if (path.substr(0, 2) == "./") path.remove_prefix(2);
  if (prefix.empty()) return path;
  if (path.substr(0, prefix.size()) != prefix) return std::nullopt;
  path.remove_prefix(prefix.size());
  if (path.empty() || path == "/") return std::string_view();
  if (path.front() != '/') return std::nullopt;
  return path.substr(1);
}

}  // namespace

Result<std::string> decompress(std::string_view bytes, std::size_t max_bytes) {
  Reader reader(archive_read_new());
  support_filters(reader.get());
  archive_read_support_format_raw(reader.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_memory(reader.get(), bytes.data(), bytes.size()) != ARCHIVE_OK ||
      archive_read_next_header(reader.get(), &entry) != ARCHIVE_OK) {
    return archive_error("decompress", reader.get());
  }
  std::string out;
  std::string chunk(std::size_t{1} << 18, '\0');
  while (true) {
    const la_ssize_t n = archive_read_data(reader.get(), chunk.data(), chunk.size());
    if (n < 0) return archive_error("decompress", reader.get());
    if (n == 0) return out;
    if (static_cast<std::size_t>(n) > max_bytes - out.size()) return too_long("decompress", max_bytes);
    out.append(chunk, 0, static_cast<std::size_t>(n));
  }
}

Result<std::string> make_cpio(const std::vector<CpioEntry>& entries) {
  std::string out;
  Writer writer(archive_write_new());
  archive_write_set_format_cpio_newc(writer.get());
  archive_write_add_filter_none(writer.get());
  archive_write_set_bytes_in_last_block(writer.get(), 1);
  auto append = [](archive*, void* to, const void* data, std::size_t size) -> la_ssize_t {
    static_cast<std::string*>(to)->append(static_cast<const char*>(data), size);
    return static_cast<la_ssize_t>(size);
  };
  if (archive_write_open2(writer.get(), &out, nullptr, append, nullptr, nullptr) != ARCHIVE_OK) {
    return archive_error("make initramfs", writer.get());
  }
  for (const CpioEntry& e : entries) {
    Entry entry(archive_entry_new());
    archive_entry_set_pathname(entry.get(), e.path.c_str());
    archive_entry_set_mode(entry.get(), e.mode);
    archive_entry_set_nlink(entry.get(), S_ISDIR(e.mode) ? 2 : 1);
    archive_entry_set_mtime(entry.get(), 0, 0);
    archive_entry_set_uid(entry.get(), 0);
    archive_entry_set_gid(entry.get(), 0);
    archive_entry_set_size(entry.get(), S_ISREG(e.mode) ? static_cast<la_int64_t>(e.content.size()) : 0);
    if (S_ISCHR(e.mode)) {
      archive_entry_set_rdevmajor(entry.get(), e.dev_major);
      archive_entry_set_rdevminor(entry.get(), e.dev_minor);
    }
    if (archive_write_header(writer.get(), entry.get()) != ARCHIVE_OK) {
      return archive_error("make initramfs", writer.get()).with_context(e.path);
    }
    if (S_ISREG(e.mode) && archive_write_data(writer.get(), e.content.data(), e.content.size()) < 0) {
      return archive_error("make initramfs", writer.get()).with_context(e.path);
    }
  }
  if (archive_write_close(writer.get()) != ARCHIVE_OK) return archive_error("make initramfs", writer.get());
  writer.reset();
  return out;
}

Result<int> unpack(const std::string& archive_path, std::string_view prefix, const std::string& destination,
                   std::uint64_t max_bytes) {
  Reader reader(archive_read_new());
  support_filters(reader.get());
  archive_read_support_format_zip(reader.get());
  archive_read_support_format_tar(reader.get());
  if (archive_read_open_filename(reader.get(), archive_path.c_str(), std::size_t{1} << 18) != ARCHIVE_OK) {
    return archive_error("open " + archive_path, reader.get());
  }
  Writer disk(archive_write_disk_new());
  archive_write_disk_set_options(
      disk.get(), ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_SYMLINKS);
  // The host may reach the destination through links (/tmp, a cache on another disk); from there on none is followed.
  ORKESTR_TRY(const std::string root, resolve_parent(destination));
  std::uint64_t budget = max_bytes;
  int count = 0;
  while (true) {
    archive_entry* entry = nullptr;
    const int status = archive_read_next_header(reader.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status < ARCHIVE_WARN) return archive_error("read " + archive_path, reader.get());
    const char* name = archive_entry_pathname(entry);
    if (!name) continue;
    const std::string path(name);
    const auto below = below_prefix(path, prefix);
    if (!below || (below->empty() && archive_entry_filetype(entry) == AE_IFDIR)) continue;
    const std::string target = below->empty() ? root : fmt::format("{}/{}", root, *below);
    if (archive_entry_hardlink(entry)) {
      return Error(ErrorCode::internal, fmt::format("unpack {}: hard link {} is not supported", archive_path, path));
    }
    archive_entry_set_pathname(entry, target.c_str());
    // Zip files of other systems carry no useful modes, and the caller's umask is none of the archive's business.
    const bool runnable = archive_entry_filetype(entry) == AE_IFDIR || (archive_entry_perm(entry) & 0111) != 0;
    archive_entry_set_perm(entry, runnable ? 0755 : 0644);
    if (archive_write_header(disk.get(), entry) != ARCHIVE_OK) return archive_error("unpack " + path, disk.get());
    ORKESTR_CHECK(copy_entry_data(reader.get(), disk.get(), budget));
    if (archive_write_finish_entry(disk.get()) < ARCHIVE_WARN) return archive_error("unpack " + path, disk.get());
    ++count;
  }
  if (count == 0) {
    return Error(ErrorCode::internal, fmt::format("unpack {}: nothing in it under '{}'", archive_path, prefix));
  }
  return count;
}

}  // namespace orkestr::image
