#include "guest/output_ring.hpp"

#include <algorithm>

namespace orkestr::guest {
namespace {

// Most commands say little; a chunk of full size is for those that say more.
constexpr std::size_t kFirstChunk = 4U << 10U;

}  // namespace

void OutputRing::append(std::string_view bytes) {
  while (!bytes.empty()) {
    if (chunks_.empty() || chunks_.back().size() == chunks_.back().capacity()) {
      std::string& chunk = chunks_.emplace_back();
      chunk.reserve(chunks_.size() == 1 && size_ == 0 && begin_ == 0 ? kFirstChunk : kChunk);
      memory_ += chunk.capacity();
    }
    std::string& last = chunks_.back();
    const std::size_t count = std::min(bytes.size(), last.capacity() - last.size());
    last.append(bytes.substr(0, count));
    bytes.remove_prefix(count);
    size_ += count;
  }
  if (size_ > kMaxBytes) drop(size_ - kMaxBytes);
}

std::string_view OutputRing::at(std::uint64_t offset) const {
  std::size_t at = static_cast<std::size_t>(offset - begin_) + skipped_;
  for (const std::string& chunk : chunks_) {
    if (at < chunk.size()) return std::string_view(chunk).substr(at);
    at -= chunk.size();
  }
  return {};
}

void OutputRing::drop_oldest() {
  if (!chunks_.empty()) drop(chunks_.front().size() - skipped_);
}

void OutputRing::drop(std::size_t bytes) {
  begin_ += bytes;
  size_ -= bytes;
  skipped_ += bytes;
  while (!chunks_.empty() && skipped_ >= chunks_.front().size()) {
    skipped_ -= chunks_.front().size();
    memory_ -= chunks_.front().capacity();
    chunks_.pop_front();
  }
}

}  // namespace orkestr::guest
