// The table of operations under test: frames as values, and what came out of it.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/operations.hpp"

namespace orkestr::test {

using supervisor::Operations;
using supervisor::TimePoint;
using wire::Type;

// Keeps the payload that a received frame points into.
struct TestFrame {
  Type type;
  std::uint32_t id;
  std::string payload;
  std::uint8_t flags = 0;
  wire::Frame view() const { return {type, flags, id, payload}; }
};

inline TestFrame data(std::uint32_t id, std::string bytes, wire::Stream stream, bool end = false) {
  return {Type::data, id, std::move(bytes),
          static_cast<std::uint8_t>(static_cast<std::uint8_t>(stream) | (end ? wire::kEndOfStream : 0U))};
}

inline TestFrame credit(std::uint32_t id, std::uint32_t bytes) {
  std::string payload(4, '\0');
  wire::store_u32(payload.data(), bytes);
  return {Type::credit, id, payload};
}

inline TestFrame exec(std::uint32_t id, bool stdin_open = false, std::uint64_t timeout_ms = 0) {
  wire::ExecRequest request;
  request.argv = {"/bin/bash", "-c", "make all TOKEN=hunter2hunter2"};
  request.env = {{"TOKEN", "hunter2hunter2"}};
  request.stdin_open = stdin_open;
  request.timeout_ms = timeout_ms;
  return {Type::exec, id, request.encode()};
}

inline TestFrame file(Type type, std::uint32_t id) {
  wire::FileRequest request;
  request.path = "/workspace/a";
  if (type == Type::file_move) request.destination = "/workspace/b";
  return {type, id, request.encode()};
}

inline TestFrame started(std::uint32_t id) { return {Type::started, id, wire::StartedMessage{77}.encode()}; }
inline TestFrame exec_result(std::uint32_t id) { return {Type::result, id, wire::ExecExit{}.encode()}; }

inline TestFrame decoded(wire::OutFrame frame) {
  const std::string bytes = std::move(frame).encode(0);
  return {static_cast<Type>(bytes[4]), wire::load_u32(bytes.data() + 8), bytes.substr(wire::kHeaderBytes),
          static_cast<std::uint8_t>(bytes[5])};
}

inline constexpr supervisor::ClientId kA = 1;
inline constexpr supervisor::ClientId kB = 2;

struct Table {
  Operations operations{{{"SECRET", "sandbox-secret"}, {"MODE", "fast"}}};
  TimePoint now{std::chrono::seconds(1000)};
  std::vector<TestFrame> guest;
  std::vector<std::pair<supervisor::ClientId, TestFrame>> clients;
  std::vector<supervisor::Finished> finished;

  Table() { operations.accept(); }

  void drain() {
    auto out = operations.take_outbox();
    for (auto& item : out.to_guest) guest.push_back(decoded(std::move(item.frame)));
    for (auto& item : out.to_client) clients.emplace_back(item.client, decoded(std::move(item.frame)));
    for (auto& item : out.finished) finished.push_back(std::move(item));
  }
  bool client(supervisor::ClientId id, const TestFrame& frame) {
    const bool ok = operations.from_client(id, frame.view(), now).ok();
    drain();
    return ok;
  }
  bool from_guest(const TestFrame& frame) {
    const bool ok = operations.from_guest(frame.view(), now).ok();
    drain();
    return ok;
  }
  // In frames as large as the wire has them.
  bool guest_sends(std::uint32_t id, std::size_t bytes, wire::Stream stream) {
    bool ok = true;
    for (; ok && bytes > 0; bytes -= std::min(bytes, wire::kMaxPayload)) {
      ok = from_guest(data(id, std::string(std::min(bytes, wire::kMaxPayload), 'x'), stream));
    }
    return ok;
  }
  bool client_sends(supervisor::ClientId who, std::uint32_t id, std::size_t bytes) {
    bool ok = true;
    for (; ok && bytes > 0; bytes -= std::min(bytes, wire::kMaxPayload)) {
      ok = client(who, data(id, std::string(std::min(bytes, wire::kMaxPayload), 'x'), wire::Stream::input));
    }
    return ok;
  }
  void tick(std::chrono::milliseconds later) {
    now += later;
    operations.tick(now);
    drain();
  }
  // Opens it and answers the id that the guest sees.
  std::uint32_t open(supervisor::ClientId id, const TestFrame& frame) {
    REQUIRE(client(id, frame));
    REQUIRE_FALSE(guest.empty());
    const TestFrame seen = guest.back();
    REQUIRE(seen.type == frame.type);
    forget();
    return seen.id;
  }
  std::uint32_t open_started(supervisor::ClientId id, const TestFrame& frame) {
    const auto guest_id = open(id, frame);
    REQUIRE(from_guest(started(guest_id)));
    forget();
    return guest_id;
  }
  void forget() {
    guest.clear();
    clients.clear();
    finished.clear();
  }
  wire::ErrorMessage last_error() const {
    REQUIRE_FALSE(clients.empty());
    REQUIRE(clients.back().second.type == Type::error);
    auto message = wire::ErrorMessage::decode(clients.back().second.payload);
    REQUIRE(message.ok());
    return *message;
  }
};

}  // namespace orkestr::test
