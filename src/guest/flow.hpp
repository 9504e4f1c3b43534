// The flow control of one operation, seen from the agent. Each direction starts with wire::kInitialCredit bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "guest/link.hpp"
#include "wire/frame.hpp"

namespace orkestr::guest {

// Data of one frame: with its header it fills two writes to a virtio port (32 KiB each) exactly, where a whole
// kDataChunk would cost a third one for its last 16 bytes.
inline constexpr std::size_t kFrameData = wire::kDataChunk - wire::kHeaderBytes;

// Towards the supervisor: data is sent only against credit, so a reader that stops stops us.
class Outlet {
 public:
  Outlet(Link& link, std::uint32_t id) : link_(&link), id_(id) {}

  std::uint32_t id() const { return id_; }
  // How much data may be sent now; 0 until more credit or room comes.
  std::size_t allowance() const { return link_->has_room() ? credit_ : 0; }
  bool has_credit() const { return credit_ > 0; }
  // Data of at most allowance() bytes.
  void send_data(wire::OutFrame frame) {
    credit_ -= static_cast<std::uint32_t>(frame.payload_size());
    link_->send(std::move(frame), wire::Lane::stream);
  }
  void send(wire::Type type, std::string_view payload) {
    link_->send(wire::OutFrame(type, id_, payload), wire::Lane::stream);
  }
  // False when the peer grants more than it ever may.
  [[nodiscard]] bool grant(std::uint32_t bytes) {
    if (bytes > wire::kMaxCredit - credit_) return false;
    credit_ += bytes;
    return true;
  }

 private:
  Link* link_;
  std::uint32_t id_;
  std::uint32_t credit_ = wire::kInitialCredit;
};

// From the supervisor: what was consumed is granted again, in portions.
class Inlet {
 public:
  Inlet(Link& link, std::uint32_t id) : link_(&link), id_(id) {}

  // False when the peer sends more than it was granted, or sends after the end.
  [[nodiscard]] bool accept(std::size_t bytes, bool end) {
    if (ended_ || bytes > window_) return false;
    window_ -= static_cast<std::uint32_t>(bytes);
    ended_ = end;
    return true;
  }
  void consumed(std::size_t bytes) {
    owed_ += static_cast<std::uint32_t>(bytes);
    if (ended_ || owed_ < kPortion) return;
    window_ += owed_;
    link_->send(wire::credit_frame(id_, std::exchange(owed_, 0)), wire::Lane::control);
  }
  bool ended() const { return ended_; }

 private:
  static constexpr std::uint32_t kPortion = wire::kInitialCredit / 4;

  Link* link_;
  std::uint32_t id_;
  std::uint32_t window_ = wire::kInitialCredit;
  std::uint32_t owed_ = 0;
  bool ended_ = false;
};

}  // namespace orkestr::guest
