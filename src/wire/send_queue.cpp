#include <algorithm>
#include <utility>

#include "wire/channel.hpp"

namespace orkestr::wire {
namespace {

// Frames up to this size are copied together into one write; a larger one is a write of its own, not copied.
constexpr std::size_t kSmallFrame = 16U << 10U;
constexpr std::size_t kOneWrite = 64U << 10U;

std::size_t wire_size(const OutFrame& frame) { return kHeaderBytes + frame.payload_size(); }

}  // namespace

void SendQueue::push(OutFrame frame, Lane lane) {
  const std::size_t size = wire_size(frame);
  const bool final_answer = frame.type() == Type::result || frame.type() == Type::error;
  bytes_ += size;
  ++frames_;
  if (lane == Lane::control && !final_answer) {
    control_.push_back(std::move(frame));
    return;
  }
  const std::uint32_t id = frame.id();
  Waiting& stream = streams_[id];
  if (stream.frames.empty()) turn_.push_back(id);
  stream.frames.push_back(std::move(frame));
  stream.bytes += size;
}

std::string_view SendQueue::pending() {
  if (current_.empty() && !refill()) return {};
  return std::string_view(current_).substr(offset_);
}

void SendQueue::consume(std::size_t count) {
  count = std::min(count, current_.size() - offset_);
  offset_ += count;
  bytes_ -= count;
  if (offset_ < current_.size()) return;
  offset_ = 0;
  if (current_.capacity() > kOneWrite) {
    current_ = std::string();  // a large frame's memory is not kept for the next small one
  } else {
    current_.clear();
  }
}

bool SendQueue::empty() const { return current_.empty() && control_.empty() && streams_.empty(); }

std::size_t SendQueue::bytes_of(std::uint32_t id) const {
  auto it = streams_.find(id);
  return it == streams_.end() ? 0 : it->second.bytes;
}

void SendQueue::drop(std::uint32_t id) {
  auto it = streams_.find(id);
  if (it == streams_.end()) return;
  bytes_ -= it->second.bytes;
  frames_ -= it->second.frames.size();
  streams_.erase(it);
  turn_.erase(std::find(turn_.begin(), turn_.end(), id));
}

void SendQueue::reset() { *this = SendQueue(); }

std::vector<OutFrame> SendQueue::take_unsent() {
  std::vector<OutFrame> unsent;
  const std::string_view written = current_;
  for (std::size_t at = 0; at + kHeaderBytes <= written.size();) {
    const std::size_t size = kHeaderBytes + load_u32(written.data() + at);
    if (at + size > offset_) {
      const auto type = static_cast<Type>(written[at + 4]);
      unsent.emplace_back(type, load_u32(written.data() + at + 8),
                          written.substr(at + kHeaderBytes, size - kHeaderBytes),
                          static_cast<std::uint8_t>(written[at + 5]));
    }
    at += size;
  }
  for (auto& [id, waiting] : streams_) {
    for (OutFrame& frame : waiting.frames) unsent.push_back(std::move(frame));
  }
  reset();
  return unsent;
}

std::optional<OutFrame> SendQueue::take_below(std::size_t max_bytes) {
  if (!control_.empty()) {
    if (wire_size(control_.front()) > max_bytes) return std::nullopt;
    OutFrame frame = std::move(control_.front());
    control_.pop_front();
    --frames_;
    return frame;
  }
  if (turn_.empty()) return std::nullopt;
  const std::uint32_t id = turn_.front();
  auto it = streams_.find(id);
  Waiting& stream = it->second;
  const std::size_t size = wire_size(stream.frames.front());
  if (size > max_bytes) return std::nullopt;
  OutFrame frame = std::move(stream.frames.front());
  stream.frames.pop_front();
  --frames_;
  stream.bytes -= size;
  turn_.pop_front();
  if (stream.frames.empty()) {
    streams_.erase(it);
  } else {
    turn_.push_back(id);
  }
  return frame;
}

// Precondition: current_ is empty.
bool SendQueue::refill() {
  std::optional<OutFrame> frame = take_below(kHeaderBytes + kMaxPayload);
  if (!frame) return false;
  const bool large = wire_size(*frame) > kSmallFrame;
  current_ = std::move(*frame).encode(sequence_++);
  if (large) return true;
  while (current_.size() < kOneWrite) {
    const std::size_t room = kOneWrite - current_.size();
    frame = take_below(std::min(kSmallFrame, room));
    if (!frame) break;
    current_ += std::move(*frame).encode(sequence_++);
  }
  return true;
}

}  // namespace orkestr::wire
