#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "../fuzz/channel_driver.hpp"
#include "wire/channel.hpp"

using namespace orkestr;
using namespace orkestr::wire;

namespace {

std::string record(std::uint16_t kind, const std::string& nonce, std::uint16_t generation = kGeneration) {
  std::string bytes = "\xFFORKESTR";
  bytes.resize(16);
  store_u16(bytes.data() + 8, kind);
  store_u16(bytes.data() + 10, generation);
  return bytes + nonce;
}
std::string hello(char nonce) { return record(1, std::string(16, nonce)); }
std::string ack(int own) { return record(2, reference::nonce_number(own)); }
std::string frame(Type type, std::uint32_t id, std::uint32_t sequence, std::string_view payload = {}, int flags = 0) {
  return OutFrame(type, id, payload, static_cast<std::uint8_t>(flags)).encode(sequence);
}

// Moves what `from` has to write, at most `max` bytes, to `to`.
std::size_t move_bytes(Channel& from, Channel& to, std::size_t max = SIZE_MAX) {
  const std::string_view bytes = from.pending();
  auto space = to.receive_space();
  const std::size_t n = std::min({bytes.size(), space.size(), max});
  std::copy_n(bytes.data(), n, space.data());
  to.received(n);
  from.consume(n);
  return n;
}

void feed(Channel& to, std::string_view bytes) {
  auto space = to.receive_space();
  REQUIRE(space.size() >= bytes.size());
  std::copy(bytes.begin(), bytes.end(), space.begin());
  to.received(bytes.size());
}

std::string take(Channel& from) {
  std::string out;
  while (!from.pending().empty()) {
    out += from.pending();
    from.consume(from.pending().size());
  }
  return out;
}

// Reads to the end of what was received: "established", "exec 1 payload".
std::vector<std::string> events(Channel& channel) {
  std::vector<std::string> out;
  while (true) {
    auto event = channel.next();
    REQUIRE_MESSAGE(event.ok(), (event ? "" : event.error().message()));
    if (!*event) return out;
    const auto& f = (*event)->frame;
    out.push_back((*event)->kind == Channel::Event::Kind::established
                      ? "established"
                      : std::string(to_string(f.type)) + " " + std::to_string(f.id) + " " + std::string(f.payload));
  }
}

// The error that ends the channel after `bytes`.
std::string error_after(Channel& channel, std::string_view bytes) {
  feed(channel, bytes);
  while (true) {
    auto event = channel.next();
    if (!event) {
      CHECK(event.error().code() == ErrorCode::connection);
      return event.error().message();
    }
    if (!*event) return "no error";
  }
}

struct Counted {
  Counted() { reference::nonces_made() = 0; }
};

using Events = std::vector<std::string>;

}  // namespace

TEST_CASE("two channels meet, whoever speaks first and however the bytes are cut") {
  for (std::size_t piece : {1U, 3U, 31U, 32U, 33U, 1000U}) {
    Channel client(Receiver::client);
    Channel supervisor(Receiver::supervisor_from_client);
    client.send(OutFrame(Type::exec, 1, "early"), Lane::control);  // waits for the handshake
    Events at_client;
    Events at_supervisor;
    for (int i = 0; i < 500; ++i) {
      move_bytes(client, supervisor, piece);
      for (auto& e : events(supervisor)) at_supervisor.push_back(e);
      move_bytes(supervisor, client, piece);
      for (auto& e : events(client)) at_client.push_back(e);
    }
    CHECK(at_supervisor == Events{"established", "exec 1 early"});
    CHECK(at_client == Events{"established"});
  }
}

TEST_CASE("a peer that begins to listen late is met as well") {
  Channel host(Receiver::supervisor_from_guest);
  take(host);  // the guest had not opened its port: all of this is lost
  Channel guest(Receiver::guest);
  for (int i = 0; i < 4; ++i) {
    move_bytes(guest, host);
    events(host);
    move_bytes(host, guest);
    events(guest);
  }
  CHECK(host.established());
  CHECK(guest.established());
}

TEST_CASE("frames wait until the peer can read them") {
  Counted counted;
  Channel channel(Receiver::client, &reference::counted_nonce);
  channel.send(OutFrame(Type::exec, 1), Lane::control);
  CHECK(take(channel) == record(1, reference::nonce_number(0)));
  feed(channel, hello('a'));
  CHECK(events(channel).empty());
  CHECK(take(channel) == record(1, reference::nonce_number(0)) + record(2, std::string(16, 'a')));
  feed(channel, ack(0));
  CHECK(events(channel) == Events{"established"});
  CHECK(take(channel) == frame(Type::exec, 1, 0));
}

