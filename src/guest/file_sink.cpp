#include "guest/file_sink.hpp"

#include <algorithm>

namespace orkestr::guest {
namespace {

constexpr std::size_t kCachedHead = 1U << 20U;

}  // namespace

int FileSink::write(std::string_view bytes) {
  const auto head = bytes.substr(0, kCachedHead - head_bytes_);
  if (const int failed = write_at(file_.get(), head, head_bytes_); failed != 0) return failed;
  head_bytes_ += head.size();
  bytes.remove_prefix(head.size());
  if (bytes.empty()) return 0;
  if (!writer_) writer_ = std::make_unique<DirectWriter>(file_.get(), kCachedHead);
  return writer_->write(bytes);
}

int FileSink::finish() { return writer_ ? writer_->finish() : 0; }

}  // namespace orkestr::guest
