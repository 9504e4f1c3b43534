#include <doctest/doctest.h>
#include <malloc.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "wire/channel.hpp"

using namespace orkestr::wire;

namespace {

struct Sent {
  Type type;
  std::uint32_t id;
  std::uint32_t sequence;
  std::string payload;
};

std::vector<Sent> parse(std::string_view bytes) {
  std::vector<Sent> frames;
  while (!bytes.empty()) {
    REQUIRE(bytes.size() >= kHeaderBytes);
    const std::size_t length = load_u32(bytes.data());
    REQUIRE(bytes.size() >= kHeaderBytes + length);
    frames.push_back({static_cast<Type>(bytes[4]), load_u32(bytes.data() + 8), load_u32(bytes.data() + 12),
                      std::string(bytes.substr(kHeaderBytes, length))});
    bytes.remove_prefix(kHeaderBytes + length);
  }
  return frames;
}

// All that is waiting, written in pieces of at most `piece` bytes.
std::string drain(SendQueue& queue, std::size_t piece = SIZE_MAX) {
  std::string out;
  while (true) {
    const std::string_view bytes = queue.pending();
    if (bytes.empty()) return out;
    const std::size_t n = std::min(piece, bytes.size());
    out.append(bytes.substr(0, n));
    queue.consume(n);
  }
}

OutFrame output(std::uint32_t id, std::size_t bytes, char fill = 'd') {
  return data_frame(id, Stream::output, std::string(bytes, fill));
}

}  // namespace

