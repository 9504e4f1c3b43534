// Frames: the unit of every connection of this project (library ↔ supervisor, supervisor ↔ guest agent). PROTOCOL.md is
// the manual.
//
//   offset  size  field      (little endian)
//        0     4  length     payload bytes, at most kMaxPayload
//        4     1  type       Type
//        5     1  flags      data frames: bits 0-1 Stream, bit 2 kEndOfStream; else 0
//        6     2  reserved   0
//        8     4  id         the operation, chosen by who asked; 0 for the connection itself
//       12     4  sequence   0, 1, 2 … for each direction of a connection; a gap ends it
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace orkestr::wire {

inline constexpr std::size_t kHeaderBytes = 16;
inline constexpr std::size_t kMaxPayload = 256U << 10U;
// What a sender of data should put into one frame: large enough to be cheap, small enough that others get their turn.
inline constexpr std::size_t kDataChunk = 64U << 10U;
// Data an operation may have in flight in one direction before its first credit frame, and at any time.
inline constexpr std::uint32_t kInitialCredit = 1U << 20U;
inline constexpr std::uint32_t kMaxCredit = 4U << 20U;
// Operations open at once on one connection.
inline constexpr std::size_t kMaxOperations = 1024;

enum class Type : std::uint8_t {
  // the connection
  ping = 0x01,
  pong = 0x02,
  // requests: each opens an operation, which ends with exactly one `result` or `error`
  configure = 0x10,    // supervisor → guest: ConfigureRequest
  start = 0x11,        // client → supervisor, once, on the inherited connection: StartRequest
  acknowledge = 0x12,  // client → supervisor: the creator has the sandbox; from now on it outlives the creator
  inspect = 0x13,      // client → supervisor: result carries the record as JSON
  terminate = 0x14,    // client → supervisor: result comes when the VM is gone and the record is final
  pause = 0x15,        // client → supervisor: result comes when the sandbox is on disk; an error leaves it running
  set_timeout = 0x16,  // client → supervisor: TimeoutMessage; result carries the record
  metrics = 0x17,      // client → supervisor: MetricsRequest; result is a MetricsMessage
  exec = 0x20,
  file_read = 0x21,
  file_write = 0x22,
  file_list = 0x23,
  file_stat = 0x24,
  file_delete = 0x25,
  file_mkdir = 0x26,
  file_move = 0x27,
  command_start = 0x28,   // a background command: CommandStartRequest
  command_list = 0x29,    // output data: CommandMessages, each behind a 32-bit length
  command_get = 0x2A,     // CommandRequest, as all that follow
  command_kill = 0x2B,    // result comes when it has ended
  command_logs = 0x2C,    // output data, then CommandLogsMessage
  command_follow = 0x2D,  // output data until it has ended, then ExecExit
  stats = 0x2F,           // supervisor → guest: result is a StatsMessage
  // inside an operation
  data = 0x40,
  credit = 0x41,
  cancel = 0x42,    // end it: kill the command, drop the transfer; the final answer still comes
  detach = 0x43,    // client → supervisor: nobody listens any more, let it run; no answer comes
  resize = 0x44,    // towards the guest, an `exec` with a terminal: ResizeMessage; no answer comes
  started = 0x50,   // a command runs: StartedMessage
  progress = 0x51,  // supervisor → client, during start: ProgressMessage
  // final answers
  result = 0x60,
  error = 0x61,
};

// Which bytes a data frame carries.
enum class Stream : std::uint8_t { input = 0, output = 1, error_output = 2 };
inline constexpr std::uint8_t kStreamMask = 0x03;
inline constexpr std::uint8_t kEndOfStream = 0x04;

// Whose decoder reads: the receiver decides which types may come.
enum class Receiver : std::uint8_t { client, supervisor_from_client, supervisor_from_guest, guest };
bool is_allowed(Receiver receiver, Type type);
std::string_view to_string(Type type);  // "exec"; "unknown" for a value outside the enum

// A received frame; the payload points into the decoder's buffer and is valid until the decoder is used again.
struct Frame {
  Type type{};
  std::uint8_t flags = 0;
  std::uint32_t id = 0;
  std::string_view payload;

  Stream stream() const { return static_cast<Stream>(flags & kStreamMask); }
  bool end_of_stream() const { return (flags & kEndOfStream) != 0; }
};

// A frame on its way out: room for the header, then the payload, in one allocation, so that a producer reads straight
// into it and one write sends it. The header is filled in when the frame's turn comes (that is when its sequence number
// is known).
class OutFrame {
 public:
  OutFrame(Type type, std::uint32_t id, std::string_view payload = {}, std::uint8_t flags = 0);
  // `payload_bytes` of room to fill through payload(); shrink() after a short read.
  static OutFrame with_room(Type type, std::uint32_t id, std::size_t payload_bytes, std::uint8_t flags = 0);

  Type type() const { return type_; }
  std::uint32_t id() const { return id_; }
  std::uint8_t flags() const { return flags_; }
  std::string_view content() const { return std::string_view(bytes_).substr(kHeaderBytes); }
  char* payload() { return bytes_.data() + kHeaderBytes; }
  std::size_t payload_size() const { return bytes_.size() - kHeaderBytes; }
  void shrink(std::size_t payload_bytes) { bytes_.resize(kHeaderBytes + payload_bytes); }
  void set_flags(std::uint8_t flags) { flags_ = flags; }
  // The encoded frame. Ends the life of this object.
  std::string encode(std::uint32_t sequence) &&;

 private:
  OutFrame() = default;
  Type type_{};
  std::uint8_t flags_ = 0;
  std::uint32_t id_ = 0;
  std::string bytes_;
};

// Data frames of `stream`; `end` sets kEndOfStream.
OutFrame data_frame(std::uint32_t id, Stream stream, std::string_view bytes, bool end = false);
// A credit frame: `bytes` more may be sent to us on this operation; 1..kMaxCredit, as four bytes of payload.
OutFrame credit_frame(std::uint32_t id, std::uint32_t bytes);
// What a received credit frame grants; nothing when its payload is not four bytes of 1..kMaxCredit.
std::optional<std::uint32_t> credit_of(const Frame& frame);

// Integers of the wire: little endian, whatever the machine.
inline void store_u16(char* at, std::uint16_t v) {
  for (int i = 0; i < 2; ++i) at[i] = static_cast<char>(v >> (8 * i) & 0xFFU);
}
inline void store_u32(char* at, std::uint32_t v) {
  for (int i = 0; i < 4; ++i) at[i] = static_cast<char>(v >> (8 * i) & 0xFFU);
}
inline void store_u64(char* at, std::uint64_t v) {
  for (int i = 0; i < 8; ++i) at[i] = static_cast<char>(v >> (8 * i) & 0xFFU);
}
inline std::uint64_t load_little_endian(const char* at, int bytes) {
  std::uint64_t v = 0;
  for (int i = bytes; i-- > 0;) v = v << 8U | static_cast<unsigned char>(at[i]);
  return v;
}
inline std::uint16_t load_u16(const char* at) { return static_cast<std::uint16_t>(load_little_endian(at, 2)); }
inline std::uint32_t load_u32(const char* at) { return static_cast<std::uint32_t>(load_little_endian(at, 4)); }
inline std::uint64_t load_u64(const char* at) { return load_little_endian(at, 8); }

}  // namespace orkestr::wire
