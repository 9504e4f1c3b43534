// The newest output of a background command, with true offsets: byte n is the n-th that the command wrote, whether or
// not it is still here. Memory grows with what is held, in chunks, and is bounded by kMaxBytes and a chunk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace orkestr::guest {

class OutputRing {
 public:
  static constexpr std::size_t kMaxBytes = 4U << 20U;
  static constexpr std::size_t kChunk = 64U << 10U;

  // The next byte appended has this offset.
  explicit OutputRing(std::uint64_t first = 0) : begin_(first) {}

  void append(std::string_view bytes);
  std::uint64_t begin() const { return begin_; }  // of the oldest byte that is here
  std::uint64_t end() const { return begin_ + size_; }
  // Bytes from `offset` on, begin() to end(), as far as they lie together.
  std::string_view at(std::uint64_t offset) const;
  // Forgets the oldest chunk.
  void drop_oldest();
  std::size_t memory() const { return memory_; }

 private:
  void drop(std::size_t bytes);

  std::deque<std::string> chunks_;
  std::size_t skipped_ = 0;  // at the start of the first chunk
  std::uint64_t begin_;
  std::size_t size_ = 0;
  std::size_t memory_ = 0;
};

}  // namespace orkestr::guest
