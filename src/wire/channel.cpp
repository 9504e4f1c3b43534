#include "wire/channel.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::wire {
namespace {

// A handshake record: magic 8, kind u16, generation u16, reserved u32, nonce 16. Read as the length of a frame, the
// first four bytes are far above kMaxPayload, so a record is told from a frame wherever a frame may begin.
constexpr std::string_view kMagic("\xFFORKESTR", 8);
constexpr std::uint16_t kHello = 1;
constexpr std::uint16_t kAck = 2;
constexpr std::size_t kLengthBytes = 4;

constexpr std::size_t kFirstBuffer = 128U << 10U;
constexpr std::size_t kLeastRead = 16U << 10U;
constexpr std::size_t kLargestBuffer = kHeaderBytes + kMaxPayload + kLeastRead;

void append_record(std::string& out, std::uint16_t kind, const Nonce& nonce) {
  char record[kHandshakeBytes] = {};
  std::memcpy(record, kMagic.data(), kMagic.size());
  store_u16(record + 8, kind);
  store_u16(record + 10, kGeneration);
  std::memcpy(record + 16, nonce.data(), nonce.size());
  out.append(record, sizeof record);
}

bool is_well_formed(const char* record) {
  const std::uint16_t kind = load_u16(record + 8);
  return (kind == kHello || kind == kAck) && load_u32(record + 12) == 0;
}

std::string_view peer_of(Receiver self) {
  switch (self) {
    case Receiver::client:
    case Receiver::guest:
      return "the supervisor";
    case Receiver::supervisor_from_client:
      return "the client";
    case Receiver::supervisor_from_guest:
      return "the guest agent";
  }
  return "the peer";
}

bool goes_towards_guest(Receiver self) { return self == Receiver::guest || self == Receiver::supervisor_from_client; }

bool are_flags_allowed(Receiver self, Type type, std::uint8_t flags) {
  if (type != Type::data) return flags == 0;
  if ((flags & ~(kStreamMask | kEndOfStream)) != 0) return false;
  const unsigned stream = flags & kStreamMask;
  return goes_towards_guest(self) ? stream == 0 : stream == 1 || stream == 2;
}

bool is_id_allowed(Type type, std::uint32_t id) {
  switch (type) {
    case Type::ping:
    case Type::pong:
      return id == 0;
    case Type::error:  // with id 0: why the connection is about to end
      return true;
    default:
      return id != 0;
  }
}

// How many bytes at the end of `bytes` could be the beginning of a magic.
std::size_t magic_prefix_at_end(std::string_view bytes) {
  for (std::size_t n = std::min(kMagic.size() - 1, bytes.size()); n > 0; --n) {
    if (bytes.substr(bytes.size() - n) == kMagic.substr(0, n)) return n;
  }
  return 0;
}

}  // namespace

Channel::Channel(Receiver self, Nonce (*make_nonce)()) : self_(self), make_nonce_(make_nonce) { begin_handshake(); }

Nonce Channel::random_nonce() {
  Nonce nonce;
  const std::string bytes = base::random_bytes(nonce.size());
  std::copy(bytes.begin(), bytes.end(), nonce.begin());
  return nonce;
}

void Channel::begin_handshake() {
  own_ = make_nonce_();
  peer_.reset();
  hello_due_ = true;
  ack_due_ = false;
  established_ = false;
  report_established_ = false;
  expect_sequence_ = 0;
}

std::span<char> Channel::receive_space() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (buffer_.empty()) buffer_.resize(kFirstBuffer);
  if (buffer_.size() - end_ < kLeastRead) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (buffer_.size() - end_ < kLeastRead) buffer_.resize(kLargestBuffer);
  }
  assert(end_ < buffer_.size());
  return {buffer_.data() + end_, buffer_.size() - end_};
}

void Channel::received(std::size_t count) {
  assert(count <= buffer_.size() - end_);
  end_ += count;
}

std::size_t Channel::frame_rest() const {
  const std::size_t here = end_ - begin_;
  if (!established_ || here < kLengthBytes) return 0;
  const std::size_t length = load_u32(buffer_.data() + begin_);
  const std::size_t whole = kHeaderBytes + length;
  return length <= kMaxPayload && whole > here ? whole - here : 0;
}

Result<std::optional<Channel::Event>> Channel::next() {
  if (dead_) return *dead_;
  auto event = decode();
  if (!event) dead_ = event.error();
  return event;
}

Result<std::optional<Channel::Event>> Channel::decode() {
  while (true) {
    if (report_established_) {
      report_established_ = false;
      return std::optional<Event>(Event{Event::Kind::established, {}});
    }
    if (!established_) {
      ORKESTR_TRY(const bool found, hunt());
      if (!found) return std::optional<Event>();
      continue;
    }
    const std::string_view bytes(buffer_.data() + begin_, end_ - begin_);
    if (bytes.size() < kLengthBytes) return std::optional<Event>();
    const std::string_view start = bytes.substr(0, kMagic.size());
    if (start != kMagic.substr(0, start.size())) return take_frame();
    if (bytes.size() < kHandshakeBytes) return std::optional<Event>();
    if (!is_well_formed(bytes.data())) return refuse("a broken handshake record");
    ORKESTR_CHECK(take_record(bytes.data()));
    begin_ += kHandshakeBytes;
  }
}

