#include "core/output_cap.hpp"

#include <algorithm>
#include <utility>

namespace orkestr::core {

void OutputCap::append(std::string_view bytes) {
  total_ += bytes.size();
  const std::size_t to_head = std::min(bytes.size(), head_max_ - head_.size());
  head_.append(bytes.substr(0, to_head));
  bytes.remove_prefix(to_head);
  if (bytes.size() > tail_max_) bytes.remove_prefix(bytes.size() - tail_max_);
  const std::size_t to_grow = std::min(bytes.size(), tail_max_ - tail_.size());
  tail_.append(bytes.substr(0, to_grow));
  bytes.remove_prefix(to_grow);
  while (!bytes.empty()) {  // at most two rounds: up to the end of the ring, then from its start
    const std::size_t count = std::min(bytes.size(), tail_max_ - tail_at_);
    bytes.copy(tail_.data() + tail_at_, count);
    tail_at_ = (tail_at_ + count) % tail_max_;
    bytes.remove_prefix(count);
  }
}

std::string OutputCap::take() {
  std::rotate(tail_.begin(), tail_.begin() + static_cast<std::ptrdiff_t>(tail_at_), tail_.end());
  tail_at_ = 0;
  head_ += tail_;
  tail_.clear();
  return std::exchange(head_, {});
}

}  // namespace orkestr::core
