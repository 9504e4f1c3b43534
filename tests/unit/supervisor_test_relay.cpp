// The relay over real sockets: with the agent as a process, and with guests and clients that misbehave.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/un.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/file.hpp"
#include "supervisor_support.hpp"

using namespace orkestr;
using namespace orkestr::test;
using namespace std::chrono_literals;
using wire::OutFrame;
using wire::Type;

namespace {

bool is_exec(const SeenFrame& frame) { return frame.type == Type::exec; }
bool is_credit(const SeenFrame& frame) { return frame.type == Type::credit; }

}  // namespace

TEST_CASE("relay: a command of the real agent, with input, both outputs and its exit") {
  World world;
  REQUIRE(world.real_guest());
  auto client = world.client();
  client->send(OutFrame(Type::exec, 1, exec_payload("cat; echo err >&2; exit 3", true)));
  client->send(wire::data_frame(1, wire::Stream::input, "hello", true), wire::Lane::stream);
  REQUIRE(world.until([&] { return client->exit_of(1).has_value(); }));
  CHECK(client->exit_of(1)->exit_code == 3);
  CHECK(client->output(1) == "hello");
  CHECK(client->output(1, wire::Stream::error_output) == "err\n");
  REQUIRE(world.finished.size() == 1);
  CHECK(world.finished[0].command == "cat; echo err >&2; exit 3");
}

TEST_CASE("relay: a client that stops reading stops its own command and nobody else's") {
  World world;
  REQUIRE(world.real_guest());
  auto slow = world.client();
  auto quick = world.client();
  slow->send(OutFrame(Type::exec, 1, exec_payload("head -c 20000000 /dev/zero")));
  REQUIRE(world.until([&] { return slow->find(Type::started, 1).has_value(); }));
  slow->reading = false;
  quick->counting = true;
  quick->send(OutFrame(Type::exec, 1, exec_payload("head -c 50000000 /dev/zero")));
  REQUIRE(world.until([&] { return quick->exit_of(1).has_value(); }));
  CHECK(quick->counted == 50'000'000);
  CHECK_FALSE(slow->exit_of(1).has_value());
  slow->reading = true;
  slow->counting = true;
  std::uint64_t before = 0;
  for (const auto& frame : slow->frames) before += frame.type == Type::data ? frame.payload.size() : 0;
  if (before > 0) slow->send(wire::credit_frame(1, static_cast<std::uint32_t>(before)));
  REQUIRE(world.until([&] { return slow->exit_of(1).has_value(); }));
  CHECK(slow->counted + before == 20'000'000);
}

TEST_CASE("relay: a client killed in the middle of a command: the command goes on") {
  World world;
  REQUIRE(world.real_guest());
  const std::string marker = "/tmp/orkestr-relay-test-" + std::to_string(::getpid());
  auto client = world.client();
  client->send(OutFrame(Type::exec, 1, exec_payload("yes | head -c 5000000; sleep 0.2; echo done > " + marker)));
  REQUIRE(world.until([&] { return client->find(Type::started, 1).has_value(); }));
  client->hang_up();
  REQUIRE(world.until([&] { return world.finished.size() == 1; }));
  REQUIRE(world.finished[0].exit.has_value());
  CHECK(world.finished[0].exit->exit_code == 0);
  CHECK(world.finished[0].exit->stdout_bytes == 5'000'000);
  CHECK(base::exists(marker));
  CHECK(world.gone.size() == 1);
  std::filesystem::remove(marker);
}

TEST_CASE("relay: a client killed in the middle of an upload leaves no file") {
  World world;
  REQUIRE(world.real_guest());
  const std::string directory = "/tmp/orkestr-relay-dir-" + std::to_string(::getpid());
  std::filesystem::create_directory(directory);
  auto client = world.client();
  client->send(OutFrame(Type::file_write, 1, file_payload(directory + "/file")));
  client->send(wire::data_frame(1, wire::Stream::input, std::string(wire::kDataChunk, 'x')), wire::Lane::stream);
  REQUIRE(world.until([&] { return !std::filesystem::is_empty(directory); }));
  client->hang_up();
  REQUIRE(world.until([&] { return world.finished.size() == 1; }));
  CHECK(world.finished[0].error_code == "cancelled");
  CHECK(std::filesystem::is_empty(directory));
  std::filesystem::remove_all(directory);
}

