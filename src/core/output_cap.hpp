// Output of a command with its middle left out: the first half and the last half of a cap, and the true total. The tail
// is a ring, so memory is the cap, however much comes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace orkestr::core {

class OutputCap {
 public:
  explicit OutputCap(std::size_t max_bytes) : head_max_(max_bytes - max_bytes / 2), tail_max_(max_bytes / 2) {}

  void append(std::string_view bytes);
  std::uint64_t total() const { return total_; }
  bool truncated() const { return total_ > head_max_ + tail_max_; }
  // Head and tail in order. Leaves this object empty.
  std::string take();

 private:
  std::size_t head_max_;
  std::size_t tail_max_;
  std::string head_;
  std::string tail_;  // a ring once it is full: the oldest byte is at tail_at_
  std::size_t tail_at_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace orkestr::core