TEST_CASE("stale and foreign records change nothing") {
  Counted counted;
  Channel channel(Receiver::client, &reference::counted_nonce);
  take(channel);
  feed(channel, hello('a') + ack(5));
  CHECK(events(channel).empty());
  take(channel);
  feed(channel, hello('a'));  // once more the same: no answer is due
  CHECK(events(channel).empty());
  CHECK(take(channel).empty());
  feed(channel, ack(0) + hello('a') + ack(0) + ack(9) + frame(Type::ping, 0, 0));
  CHECK(events(channel) == Events{"established", "ping 0 "});
  CHECK(reference::nonces_made() == 1);
}

TEST_CASE("a peer that starts over is followed: new nonce, empty queue, sequence 0") {
  Counted counted;
  Channel channel(Receiver::client, &reference::counted_nonce);
  feed(channel, hello('a') + ack(0) + frame(Type::ping, 0, 0));
  CHECK(events(channel) == Events{"established", "ping 0 "});
  take(channel);
  channel.send(OutFrame(Type::exec, 1), Lane::control);
  feed(channel, hello('b') + frame(Type::ping, 0, 1));  // bytes of the peer's former life behind its HELLO: discarded
  CHECK(events(channel).empty());
  CHECK_FALSE(channel.established());
  CHECK(channel.queue().empty());
  CHECK(take(channel) == record(1, reference::nonce_number(1)) + record(2, std::string(16, 'b')));
  feed(channel, ack(0) + ack(1) + frame(Type::pong, 0, 0));
  CHECK(events(channel) == Events{"established", "pong 0 "});
}

TEST_CASE("what a frame lacks is known as soon as its length is, and never while none has begun") {
  Counted counted;
  Channel channel(Receiver::client, &reference::counted_nonce);
  const std::string whole = frame(Type::data, 7, 0, std::string(1000, 'x'), 1);
  CHECK(channel.frame_rest() == 0);
  feed(channel, hello('a'));
  events(channel);
  CHECK(channel.frame_rest() == 0);
  feed(channel, ack(0) + whole.substr(0, 3));
  events(channel);
  CHECK(channel.frame_rest() == 0);
  feed(channel, whole.substr(3, 1));
  CHECK(channel.frame_rest() == whole.size() - 4);
  feed(channel, whole.substr(4, 500));
  events(channel);
  CHECK(channel.frame_rest() == whole.size() - 504);
  feed(channel, whole.substr(504));
  CHECK(channel.frame_rest() == 0);
  CHECK(events(channel).size() == 1);
  CHECK(channel.frame_rest() == 0);
  // A record in a frame's place is no frame, and what announces too much is refused, not waited for.
  feed(channel, hello('b').substr(0, 20));
  events(channel);
  CHECK(channel.frame_rest() == 0);
}

TEST_CASE("another generation is refused by name") {
  Channel channel(Receiver::supervisor_from_guest);
  const std::string text = error_after(channel, record(1, std::string(16, 'a'), 7));
  CHECK(text.find("peer speaks generation 7, this build speaks 1") == 0);
  CHECK(text.find("same version") != std::string::npos);
  CHECK_FALSE(channel.next().ok());
}

TEST_CASE("what a correct peer never sends ends the channel") {
  auto broken = [](Receiver self, const std::string& bytes) {
    Counted counted;
    Channel channel(self, &reference::counted_nonce);
    return error_after(channel, hello('a') + ack(0) + bytes);
  };
  auto has = [](const std::string& text, std::string_view part) {
    CAPTURE(text);
    CHECK(text.find(part) != std::string::npos);
  };
  const auto guest_sent = Receiver::supervisor_from_guest;
  std::string too_long(16, '\0');
  store_u32(too_long.data(), kMaxPayload + 1);
  has(broken(guest_sent, too_long), "the guest agent sent a frame of 262145 bytes");
  has(broken(guest_sent, too_long.substr(0, 4)), "262145");  // at once, not when the rest has come
  has(broken(guest_sent, frame(Type::exec, 1, 0)), "type 0x20 (exec)");
  has(broken(guest_sent, frame(static_cast<Type>(0xEE), 1, 0)), "type 0xee (unknown)");
  has(broken(guest_sent, frame(Type::data, 1, 0, "x", 8 | 1)), "flags 0x09");
  has(broken(guest_sent, frame(Type::data, 1, 0, "x", 3)), "flags 0x03");
  has(broken(guest_sent, frame(Type::data, 1, 0, "x", 0)), "flags 0x00");
  has(broken(Receiver::guest, frame(Type::data, 1, 0, "x", 1)), "flags 0x01");
  has(broken(guest_sent, frame(Type::result, 1, 0, "x", 4)), "flags 0x04");
  std::string reserved = frame(Type::result, 1, 0);
  reserved[7] = 1;
  has(broken(guest_sent, reserved), "reserved");
  has(broken(guest_sent, frame(Type::result, 0, 0)), "id 0");
  has(broken(guest_sent, frame(Type::ping, 1, 0)), "id 1");
  has(broken(guest_sent, frame(Type::ping, 0, 1)), "sequence 1 where 0 was due");
  has(broken(guest_sent, record(3, std::string(16, 'b'))), "broken handshake record");
  has(broken(guest_sent, "\xFFORKESTx" + std::string(24, 'x')), "0x4b524fff");
  CHECK(broken(guest_sent, frame(Type::error, 0, 0, "x")) == "no error");
}

