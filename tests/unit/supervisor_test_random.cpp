// The table of operations in random conversations: of correct peers, in which nothing may get lost, doubled or stuck;
// and with a guest that says anything.
#include <map>
#include <random>

#include "supervisor_table.hpp"

using namespace orkestr;
using namespace orkestr::test;
using namespace std::chrono_literals;

// Correct peers at random: a client with four kinds of requests and credit, a guest that answers. Both check the
// other's windows.
TEST_CASE("operations: random conversations") {
  struct Side {
    Type type{};
    bool detached = false;
    bool ended = false;  // the client had its final answer
    bool input_ended = false;
    std::uint64_t window_out = wire::kInitialCredit;  // what the client has granted and not received
    std::uint64_t window_in = wire::kInitialCredit;   // what the client may send
    std::uint64_t received = 0, sent = 0;
  };
  struct GuestSide {
    Type type{};
    bool has_input = false, input_ended = false, started = false, cancelled = false;
    std::uint64_t window_out = wire::kInitialCredit;
    std::uint64_t owed_in = 0;
    std::uint64_t sent = 0, received = 0;
  };
  std::random_device device;
  const auto seed = device();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto pick = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };

  for (int round = 0; round < 30; ++round) {
    Table t;
    std::map<std::uint32_t, Side> mine;
    std::map<std::uint32_t, GuestSide> guest;
    std::uint32_t next = 0;
    std::uint64_t finals = 0;

    const auto carry = [&] {
      for (const auto& frame : std::exchange(t.guest, {})) {
        if (frame.type == Type::credit) {
          auto found = guest.find(frame.id);
          if (found == guest.end()) continue;
          found->second.window_out += wire::load_u32(frame.payload.data());
          REQUIRE(found->second.window_out <= wire::kMaxCredit);
        } else if (frame.type == Type::cancel) {
          if (auto found = guest.find(frame.id); found != guest.end()) found->second.cancelled = true;
        } else if (frame.type == Type::data) {
          auto found = guest.find(frame.id);
          if (found == guest.end()) continue;
          REQUIRE_FALSE(found->second.input_ended);
          found->second.received += frame.payload.size();
          found->second.owed_in += frame.payload.size();
          found->second.input_ended = (frame.flags & wire::kEndOfStream) != 0;
        } else {
          REQUIRE(guest.count(frame.id) == 0);
          GuestSide side;
          side.type = frame.type;
          side.has_input = frame.type == Type::file_write;
          if (frame.type == Type::exec) side.has_input = wire::ExecRequest::decode(frame.payload)->stdin_open;
          guest[frame.id] = side;
        }
      }
      for (const auto& [client, frame] : std::exchange(t.clients, {})) {
        REQUIRE(client == kA);
        auto& side = mine.at(frame.id);
        REQUIRE_FALSE(side.ended);
        REQUIRE_FALSE(side.detached);
        if (frame.type == Type::data) {
          REQUIRE(frame.payload.size() <= side.window_out);
          side.window_out -= frame.payload.size();
          side.received += frame.payload.size();
        } else if (frame.type == Type::credit) {
          side.window_in += wire::load_u32(frame.payload.data());
          REQUIRE(side.window_in <= wire::kMaxCredit);
        } else if (frame.type == Type::result || frame.type == Type::error) {
          side.ended = true;
          ++finals;
        }
      }
    };
    const auto client_step = [&] {
      if (mine.empty() || pick(4) == 0) {
        const Type types[] = {Type::exec, Type::file_read, Type::file_write, Type::file_stat};
        const Type type = types[pick(4)];
        next += 1 + pick(3);
        mine[next].type = type;
        REQUIRE(t.client(kA, type == Type::exec ? exec(next, true) : file(type, next)));
        return;
      }
      auto it = std::next(mine.begin(), pick(static_cast<std::uint32_t>(mine.size())));
      auto& [id, side] = *it;
      const bool input = side.type == Type::exec || side.type == Type::file_write;
      const bool output = side.type == Type::exec || side.type == Type::file_read;
      switch (pick(8)) {
        case 0:
          REQUIRE(t.client(kA, {Type::cancel, id, ""}));
          break;
        case 1:
          if (pick(3) != 0) break;
          side.detached = true;
          REQUIRE(t.client(kA, {Type::detach, id, ""}));
          break;
        case 2:
        case 3:
          if (output && !side.detached && side.window_out < wire::kMaxCredit) {
            const auto grant = 1 + pick(static_cast<std::uint32_t>(wire::kMaxCredit - side.window_out));
            side.window_out += grant;
            REQUIRE(t.client(kA, credit(id, grant)));
          }
          break;
        default:
          if (!input || side.input_ended || side.window_in == 0) break;
          {
            const auto bytes =
                1 + pick(static_cast<std::uint32_t>(std::min<std::uint64_t>(side.window_in, wire::kDataChunk)));
            side.window_in -= bytes;
            side.sent += bytes;
            side.input_ended = pick(10) == 0;
            REQUIRE(t.client(kA, data(id, std::string(bytes, 'i'), wire::Stream::input, side.input_ended)));
          }
      }
    };
    const auto guest_end = [&](std::uint32_t id, const GuestSide& side) {
      TestFrame answer{Type::result, id, ""};
      if (side.type == Type::exec) answer = exec_result(id);
      if (side.type == Type::file_stat) answer.payload = wire::FileInfo{}.encode();
      const bool can = (side.type != Type::exec || side.started) && (side.type != Type::file_write || side.input_ended);
      if (!can) answer = {Type::error, id, wire::ErrorMessage{"internal", "no", "", ""}.encode()};
      guest.erase(id);
      REQUIRE(t.from_guest(answer));
    };
    const auto guest_step = [&] {
      if (guest.empty()) return;
      auto it = std::next(guest.begin(), pick(static_cast<std::uint32_t>(guest.size())));
      const auto id = it->first;
      GuestSide& side = it->second;
      if (side.cancelled || pick(12) == 0) return guest_end(id, GuestSide(side));
      if (side.type == Type::exec && !side.started) {
        side.started = true;
        REQUIRE(t.from_guest(started(id)));
      } else if (side.has_input && side.owed_in > 0 && pick(2) == 0) {
        REQUIRE(t.from_guest(credit(id, static_cast<std::uint32_t>(std::exchange(side.owed_in, 0)))));
      } else if ((side.type == Type::exec || side.type == Type::file_read) && side.window_out > 0) {
        const auto bytes =
            1 + pick(static_cast<std::uint32_t>(std::min<std::uint64_t>(side.window_out, wire::kMaxPayload)));
        side.window_out -= bytes;
        side.sent += bytes;
        REQUIRE(t.from_guest(data(id, std::string(bytes, 'o'), wire::Stream::output)));
      }
    };
    for (int step = 0; step < 1500; ++step) {
      if (pick(2) == 0) {
        client_step();
      } else {
        guest_step();
      }
      carry();
      if (pick(50) == 0) t.tick(100ms);
    }
    while (!guest.empty()) {
      guest_end(guest.begin()->first, GuestSide(guest.begin()->second));
      carry();
    }
    CHECK(t.operations.empty());
    std::uint64_t expected = 0;
    for (const auto& [id, side] : mine) expected += side.ended || !side.detached ? 1 : 0;
    CHECK(finals == expected);
  }
}

