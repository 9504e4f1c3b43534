// A new file being filled from front to back. What is small stays in the page cache, where the next command finds it.
// What is large goes past it (O_DIRECT) from the second megabyte on: under emulation every page of cache costs the
// guest more than the disk does, and a large upload would push out everything else. Measured with 256 MiB: 550 MB/s
// direct, 130-250 through the cache; the first read afterwards costs 860 MB/s. File systems without O_DIRECT get
// ordinary writes.
//
// Holds at most kPiece of data once a file is large.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "base/unique_fd.hpp"

namespace orkestr::guest {

class FileSink {
 public:
  FileSink() = default;
  // `file` is empty, writable and blocking.
  explicit FileSink(base::UniqueFd file) : file_(std::move(file)) {}

  int fd() const { return file_.get(); }
  explicit operator bool() const { return static_cast<bool>(file_); }
  // 0, or the errno of what failed; then the file's content is undefined.
  [[nodiscard]] int write(std::string_view bytes);
  // Writes what is held back. Call once, at the end.
  [[nodiscard]] int finish();

 private:
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  [[nodiscard]] int write_plainly(std::string_view bytes);
  [[nodiscard]] int write_piece();
  bool set_direct(bool on);

  base::UniqueFd file_;
  std::size_t written_ = 0;
  bool direct_ = true;  // until the file system says otherwise
  std::unique_ptr<char, Free> piece_;
  std::size_t held_ = 0;  // bytes in piece_
};

}  // namespace orkestr::guest
