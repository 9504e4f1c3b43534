// The files of a sandbox. Paths are absolute; "..", NUL and more than 4096 bytes are refused before anything is sent.
// Writing, deleting, making and moving is possible under /workspace, /tmp and /persist; elsewhere it is not_permitted.
// Reading is possible everywhere. /persist is where a service mounts a volume; without one, and always locally, it is a
// folder of the same throwaway disk as the others and ends with the sandbox.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <orkestr/operation.hpp>
#include <orkestr/options.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace orkestr {

struct FileEntry {
  std::string name;  // last component of the path
  bool is_dir = false;
  std::uint64_t size = 0;
  int mode = 0;  // permission bits, 0644 = 420
  TimePoint modified_at;
};

struct FileStat {
  bool exists = false;
  bool is_dir = false;
  std::uint64_t size = 0;
  int mode = 0;
  TimePoint modified_at;
};

// One of several files for Files::write_batch().
struct BatchFile {
  std::string path;
  std::string content;
  int mode = 0644;
};

struct BatchWriteResult {
  std::string path;
  std::uint64_t bytes_written = 0;
  std::optional<Error> error;  // of this file; the others are written all the same
};

// A URL that reads or writes one file without a key, until it expires.
struct PresignedUrl {
  std::string url;
  std::string method;  // "GET", "PUT"
  std::string path;
  TimePoint expires_at;
};

// A file being read, pulled piece by piece with bounded memory. One reader at a time.
class ORKESTR_API FileReader {
 public:
  struct Impl;
  explicit FileReader(std::unique_ptr<Impl> impl);
  ~FileReader();
  FileReader(FileReader&&) noexcept;
  FileReader& operator=(FileReader&&) noexcept;
  // At most `max_bytes`; empty at the end of the file.
  Result<std::string> read(std::size_t max_bytes = 1U << 20U);
  // Likewise, into `size` bytes at `to`: how many were read.
  Result<std::size_t> read(char* to, std::size_t size);
  // Nothing when `timeout` has passed before there was any.
  Result<std::optional<std::size_t>> read(char* to, std::size_t size, std::chrono::milliseconds timeout);
  // The next bytes as they came; empty at the end of the file. Nothing when `timeout` has passed.
  Result<std::optional<std::string>> next(std::chrono::milliseconds timeout);
  // Readable when next() would not wait, for who uses only that. Owned by the reader.
  int fd();
  // Drops the transfer: reading ends with `cancelled`. Any thread.
  void cancel();

 private:
  std::unique_ptr<Impl> impl_;
};

// A file being written. It appears under its name, whole, when finish() succeeds; dropping the writer before leaves
// nothing behind.
class ORKESTR_API FileWriter {
 public:
  struct Impl;
  explicit FileWriter(std::unique_ptr<Impl> impl);
  ~FileWriter();
  FileWriter(FileWriter&&) noexcept;
  FileWriter& operator=(FileWriter&&) noexcept;
  // Waits while the guest is slower than the caller.
  Result<void> write(std::string_view bytes);
  Result<void> finish();
  // The same for whoever has other things to do: how many of the bytes there was room for, and whether it is finished;
  // 0 and false when `timeout` has passed. An unfinished finish() is to be called again.
  Result<std::size_t> write_some(std::string_view bytes, std::chrono::milliseconds timeout);
  Result<bool> finish(std::chrono::milliseconds timeout);
  // Readable when it is worth another try, after one that answered 0 or false. Owned by the writer.
  int fd();
  // Drops the transfer: writing ends with `cancelled`. Any thread.
  void cancel();

 private:
  std::unique_ptr<Impl> impl_;
};

class SandboxImpl;

// Reached as sandbox.files(); as cheap to copy as a pointer.
class ORKESTR_API Files {
 public:
  explicit Files(std::shared_ptr<SandboxImpl> sandbox) : sandbox_(std::move(sandbox)) {}

  // The whole file. Errors: file_not_found, is_a_directory, not_permitted.
  Result<std::string> read(std::string_view path) const;
  // Creates or replaces the file, and missing parent directories. `mode`: permission bits. Errors: not_permitted,
  // is_a_directory.
  Result<void> write(std::string_view path, std::string_view content, int mode = 0644) const;
  Result<FileReader> read_stream(std::string_view path) const;
  Result<FileWriter> write_stream(std::string_view path, int mode = 0644) const;
  // Sorted by name. Errors: file_not_found, not_a_directory.
  Result<std::vector<FileEntry>> list(std::string_view path) const;
  // A missing path is a value with exists == false.
  Result<FileStat> stat(std::string_view path) const;
  Result<bool> exists(std::string_view path) const;
  // Files and links only. Errors: file_not_found, is_a_directory.
  Result<void> remove(std::string_view path) const;
  Result<void> mkdir(std::string_view path, bool parents = true) const;
  Result<void> move(std::string_view source, std::string_view destination) const;

  // Up to 64 files, each below 16 MiB. Errors are in the results; of the call itself: invalid_argument, not_ready.
  Result<std::vector<BatchWriteResult>> write_batch(std::vector<BatchFile> files) const;
  // Remote; locally not_supported. `expires_in`: 60 s to 3600 s.
  Result<PresignedUrl> presign_download(std::string_view path,
                                        std::chrono::seconds expires_in = std::chrono::seconds(600)) const;
  Result<PresignedUrl> presign_upload(std::string_view path,
                                      std::chrono::seconds expires_in = std::chrono::seconds(600)) const;

  Operation<std::string> read_async(std::string_view path) const;
  Operation<void> write_async(std::string_view path, std::string content, int mode = 0644) const;
  Operation<std::vector<FileEntry>> list_async(std::string_view path) const;
  Operation<FileStat> stat_async(std::string_view path) const;
  Operation<void> remove_async(std::string_view path) const;
  Operation<void> mkdir_async(std::string_view path, bool parents = true) const;
  Operation<void> move_async(std::string_view source, std::string_view destination) const;
  Operation<std::vector<BatchWriteResult>> write_batch_async(std::vector<BatchFile> files) const;
  Operation<PresignedUrl> presign_download_async(std::string_view path,
                                                 std::chrono::seconds expires_in = std::chrono::seconds(600)) const;
  Operation<PresignedUrl> presign_upload_async(std::string_view path,
                                               std::chrono::seconds expires_in = std::chrono::seconds(600)) const;

 private:
  std::shared_ptr<SandboxImpl> sandbox_;
};

}  // namespace orkestr