Result<bool> Channel::hunt() {
  while (true) {
    const std::string_view bytes(buffer_.data() + begin_, end_ - begin_);
    const std::size_t at = bytes.find(kMagic);
    if (at == std::string_view::npos) {
      begin_ = end_ - magic_prefix_at_end(bytes);
      return false;
    }
    begin_ += at;
    if (end_ - begin_ < kHandshakeBytes) return false;
    const char* record = buffer_.data() + begin_;
    if (!is_well_formed(record)) {
      ++begin_;
      continue;
    }
    ORKESTR_CHECK(take_record(record));
    begin_ += kHandshakeBytes;
    return true;
  }
}

Result<void> Channel::take_record(const char* record) {
  const std::uint16_t kind = load_u16(record + 8);
  const std::uint16_t generation = load_u16(record + 10);
  Nonce nonce;
  std::memcpy(nonce.data(), record + 16, nonce.size());

  if (kind == kAck) {
    if (established_ || nonce != own_) return {};  // meant for a life before this one
    if (!peer_) {
      begin_handshake();  // the HELLO in front of it was lost, and would not come again for this nonce
      return {};
    }
    established_ = true;
    report_established_ = true;
    return {};
  }
  if (generation != kGeneration) {
    return Error(ErrorCode::connection,
                 fmt::format("peer speaks generation {}, this build speaks {}: {} is of another version of orkestr; "
                             "install the same version on both sides, and start the sandbox anew",
                             generation, kGeneration, peer_of(self_)));
  }
  if (peer_ == nonce) return {};
  if (established_) {
    lost_ = queue_.take_unsent();
    begin_handshake();
  }
  peer_ = nonce;
  // Our own HELLO again: the peer may have begun to listen after the first one. Who has heard it ignores the second.
  hello_due_ = true;
  ack_due_ = true;
  return {};
}

Result<std::optional<Channel::Event>> Channel::take_frame() {
  const std::string_view bytes(buffer_.data() + begin_, end_ - begin_);
  const std::uint32_t length = load_u32(bytes.data());
  if (length > kMaxPayload) {
    return refuse(fmt::format("a frame of {} bytes (0x{:08x}), more than {}", length, length, kMaxPayload));
  }
  if (bytes.size() < kHeaderBytes) return std::optional<Event>();
  Frame frame;
  frame.type = static_cast<Type>(bytes[4]);
  frame.flags = static_cast<std::uint8_t>(bytes[5]);
  frame.id = load_u32(bytes.data() + 8);
  const std::uint32_t sequence = load_u32(bytes.data() + 12);
  if (!is_allowed(self_, frame.type)) {
    return refuse(fmt::format("a frame of type 0x{:02x} ({}), which may not come from there",
                              static_cast<unsigned>(frame.type), to_string(frame.type)));
  }
  if (!are_flags_allowed(self_, frame.type, frame.flags)) {
    return refuse(fmt::format("a frame `{}` with flags 0x{:02x}", to_string(frame.type), frame.flags));
  }
  if (load_u16(bytes.data() + 6) != 0) {
    return refuse(fmt::format("a frame `{}` with reserved bits set", to_string(frame.type)));
  }
  if (!is_id_allowed(frame.type, frame.id)) {
    return refuse(fmt::format("a frame `{}` with id {}", to_string(frame.type), frame.id));
  }
  if (sequence != expect_sequence_) {
    return refuse(fmt::format("a frame `{}` with sequence {} where {} was due", to_string(frame.type), sequence,
                              expect_sequence_));
  }
  if (bytes.size() < kHeaderBytes + length) return std::optional<Event>();
  frame.payload = bytes.substr(kHeaderBytes, length);
  ++expect_sequence_;
  begin_ += kHeaderBytes + length;
  return std::optional<Event>(Event{Event::Kind::frame, frame});
}

Error Channel::refuse(std::string_view what) const {
  return Error(ErrorCode::connection,
               fmt::format("{} sent {}; the connection is closed (a bug, or a guest that is not ours any more)",
                           peer_of(self_), what));
}

void Channel::send(OutFrame frame, Lane lane) { queue_.push(std::move(frame), lane); }

std::string_view Channel::pending() {
  if (handshake_out_.empty()) {
    // Made only here, when the last record is out: what a write in flight points to never moves.
    if (hello_due_) append_record(handshake_out_, kHello, own_);
    if (ack_due_) append_record(handshake_out_, kAck, *peer_);
    hello_due_ = ack_due_ = false;
  }
  if (!handshake_out_.empty()) return std::string_view(handshake_out_).substr(handshake_offset_);
  return established_ ? queue_.pending() : std::string_view();
}

void Channel::consume(std::size_t count) {
  if (handshake_out_.empty()) {
    queue_.consume(count);
    return;
  }
  handshake_offset_ += std::min(count, handshake_out_.size() - handshake_offset_);
  if (handshake_offset_ < handshake_out_.size()) return;
  handshake_out_.clear();
  handshake_offset_ = 0;
}

}  // namespace orkestr::wire