TEST_CASE("relay: detach lets the command run and says nothing more about it") {
  World world;
  REQUIRE(world.real_guest());
  auto client = world.client();
  client->send(OutFrame(Type::exec, 1, exec_payload("head -c 9000000 /dev/zero; exit 7")));
  REQUIRE(world.until([&] { return client->find(Type::started, 1).has_value(); }));
  client->send(OutFrame(Type::detach, 1));
  REQUIRE(world.until([&] { return world.finished.size() == 1; }));
  CHECK(world.finished[0].exit->exit_code == 7);
  client->send(OutFrame(Type::exec, 2, exec_payload("true")));
  REQUIRE(world.until([&] { return client->exit_of(2).has_value(); }));
  CHECK_FALSE(client->find(Type::result, 1).has_value());
}

TEST_CASE("relay: cancel kills the command and its answer still comes") {
  World world;
  REQUIRE(world.real_guest());
  auto client = world.client();
  client->send(OutFrame(Type::exec, 1, exec_payload("sleep 100")));
  REQUIRE(world.until([&] { return client->find(Type::started, 1).has_value(); }));
  client->send(OutFrame(Type::cancel, 1));
  REQUIRE(world.until([&] { return client->exit_of(1).has_value(); }));
  CHECK(client->exit_of(1)->cancelled);
}

TEST_CASE("relay: files of the real agent, and a thousand commands on one connection") {
  World world;
  REQUIRE(world.real_guest());
  auto client = world.client();
  const std::string path = "/tmp/orkestr-relay-file-" + std::to_string(::getpid());
  client->send(OutFrame(Type::file_write, 1, file_payload(path)));
  client->send(wire::data_frame(1, wire::Stream::input, "content", true), wire::Lane::stream);
  REQUIRE(world.until([&] { return client->find(Type::result, 1).has_value(); }));
  client->send(OutFrame(Type::file_read, 2, file_payload(path)));
  REQUIRE(world.until([&] { return client->find(Type::result, 2).has_value(); }));
  CHECK(client->output(2) == "content");
  client->send(OutFrame(Type::file_stat, 3, file_payload(path)));
  REQUIRE(world.until([&] { return client->find(Type::result, 3).has_value(); }));
  CHECK(wire::FileInfo::decode(client->find(Type::result, 3)->payload)->size == 7);
  client->send(OutFrame(Type::file_list, 4, file_payload("/tmp")));
  REQUIRE(world.until([&] { return client->find(Type::result, 4).has_value(); }));
  CHECK(client->output(4).find(path.substr(5)) != std::string::npos);
  client->send(OutFrame(Type::file_delete, 5, file_payload(path)));
  REQUIRE(world.until([&] { return client->find(Type::result, 5).has_value(); }));
  client->send(OutFrame(Type::file_read, 6, file_payload(path)));
  REQUIRE(world.until([&] { return client->find(Type::error, 6).has_value(); }));
  CHECK(client->error_of(6) == "file_not_found");
  for (std::uint32_t i = 10; i < 60; ++i) {
    client->send(OutFrame(Type::exec, i, exec_payload("exit " + std::to_string(i))));
  }
  for (std::uint32_t i = 10; i < 60; ++i) {
    REQUIRE(world.until([&] { return client->exit_of(i).has_value(); }));
    CHECK(client->exit_of(i)->exit_code == i);
  }
}

