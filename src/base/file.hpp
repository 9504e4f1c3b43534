// Files and directories, always relative to a directory descriptor where races matter, always with a size cap.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::base {

// openat(2) with O_CLOEXEC. `dir_fd` may be AT_FDCWD; the path is named in the error.
Result<UniqueFd> open_at(int dir_fd, const std::string& path, int flags, mode_t mode = 0);

// The whole file; an error when it is longer than `max_bytes`.
Result<std::string> read_file_at(int dir_fd, const std::string& path, std::size_t max_bytes);
Result<std::string> read_file(const std::string& path, std::size_t max_bytes = 16U << 20U);

// Writes a temporary file beside `path`, fsyncs it and renames it over `path`: a reader sees the old or the new
// content, never a mix.
Result<void> write_file_atomic_at(int dir_fd, const std::string& path, std::string_view content, mode_t mode = 0600);
Result<void> write_file_atomic(const std::string& path, std::string_view content, mode_t mode = 0600);

// mkdir -p; existing directories are fine. Only directories made here get `mode`.
Result<void> make_directories(const std::string& path, mode_t mode = 0700);
// rm -rf that does not follow links and does not leave the tree. A missing path is success.
Result<void> remove_tree(const std::string& path);
// Names in a directory without "." and "..", sorted.
Result<std::vector<std::string>> list_directory(const std::string& path);
bool exists(const std::string& path);

// An unnamed file (O_TMPFILE) on the file system of `directory`; a file system without it is an error that names
// ORKESTR_HOME.
Result<UniqueFd> make_unnamed_file(const std::string& directory, mode_t mode = 0600);
// Copies all of `from` to `to` at offset 0: shared where the file system can (reflink), else copied, holes staying
// holes.
Result<void> copy_file_contents(int from, int to);

// write(2) until all is written (blocking descriptors).
Result<void> write_all(int fd, std::string_view bytes);

// Open-file-description locks on one byte of a lock file (fcntl F_OFD_*). A lock belongs to the open file: it goes when
// the last copy of the descriptor is closed, however the process ends.
enum class LockKind { read, write };
// True when taken, false when another open file holds it.
Result<bool> try_lock_byte(int fd, std::int64_t byte, LockKind kind);
Result<void> unlock_byte(int fd, std::int64_t byte);
// True when someone else's lock on this byte conflicts with `kind`. Takes nothing.
Result<bool> is_byte_locked(int fd, std::int64_t byte, LockKind kind = LockKind::write);

}  // namespace orkestr::base
