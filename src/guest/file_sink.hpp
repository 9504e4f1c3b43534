// A new file being filled from front to back. What is small stays in the page cache, where the next command finds it.
// What is large goes past it (see DirectWriter) from the second megabyte on: under emulation every page of cache costs
// the guest more than the disk does, and a large upload would push out everything else.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "base/unique_fd.hpp"
#include "guest/direct_writer.hpp"

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
  base::UniqueFd file_;
  std::size_t head_bytes_ = 0;            // written before `writer_` took over
  std::unique_ptr<DirectWriter> writer_;  // after `file_`: it may still be writing
};

}  // namespace orkestr::guest
