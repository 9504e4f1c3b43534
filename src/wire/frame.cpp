#include "wire/frame.hpp"

#include <cassert>
#include <cstring>

namespace orkestr::wire {
namespace {

// Who may send a type, one bit for each receiver that accepts it.
constexpr unsigned kToClient = 1U << static_cast<unsigned>(Receiver::client);
constexpr unsigned kToSupervisorFromClient = 1U << static_cast<unsigned>(Receiver::supervisor_from_client);
constexpr unsigned kToSupervisorFromGuest = 1U << static_cast<unsigned>(Receiver::supervisor_from_guest);
constexpr unsigned kToGuest = 1U << static_cast<unsigned>(Receiver::guest);

constexpr unsigned kEveryone = kToClient | kToSupervisorFromClient | kToSupervisorFromGuest | kToGuest;
constexpr unsigned kTowardsGuest = kToSupervisorFromClient | kToGuest;
constexpr unsigned kTowardsClient = kToClient | kToSupervisorFromGuest;

struct TypeRow {
  Type type;
  std::string_view name;
  unsigned receivers;
};

constexpr TypeRow kTypes[] = {
    {Type::ping, "ping", kEveryone},
    {Type::pong, "pong", kEveryone},
    {Type::configure, "configure", kToGuest},
    {Type::start, "start", kToSupervisorFromClient},
    {Type::acknowledge, "acknowledge", kToSupervisorFromClient},
    {Type::inspect, "inspect", kToSupervisorFromClient},
    {Type::terminate, "terminate", kToSupervisorFromClient},
    {Type::pause, "pause", kToSupervisorFromClient},
    {Type::set_timeout, "set_timeout", kToSupervisorFromClient},
    {Type::metrics, "metrics", kToSupervisorFromClient},
    {Type::exec, "exec", kTowardsGuest},
    {Type::file_read, "file_read", kTowardsGuest},
    {Type::file_write, "file_write", kTowardsGuest},
    {Type::file_list, "file_list", kTowardsGuest},
    {Type::file_stat, "file_stat", kTowardsGuest},
    {Type::file_delete, "file_delete", kTowardsGuest},
    {Type::file_mkdir, "file_mkdir", kTowardsGuest},
    {Type::file_move, "file_move", kTowardsGuest},
    {Type::command_start, "command_start", kTowardsGuest},
    {Type::command_list, "command_list", kTowardsGuest},
    {Type::command_get, "command_get", kTowardsGuest},
    {Type::command_kill, "command_kill", kTowardsGuest},
    {Type::command_logs, "command_logs", kTowardsGuest},
    {Type::command_follow, "command_follow", kTowardsGuest},
    {Type::stats, "stats", kToGuest},
    {Type::data, "data", kEveryone},
    {Type::credit, "credit", kEveryone},
    {Type::cancel, "cancel", kTowardsGuest},
    {Type::detach, "detach", kToSupervisorFromClient},
    {Type::resize, "resize", kTowardsGuest},
    {Type::started, "started", kTowardsClient},
    {Type::progress, "progress", kToClient},
    {Type::result, "result", kTowardsClient},
    {Type::error, "error", kTowardsClient},
};

const TypeRow* find_row(Type type) {
  for (const TypeRow& row : kTypes) {
    if (row.type == type) return &row;
  }
  return nullptr;
}

}  // namespace

bool is_allowed(Receiver receiver, Type type) {
  const TypeRow* row = find_row(type);
  return row != nullptr && (row->receivers >> static_cast<unsigned>(receiver) & 1U) != 0;
}

std::string_view to_string(Type type) {
  const TypeRow* row = find_row(type);
  return row != nullptr ? row->name : "unknown";
}

OutFrame::OutFrame(Type type, std::uint32_t id, std::string_view payload, std::uint8_t flags)
    : type_(type), flags_(flags), id_(id) {
  assert(payload.size() <= kMaxPayload);
  bytes_.reserve(kHeaderBytes + payload.size());
  bytes_.resize(kHeaderBytes);
  bytes_.append(payload);
}

OutFrame OutFrame::with_room(Type type, std::uint32_t id, std::size_t payload_bytes, std::uint8_t flags) {
  assert(payload_bytes <= kMaxPayload);
  OutFrame frame;
  frame.type_ = type;
  frame.flags_ = flags;
  frame.id_ = id;
  frame.bytes_.resize(kHeaderBytes + payload_bytes);
  return frame;
}

std::string OutFrame::encode(std::uint32_t sequence) && {
  char* header = bytes_.data();
  store_u32(header, static_cast<std::uint32_t>(payload_size()));
  header[4] = static_cast<char>(type_);
  header[5] = static_cast<char>(flags_);
  store_u16(header + 6, 0);
  store_u32(header + 8, id_);
  store_u32(header + 12, sequence);
  return std::move(bytes_);
}

OutFrame data_frame(std::uint32_t id, Stream stream, std::string_view bytes, bool end) {
  const auto flags = static_cast<std::uint8_t>(static_cast<std::uint8_t>(stream) | (end ? kEndOfStream : 0U));
  return OutFrame(Type::data, id, bytes, flags);
}

OutFrame credit_frame(std::uint32_t id, std::uint32_t bytes) {
  assert(bytes > 0 && bytes <= kMaxCredit);
  char payload[4];
  store_u32(payload, bytes);
  return OutFrame(Type::credit, id, std::string_view(payload, sizeof payload));
}

std::optional<std::uint32_t> credit_of(const Frame& frame) {
  if (frame.type != Type::credit || frame.payload.size() != 4) return std::nullopt;
  const std::uint32_t bytes = load_u32(frame.payload.data());
  if (bytes == 0 || bytes > kMaxCredit) return std::nullopt;
  return bytes;
}

}  // namespace orkestr::wire