TEST_CASE("relay: a hostile guest loses its channel, clients keep theirs") {
  World world;
  auto guest = world.scripted_guest();
  auto client = world.client();
  client->send(OutFrame(Type::exec, 1, exec_payload("true")));
  REQUIRE(world.until([&] { return !guest->frames.empty(); }));
  const auto id = guest->frames.back().id;
  SUBCASE("an id that is not open") { guest->send(OutFrame(Type::result, id + 1)); }
  SUBCASE("a result out of order") { guest->send(OutFrame(Type::result, id, wire::ExecExit{}.encode())); }
  SUBCASE("a request") { guest->send(OutFrame(Type::exec, 99, exec_payload("true"))); }
  SUBCASE("a terminate") { guest->send(OutFrame(Type::terminate, 1)); }
  SUBCASE("garbage instead of a frame") { guest->send_raw(std::string(64, '\xee')); }
  SUBCASE("data beyond its credit") {
    guest->send(OutFrame(Type::started, id, wire::StartedMessage{1}.encode()), wire::Lane::stream);
    for (int i = 0; i < 5; ++i) {
      guest->send(wire::data_frame(id, wire::Stream::output, std::string(wire::kMaxPayload, 'x')), wire::Lane::stream);
    }
  }
  SUBCASE("a flood of pings whose answers it does not read") {
    guest->reading = false;
    for (int i = 0; i < 100'000; ++i) guest->send(OutFrame(Type::ping, 0));
  }
  SUBCASE("it gives up by itself") {
    guest->send(OutFrame(Type::error, 0, wire::ErrorMessage{"internal", "I am broken\x1b[31m", "", ""}.encode()));
  }
  REQUIRE(world.until([&] { return world.guest_lost.has_value(); }));
  CHECK(world.guest_end == supervisor::Connection::End::broke_rules);
  CHECK(world.guest_lost->message().find('\x1b') == std::string::npos);
  CHECK_FALSE(client->closed);
  world.relay.end_operations(Error(ErrorCode::vm_failed, world.guest_lost->message()));
  REQUIRE(world.until([&] { return client->find(Type::error, 1).has_value(); }));
  CHECK(client->error_of(1) == "vm_failed");
}

TEST_CASE("relay: a broken client loses its connection, the others and the guest keep theirs") {
  World world;
  auto guest = world.scripted_guest();
  auto broken = world.client();
  auto sane = world.client();
  REQUIRE(world.until([&] { return broken->established() && sane->established() && guest->established(); }));
  SUBCASE("garbage") { broken->send_raw(std::string(64, '\xee')); }
  SUBCASE("an answer") { broken->send(OutFrame(Type::result, 1)); }
  SUBCASE("a future id") { broken->send(wire::credit_frame(8, 1)); }
  SUBCASE("ids that fall") {
    broken->send(OutFrame(Type::exec, 5, exec_payload("true")));
    broken->send(OutFrame(Type::inspect, 4));
  }
  REQUIRE(world.until([&] { return broken->closed; }));
  REQUIRE(world.until([&] { return world.gone.size() == 1; }));
  sane->send(OutFrame(Type::inspect, 1));
  REQUIRE(world.until([&] { return !world.requests.empty(); }));
  CHECK_FALSE(sane->closed);
  CHECK_FALSE(world.guest_lost.has_value());
}

TEST_CASE("relay: a connection that says nothing is closed, and there are at most kMaxClients") {
  World world;
  auto ends = base::socket_pair(SOCK_STREAM);
  const auto start = std::chrono::steady_clock::now();
  const auto mute = world.relay.add_client(std::move(ends->second));
  REQUIRE(world.until([&] { return world.gone == std::vector<supervisor::ClientId>{mute}; }));
  CHECK(std::chrono::steady_clock::now() - start >= 4900ms);
  std::vector<base::UniqueFd> others;
  for (std::size_t i = 0; i < supervisor::kMaxClients; ++i) {
    auto pair = base::socket_pair(SOCK_STREAM);
    CHECK(world.relay.add_client(std::move(pair->second)) != supervisor::kNobody);
    others.push_back(std::move(pair->first));
  }
  auto pair = base::socket_pair(SOCK_STREAM);
  CHECK(world.relay.add_client(std::move(pair->second)) == supervisor::kNobody);
}

TEST_CASE("relay: the guest's window is what the client granted") {
  World world;
  auto guest = world.scripted_guest();
  auto client = world.client();
  client->reading = true;
  client->send(OutFrame(Type::file_read, 1, file_payload("/x")));
  REQUIRE(world.until([&] { return !guest->frames.empty(); }));
  const auto id = guest->frames.back().id;
  client->send(wire::credit_frame(1, 300'000));
  REQUIRE(world.until([&] { return guest->find(Type::credit, id).has_value(); }));
  CHECK(wire::load_u32(guest->find(Type::credit, id)->payload.data()) == 300'000);
}

TEST_CASE("relay: a guest that comes anew gets nothing of the old one's operations") {
  World world;
  auto first = world.scripted_guest();
  auto client = world.client();
  client->send(OutFrame(Type::exec, 1, exec_payload("true")));
  REQUIRE(world.until([&] { return !first->frames.empty(); }));
  auto second = world.scripted_guest();
  REQUIRE(world.until([&] { return client->find(Type::error, 1).has_value(); }));
  CHECK(client->error_of(1) == "not_ready");
  client->send(OutFrame(Type::exec, 2, exec_payload("true")));
  REQUIRE(world.until([&] { return !second->frames.empty(); }));
  CHECK(second->frames.size() == 1);
}

TEST_CASE("relay: a guest that grants credit and does not read is given up before it costs the host its memory") {
  World world;
  auto guest = world.scripted_guest();
  auto client = world.client();
  constexpr std::uint32_t kCommands = 70;  // each may have kMaxCredit of input under way
  for (std::uint32_t id = 1; id <= kCommands; ++id) client->send(OutFrame(Type::exec, id, exec_payload("cat", true)));
  auto asked = [&] { return std::count_if(guest->frames.begin(), guest->frames.end(), is_exec); };
  REQUIRE(world.until([&] { return asked() == kCommands; }));
  for (const auto& frame : guest->frames) {
    if (!is_exec(frame)) continue;
    guest->send(OutFrame(Type::started, frame.id, wire::StartedMessage{1}.encode()), wire::Lane::stream);
    guest->send(wire::credit_frame(frame.id, wire::kMaxCredit - wire::kInitialCredit), wire::Lane::stream);
  }
  auto granted = [&] { return std::count_if(client->frames.begin(), client->frames.end(), is_credit); };
  REQUIRE(world.until([&] { return granted() >= kCommands; }));
  guest->reading = false;
  std::size_t sent = 0;
  for (std::uint32_t id = 1; id <= kCommands && !world.guest_lost; ++id) {
    for (std::size_t at = 0; at < wire::kMaxCredit; at += wire::kDataChunk) {
      client->send(wire::data_frame(id, wire::Stream::input, std::string(wire::kDataChunk, 'x')), wire::Lane::stream);
      sent += wire::kDataChunk;
      world.turn();
    }
  }
  REQUIRE(world.until([&] { return world.guest_lost.has_value(); }));
  CHECK(sent > supervisor::kMaxGuestQueueBytes / 2);
  CHECK(world.guest_end == supervisor::Connection::End::broke_rules);
  CHECK(world.guest_lost->message().find("does not read") != std::string::npos);
  CHECK_FALSE(client->closed);
}

TEST_CASE("relay: without a descriptor for another client it waits instead of spinning, and then takes it") {
  World world;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socklen_t length = sizeof(sa_family_t);  // a name of the kernel's choice
  base::UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0);
  REQUIRE(::listen(listener.get(), 8) == 0);
  length = sizeof address;
  REQUIRE(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  REQUIRE(world.relay.listen(std::move(listener)));
  base::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0);
  Peer client(std::move(socket), wire::Receiver::client);

  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const base::UniqueFd next(::fcntl(0, F_DUPFD_CLOEXEC, 0));  // the lowest number that is free
  const rlimit none{static_cast<rlim_t>(next.get()), before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  int handlers = 0;
  const auto moment = base::Deadline::after(250ms);
  while (!moment.expired() && handlers < 1000) {
    world.io.restart();
    handlers += static_cast<int>(world.io.poll_one());
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
  CHECK(handlers < 20);
  world.peers.push_back(&client);
  CHECK(world.until([&] { return client.established(); }));
}
