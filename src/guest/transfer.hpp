// File operations that stream: read, write, list. Each keeps at most one frame in memory.
#pragma once

#include <dirent.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/unique_fd.hpp"
#include "guest/file_sink.hpp"
#include "guest/flow.hpp"
#include "wire/message.hpp"

namespace orkestr::guest {

// Sends a regular file; what has no size (/proc) is read to its end all the same.
class FileRead {
 public:
  // is_a_directory, file_not_found…; invalid_argument for devices, pipes and sockets.
  static Result<std::unique_ptr<FileRead>> start(Link& link, std::uint32_t id, const wire::FileRequest& request);

  [[nodiscard]] bool on_input(std::string_view, bool) { return false; }
  [[nodiscard]] bool on_credit(std::uint32_t bytes) { return outlet_.grant(bytes); }
  void cancel();
  bool produce();
  bool finished() const { return finished_; }

 private:
  FileRead(Link& link, std::uint32_t id, std::string path) : outlet_(link, id), path_(std::move(path)) {}
  void fail(const Error& error);

  Outlet outlet_;
  std::string path_;
  base::UniqueFd file_;
  bool finished_ = false;
};

// Receives a file under a temporary name beside its own and renames it when it is whole: a reader sees the old content
// or the new, and a cut transfer leaves nothing.
class FileWrite {
 public:
  // Makes missing parents. is_a_directory, not_a_directory…; invalid_argument when something other than a regular file
  // has the name.
  static Result<std::unique_ptr<FileWrite>> start(Link& link, std::uint32_t id, const wire::FileRequest& request);
  ~FileWrite();

  [[nodiscard]] bool on_input(std::string_view bytes, bool end);
  [[nodiscard]] bool on_credit(std::uint32_t) { return false; }
  void cancel();
  bool produce() { return false; }
  bool finished() const { return finished_; }

 private:
  FileWrite(Link& link, std::uint32_t id) : outlet_(link, id), inlet_(link, id) {}
  Result<void> open(const wire::FileRequest& request);
  Result<void> write(std::string_view bytes);
  Result<void> complete();
  void fail(const Error& error);

  Outlet outlet_;
  Inlet inlet_;
  std::string path_;     // where the name leads
  std::string partial_;  // the temporary name; empty when there is nothing to remove
  mode_t mode_ = 0644;
  FileSink file_;
  bool finished_ = false;
};

// Sends the entries of a directory, in the file system's order.
class FileList {
 public:
  static Result<std::unique_ptr<FileList>> start(Link& link, std::uint32_t id, const wire::FileRequest& request);

  [[nodiscard]] bool on_input(std::string_view, bool) { return false; }
  [[nodiscard]] bool on_credit(std::uint32_t bytes) { return outlet_.grant(bytes); }
  void cancel();
  bool produce();
  bool finished() const { return finished_; }

 private:
  struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  FileList(Link& link, std::uint32_t id, std::string path) : outlet_(link, id), path_(std::move(path)) {}
  Result<void> refill();
  void append_entry(const char* name);
  void fail(const Error& error);

  Outlet outlet_;
  std::string path_;
  std::unique_ptr<DIR, CloseDirectory> directory_;
  std::string pending_;  // encoded entries not sent yet
  bool complete_ = false;
  bool finished_ = false;
};

}  // namespace orkestr::guest