TEST_CASE("what was not written whole can be taken back, in order within each operation") {
  const auto frame = [](std::uint32_t id, char byte, std::size_t size) {
    return data_frame(id, Stream::output, std::string(size, byte), byte == 'z');
  };
  const auto shown = [](SendQueue& queue) {
    std::string out;
    for (const OutFrame& one : queue.take_unsent()) {
      out += std::to_string(one.id()) + one.content().substr(0, 1).data()[0] + std::to_string(one.payload_size()) +
             (one.flags() == 5 ? "! " : " ");
    }
    return out;
  };
  SUBCASE("nothing was written") {
    SendQueue queue;
    queue.push(frame(1, 'a', 10), Lane::stream);
    queue.push(frame(2, 'b', 10), Lane::stream);
    queue.push(frame(1, 'z', 20), Lane::stream);
    queue.push(credit_frame(1, 1), Lane::control);
    CHECK(shown(queue) == "1a10 1z20! 2b10 ");
    CHECK(queue.empty());
    CHECK(queue.bytes() == 0);
  }
  SUBCASE("small ones in one write, cut anywhere") {
    for (std::size_t cut = 0; cut <= 3 * (kHeaderBytes + 10); ++cut) {
      CAPTURE(cut);
      SendQueue queue;
      for (const char byte : {'a', 'b', 'c'}) queue.push(frame(1, byte, 10), Lane::stream);
      REQUIRE(queue.pending().size() == 3 * (kHeaderBytes + 10));
      queue.push(frame(1, 'd', 1), Lane::stream);
      queue.consume(cut);
      std::string expected;
      for (std::size_t i = cut / (kHeaderBytes + 10); i < 3; ++i) {
        expected += std::string("1") + static_cast<char>('a' + i) + "10 ";
      }
      CHECK(shown(queue) == expected + "1d1 ");
    }
  }
  SUBCASE("a large one, half of it") {
    SendQueue queue;
    queue.push(frame(3, 'a', 50'000), Lane::stream);
    queue.push(frame(3, 'b', 50'000), Lane::stream);
    (void)queue.pending();
    queue.consume(kHeaderBytes + 49'999);
    CHECK(shown(queue) == "3a50000 3b50000 ");
  }
}

TEST_CASE("control overtakes data, never a final answer") {
  SendQueue queue;
  queue.push(output(1, 10), Lane::stream);
  queue.push(OutFrame(Type::result, 1), Lane::control);  // asked for the wrong lane: it stays behind its data
  queue.push(OutFrame(Type::ping, 0), Lane::control);
  queue.push(credit_frame(1, 5), Lane::control);
  const auto sent = parse(drain(queue));
  REQUIRE(sent.size() == 4);
  CHECK(sent[0].type == Type::ping);
  CHECK(sent[1].type == Type::credit);
  CHECK(sent[2].type == Type::data);
  CHECK(sent[3].type == Type::result);
  for (std::uint32_t i = 0; i < 4; ++i) CHECK(sent[i].sequence == i);
  CHECK(queue.empty());
  CHECK(queue.bytes() == 0);
}

TEST_CASE("operations take turns frame by frame") {
  SendQueue queue;
  for (int i = 0; i < 100; ++i) queue.push(output(1, kDataChunk), Lane::stream);
  queue.push(output(2, 3), Lane::stream);
  queue.push(OutFrame(Type::result, 2), Lane::stream);
  queue.push(output(3, kDataChunk), Lane::stream);
  const auto sent = parse(drain(queue));
  REQUIRE(sent.size() == 103);
  std::vector<std::uint32_t> ids;
  for (int i = 0; i < 7; ++i) ids.push_back(sent[i].id);
  CHECK(ids == std::vector<std::uint32_t>{1, 2, 3, 1, 2, 1, 1});
}

TEST_CASE("small frames share a write, a large one is not copied") {
  SendQueue queue;
  for (int i = 0; i < 10'000; ++i) queue.push(output(1, 16), Lane::stream);
  const std::size_t first = queue.pending().size();
  CHECK(first <= 64U << 10U);
  CHECK(first > 63U << 10U);
  queue.reset();

  OutFrame large = OutFrame::with_room(Type::data, 1, kMaxPayload, 1);
  const char* payload = large.payload();
  queue.push(std::move(large), Lane::stream);
  queue.push(output(1, 16), Lane::stream);
  const std::string_view pending = queue.pending();
  CHECK(pending.data() + kHeaderBytes == payload);
  CHECK(pending.size() == kHeaderBytes + kMaxPayload);
}

TEST_CASE("a short read shrinks a frame with room") {
  OutFrame frame = OutFrame::with_room(Type::data, 7, kDataChunk);
  std::copy_n("abc", 3, frame.payload());
  frame.shrink(3);
  frame.set_flags(static_cast<std::uint8_t>(Stream::error_output) | kEndOfStream);
  const std::string bytes = std::move(frame).encode(9);
  CHECK(bytes == std::string("\3\0\0\0\x40\6\0\0\7\0\0\0\11\0\0\0abc", 19));
}

TEST_CASE("dropping an operation leaves the others and no gap in the sequence") {
  SendQueue queue;
  for (int i = 0; i < 3; ++i) {
    queue.push(output(1, 100), Lane::stream);
    queue.push(output(2, 200), Lane::stream);
  }
  CHECK(queue.bytes_of(1) == 3 * 116);
  CHECK(queue.bytes() == 3 * 116 + 3 * 216);
  queue.drop(1);
  queue.drop(99);
  CHECK(queue.bytes_of(1) == 0);
  CHECK(queue.bytes() == 3 * 216);
  const auto sent = parse(drain(queue, 7));
  REQUIRE(sent.size() == 3);
  for (std::uint32_t i = 0; i < 3; ++i) {
    CHECK(sent[i].id == 2);
    CHECK(sent[i].sequence == i);
  }
}

TEST_CASE("reset forgets everything, the write under way included") {
  SendQueue queue;
  queue.push(output(1, 100), Lane::stream);
  queue.consume(queue.pending().size() / 2);
  queue.push(OutFrame(Type::ping, 0), Lane::control);
  queue.reset();
  CHECK(queue.empty());
  CHECK(queue.bytes() == 0);
  CHECK(queue.pending().empty());
  queue.consume(10);  // of a write that was under way: nothing
  queue.push(OutFrame(Type::ping, 0), Lane::control);
  CHECK(parse(drain(queue)).front().sequence == 0);
}

TEST_CASE("whatever is pushed and however it is written: order within an operation, contiguous sequence, exact bytes") {
  std::mt19937 random(20261121);
  for (int round = 0; round < 200; ++round) {
    CAPTURE(round);
    SendQueue queue;
    std::map<std::uint32_t, std::vector<std::string>> expected;
    std::string out;
    std::size_t pushed = 0;
    int number = 0;
    for (int step = 0; step < 100; ++step) {
      if (random() % 3 != 0) {
        const std::uint32_t id = 1 + random() % 5;
        const std::size_t size = random() % 4 == 0 ? random() % 40'000 : random() % 100;
        std::string payload = std::to_string(number++) + ":" + std::string(size, 'p');
        expected[id].push_back(payload);
        pushed += kHeaderBytes + payload.size();
        queue.push(data_frame(id, Stream::output, payload), Lane::stream);
      } else {
        const std::string_view bytes = queue.pending();
        const std::size_t n = bytes.empty() ? 0 : random() % (bytes.size() + 1);
        out.append(bytes.substr(0, n));
        queue.consume(n);
      }
      CHECK(queue.bytes() == pushed - out.size());
    }
    out += drain(queue, 1 + random() % 9'000);
    CHECK(out.size() == pushed);
    std::map<std::uint32_t, std::vector<std::string>> seen;
    std::uint32_t sequence = 0;
    for (const Sent& frame : parse(out)) {
      CHECK(frame.sequence == sequence++);
      seen[frame.id].push_back(frame.payload);
    }
    CHECK(seen == expected);
  }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kHeapIsCounted = false;  // a sanitizer's allocator tells mallinfo2 nothing
#else
constexpr bool kHeapIsCounted = true;
#endif

TEST_CASE("memory() is about what the frames cost, also when they carry a byte each") {
  SendQueue queue;
  constexpr std::size_t kFrames = 100'000;
  const auto before = mallinfo2().uordblks;
  for (std::size_t i = 0; i < kFrames; ++i) {
    queue.push(output(1 + static_cast<std::uint32_t>(i % 3), 1), i % 2 == 0 ? Lane::stream : Lane::control);
  }
  const auto cost = mallinfo2().uordblks - before;
  if (kHeapIsCounted) {
    CHECK(queue.memory() > cost / 2);
    CHECK(queue.memory() < cost * 2);
  }
  const std::size_t full = queue.memory();
  queue.drop(1);
  queue.drop(2);
  queue.drop(3);
  CHECK(queue.memory() < full * 2 / 3);
  drain(queue);
  CHECK(queue.memory() == 0);
  CHECK(queue.bytes() == 0);
}
