// One end of a connection, without the connection: bytes in, events out; frames in, bytes out. No I/O, no clock, no
// threads; the owner moves the bytes (epoll in the library and the agent, Asio in the supervisor).
//
// Opening. Both ends send HELLO(own nonce, generation) and discard what they receive until a HELLO or an ACK record is
// found; a HELLO is answered by ACK(the peer's nonce); after the ACK that echoes our own nonce, frames follow. A HELLO
// that comes later, where a frame would begin, means that the peer started over: the channel does so as well and
// reports `established` once more.
//
// What fails: anything that a correct peer never sends (length, type for this direction, reserved bits, sequence,
// generation) is an error from next(), and the connection must then be closed. Memory is bounded by one frame and the
// send queue.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "orkestr/error.hpp"
#include "wire/frame.hpp"

namespace orkestr::wire {

// The generation of messages this build speaks. A peer of another is refused by name.
inline constexpr std::uint16_t kGeneration = 1;

using Nonce = std::array<std::uint8_t, 16>;
inline constexpr std::size_t kHandshakeBytes = 32;

// Who goes first when several operations have something to send.
//   control  overtakes all data: requests, credit, cancel, ping
//   stream   in order within its operation, operations take turns frame by frame: data, started, result, error
// A result or an error goes to the stream lane whatever was asked: it must not overtake its operation's data.
enum class Lane { control, stream };

// Frames waiting to be sent. Single writes carry many small frames or one large one.
class SendQueue {
 public:
  void push(OutFrame frame, Lane lane);
  // The next bytes to write; empty when there is nothing. Valid until consume() or push().
  std::string_view pending();
  void consume(std::size_t count);
  bool empty() const;
  std::size_t bytes() const { return bytes_; }  // waiting, headers included
  // What that costs in memory, about: a frame of one byte is an allocation and its bookkeeping all the same.
  std::size_t memory() const { return bytes_ + frames_ * kFrameOverhead; }
  std::size_t bytes_of(std::uint32_t id) const;  // waiting on the stream lane of one operation
  void drop(std::uint32_t id);                   // forgets unsent stream frames of one operation
  void reset();                                  // a new connection: forgets all, sequence 0
  // Takes the stream frames that were not written whole, in order within each operation; the queue is then as new.
  std::vector<OutFrame> take_unsent();

 private:
  struct Waiting {
    std::deque<OutFrame> frames;
    std::size_t bytes = 0;
  };
  bool refill();
  std::optional<OutFrame> take_below(std::size_t max_bytes);  // the next frame in turn, if it is that small
  std::deque<OutFrame> control_;
  std::map<std::uint32_t, Waiting> streams_;  // operations with frames
  std::deque<std::uint32_t> turn_;            // the same, next one first
  std::string current_;  // being written; only consume() and reset() change it while it holds something
  std::size_t offset_ = 0;
  static constexpr std::size_t kFrameOverhead = 96;
  std::size_t bytes_ = 0;
  std::size_t frames_ = 0;  // not yet copied into current_
  std::uint32_t sequence_ = 0;
};

class Channel {
 public:
  struct Event {
    enum class Kind { established, frame };
    Kind kind = Kind::frame;
    Frame frame;
  };

  // `make_nonce` is called for every (re)start of the handshake; tests pass a fixed one.
  explicit Channel(Receiver self, Nonce (*make_nonce)() = &random_nonce);

  // Where the owner reads into (never empty), and how many bytes it read.
  std::span<char> receive_space();
  void received(std::size_t count);
  // What the frame that has begun still lacks; 0 when none has, or its length is not here yet. Who reads no further
  // than that spares a large frame's first part being moved to make room for its rest.
  std::size_t frame_rest() const;
  // The next event, nothing when more bytes are needed. After an error the channel is dead.
  Result<std::optional<Event>> next();

  bool established() const { return established_; }
  // May be called before the channel is established: frames wait.
  void send(OutFrame frame, Lane lane);
  SendQueue& queue() { return queue_; }
  // The stream frames that were lost when the peer last started over: not one byte of them, or not all, was written.
  std::vector<OutFrame> take_lost() { return std::exchange(lost_, {}); }
  // What to write now (handshake records before establishment, then frames), and how much of it was written.
  std::string_view pending();
  void consume(std::size_t count);

  static Nonce random_nonce();

 private:
  Result<std::optional<Event>> decode();
  void begin_handshake();
  Result<bool> hunt();                           // true when a handshake record was consumed
  Result<void> take_record(const char* record);  // HELLO or ACK, well-formed
  Result<std::optional<Event>> take_frame();
  Error refuse(std::string_view what) const;
  Receiver self_;
  Nonce (*make_nonce_)();
  Nonce own_{};
  std::optional<Nonce> peer_;  // of the peer's latest HELLO
  bool hello_due_ = false;     // what pending() still has to say; one of each at most, however many a peer provokes
  bool ack_due_ = false;
  bool established_ = false;
  bool report_established_ = false;
  std::optional<Error> dead_;
  std::uint32_t expect_sequence_ = 0;
  std::string buffer_;  // received bytes: [begin_, end_)
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::string handshake_out_;
  std::size_t handshake_offset_ = 0;
  SendQueue queue_;
  std::vector<OutFrame> lost_;
};

}  // namespace orkestr::wire