// Whatever a guest says: the table either takes it or reports a fault, and clients see only their own operations.
TEST_CASE("operations: a guest that says anything") {
  std::random_device device;
  const auto seed = device();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    Table t;
    const Type requests[] = {Type::exec, Type::file_read, Type::file_write, Type::file_list, Type::file_stat};
    for (std::uint32_t i = 0; i < 5; ++i) {
      const TestFrame request = requests[i] == Type::exec ? exec(i + 1, true) : file(requests[i], i + 1);
      t.open(kA, request);
    }
    for (int step = 0; step < 20; ++step) {
      const Type types[] = {Type::data, Type::credit, Type::started, Type::result, Type::error};
      TestFrame frame{types[random() % 5], static_cast<std::uint32_t>(random() % 8), ""};
      switch (random() % 4) {
        case 0:
          frame.payload = wire::ErrorMessage{"x", "y", "", ""}.encode();
          break;
        case 1:
          frame.payload = wire::StartedMessage{3}.encode();
          break;
        default:
          frame.payload.resize(random() % 40);
          for (char& c : frame.payload) c = static_cast<char>(random() % 6);
      }
      if (frame.type == Type::data) frame.flags = static_cast<std::uint8_t>(1 + random() % 2 + 4 * (random() % 2));
      if (!t.from_guest(frame)) break;
    }
    std::map<std::uint32_t, int> finals;
    for (const auto& [client, frame] : t.clients) {
      REQUIRE(client == kA);
      REQUIRE(frame.id >= 1);
      REQUIRE(frame.id <= 5);
      REQUIRE(finals[frame.id] == 0);
      if (frame.type == Type::result || frame.type == Type::error) ++finals[frame.id];
    }
  }
}