TEST_CASE("the largest frames pass, one byte after the other and all at once") {
  for (std::size_t piece : {std::size_t{1}, std::size_t{4097}, SIZE_MAX}) {
    Channel a(Receiver::client);
    Channel b(Receiver::supervisor_from_client);
    for (int i = 0; i < 4; ++i) {
      move_bytes(a, b);
      events(b);
      move_bytes(b, a);
      events(a);
    }
    REQUIRE(a.established());
    const std::string payload(kMaxPayload, 'x');
    for (int i = 0; i < 3; ++i) a.send(data_frame(1, Stream::input, payload), Lane::stream);
    std::size_t frames = 0;
    while (!a.pending().empty()) {
      move_bytes(a, b, piece);
      while (true) {
        auto event = b.next();
        REQUIRE(event);
        if (!*event) break;
        CHECK((*event)->frame.payload == payload);
        ++frames;
      }
    }
    CHECK(frames == 3);
    CHECK(b.receive_space().size() <= 300U << 10U);  // bounded by one frame
  }
}

namespace {

// A stream as a peer with all sorts of faults would send it.
std::string random_stream(std::mt19937& random, reference::Side side) {
  std::string out;
  int own = 0;
  std::uint32_t sequence = 0;
  char peer = 'a';
  const auto& types = reference::types_for(side);
  const int pieces = 1 + static_cast<int>(random() % 20);
  auto garbage = [&random] {
    std::string bytes(random() % 50, '\0');
    for (char& c : bytes) c = "\xFFORKEST"[random() % 8];
    return bytes;
  };
  if (random() % 5 == 0) out += ack(own++);  // the HELLO in front of it was lost
  out += garbage() + hello(peer) + ack(own);
  for (int i = 0; i < pieces; ++i) {
    switch (random() % 13) {
      case 0:  // starts over
        out += hello(++peer) + garbage() + ack(++own);
        sequence = 0;
        break;
      case 1:
        out += hello(peer);
        break;
      case 2:
        out += ack(static_cast<int>(random() % 3));
        break;
      case 3:
        if (random() % 4 == 0) out += garbage();
        break;
      case 4:
        if (random() % 8 == 0) out += record(1, std::string(16, 'z'), static_cast<std::uint16_t>(random() % 3));
        break;
      default: {
        const auto type = static_cast<Type>(*std::next(types.begin(), static_cast<long>(random() % types.size())));
        const bool to_guest = side == reference::Side::guest || side == reference::Side::supervisor_from_client;
        const int flags = type == Type::data
                              ? (to_guest ? 0 : 1 + static_cast<int>(random() % 2)) + 4 * static_cast<int>(random() % 2)
                              : 0;
        const std::uint32_t id = type == Type::ping || type == Type::pong ? 0 : 1 + random() % 4;
        const std::size_t size = random() % 30 == 0 ? random() % kMaxPayload : random() % 60;
        out += frame(type, id, sequence++, std::string(size, static_cast<char>(random())), flags);
      }
    }
  }
  if (random() % 3 == 0) {
    for (unsigned n = random() % 3; n-- > 0;) out[random() % out.size()] = static_cast<char>(random());
  }
  if (random() % 3 == 0) out.resize(random() % out.size() + 1);
  return out;
}

}  // namespace

TEST_CASE("the channel sees what the naive decoder sees, on random streams in random pieces") {
  std::size_t established = 0;
  std::size_t frames = 0;
  std::size_t errors = 0;
  for (unsigned seed = 0; seed < 4000; ++seed) {
    std::mt19937 random(seed);
    const auto side = static_cast<reference::Side>(random() % 4);
    const std::string stream = random_stream(random, side);
    const auto expected = reference::decode_all(side, stream);
    const unsigned largest = 1U << (random() % 18);
    const auto seen = reference::run_channel(side, stream, [&] { return std::size_t{1} + random() % largest; });
    CAPTURE(seed);
    REQUIRE(seen == expected);
    for (const auto& e : expected) (e[0] == 'f' ? frames : e == "error" ? errors : established) += 1;
  }
  // The streams reach what they should.
  CHECK(established > 4000);
  CHECK(frames > 10'000);
  CHECK(errors > 500);
}
