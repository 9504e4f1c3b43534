// Background commands in the table of operations: what passes, what is logged, and every lie of a guest.
#include "supervisor_table.hpp"
#include "wire/command_message.hpp"

using namespace orkestr;
using namespace orkestr::test;
using namespace std::chrono_literals;
using Status = wire::CommandMessage::Status;

namespace {

TestFrame start(std::uint32_t id) {
  wire::CommandStartRequest request;
  request.line = "serve TOKEN=hunter2hunter2";
  request.exec.argv = {"/bin/bash", "-c", "serve TOKEN=hunter2hunter2 sandbox-secret"};
  request.exec.env = {{"TOKEN", "hunter2hunter2"}};
  return {Type::command_start, id, request.encode()};
}

TestFrame about(Type type, std::uint32_t id, const std::string& command = "cmd_1", std::uint64_t timeout_ms = 0) {
  wire::CommandRequest request;
  request.id = command;
  request.timeout_ms = timeout_ms;
  return {type, id, request.encode()};
}

std::string message(const std::string& id, Status status = Status::running) {
  wire::CommandMessage command;
  command.id = id;
  command.line = "serve";
  command.status = status;
  return command.encode();
}

std::string entry(const std::string& bytes) {
  std::string length(4, '\0');
  wire::store_u32(length.data(), static_cast<std::uint32_t>(bytes.size()));
  return length + bytes;
}

std::string logs(std::uint64_t from, std::uint64_t size) {
  wire::CommandLogsMessage logs;
  logs.start_offset = from;
  logs.size = size;
  return logs.encode();
}

}  // namespace

TEST_CASE("commands: requests and answers pass, made anew, under ids of our own") {
  Table t;
  auto with_more = start(7);
  with_more.payload += wire::FieldWriter().put(40, std::string_view("smuggled")).take();
  REQUIRE(t.client(kA, with_more));
  REQUIRE(t.guest.size() == 1);
  CHECK(t.guest[0].payload == start(7).payload);
  const auto id = t.guest[0].id;
  CHECK(id != 7);
  t.forget();
  CHECK(t.from_guest({Type::result, id, message("cmd_1") + wire::FieldWriter().put(41, std::string_view("x")).take()}));
  REQUIRE(t.clients.size() == 1);
  CHECK(t.clients[0].second.id == 7);
  CHECK(t.clients[0].second.payload == message("cmd_1"));

  const auto list = t.open(kA, {Type::command_list, 8, ""});
  const std::string all = entry(message("cmd_1")) + entry(message("cmd_2", Status::killed));
  for (const char byte : all) REQUIRE(t.from_guest(data(list, std::string(1, byte), wire::Stream::output)));
  CHECK(t.from_guest({Type::result, list, ""}));

  const auto get = t.open(kA, about(Type::command_get, 9));
  CHECK(t.from_guest({Type::result, get, message("cmd_1")}));
  const auto killing = t.open(kA, about(Type::command_kill, 10));
  CHECK(t.from_guest({Type::result, killing, message("cmd_1", Status::killed)}));
  const auto reading = t.open(kA, about(Type::command_logs, 11));
  CHECK(t.from_guest(data(reading, "abc", wire::Stream::output)));
  CHECK(t.from_guest({Type::result, reading, logs(5, 8)}));
  const auto following = t.open(kA, about(Type::command_follow, 12));
  CHECK(t.from_guest(data(following, "abc", wire::Stream::output)));
  CHECK(t.from_guest(exec_result(following)));
  CHECK(t.operations.empty());
}

TEST_CASE("commands: starts and kills are logged, without secrets; looking is not") {
  Table t;
  const auto id = t.open(kA, start(1));
  CHECK(t.from_guest({Type::result, id, message("cmd_1")}));
  REQUIRE(t.finished.size() == 1);
  CHECK(t.finished[0].request == Type::command_start);
  CHECK(t.finished[0].command_id == "cmd_1");
  CHECK(t.finished[0].command == "serve TOKEN=*** ***");
  CHECK(t.finished[0].error_code.empty());
  t.forget();
  const auto killing = t.open(kA, about(Type::command_kill, 2));
  const wire::ErrorMessage unknown{"not_found", "command cmd_1: none", "", ""};
  CHECK(t.from_guest({Type::error, killing, unknown.encode()}));
  CHECK(t.last_error().code == "not_found");
  REQUIRE(t.finished.size() == 1);
  CHECK(t.finished[0].command_id == "cmd_1");
  CHECK(t.finished[0].error_code == "not_found");
  t.forget();
  const auto get = t.open(kA, about(Type::command_get, 3));
  CHECK(t.from_guest({Type::result, get, message("cmd_1")}));
  CHECK(t.finished.empty());
}

TEST_CASE("commands: the guest's faults, each of them") {
  Table t;
  const auto starting = t.open(kA, start(1));
  const auto list = t.open(kA, {Type::command_list, 2, ""});
  const auto get = t.open(kA, about(Type::command_get, 3));
  const auto killing = t.open(kA, about(Type::command_kill, 4));
  const auto reading = t.open(kA, about(Type::command_logs, 5));
  const auto following = t.open(kA, about(Type::command_follow, 6));
  const auto out = wire::Stream::output;
  SUBCASE("malformed results") {
    for (const auto id : {starting, get, killing, reading, following}) {
      CHECK_FALSE(t.from_guest({Type::result, id, "?"}));
    }
  }
  SUBCASE("results of another kind") {
    CHECK_FALSE(t.from_guest({Type::result, starting, ""}));
    CHECK_FALSE(t.from_guest({Type::result, list, message("cmd_1")}));
    CHECK_FALSE(t.from_guest({Type::result, get, logs(0, 0)}));
    CHECK_FALSE(t.from_guest({Type::result, starting, message("x/../y")}));
  }
  SUBCASE("another command than the one that was asked for") {
    CHECK_FALSE(t.from_guest({Type::result, get, message("cmd_2")}));
    CHECK_FALSE(t.from_guest({Type::result, killing, message("cmd_2", Status::killed)}));
  }
  SUBCASE("a command that was ended and runs") { CHECK_FALSE(t.from_guest({Type::result, killing, message("cmd_1")})); }
  SUBCASE("data where there is none, on another stream, or `started`") {
    CHECK_FALSE(t.from_guest(data(starting, "x", out)));
    CHECK_FALSE(t.from_guest(data(get, "x", out)));
    CHECK_FALSE(t.from_guest(data(killing, "x", out)));
    CHECK_FALSE(t.from_guest(data(following, "x", wire::Stream::error_output)));
    CHECK_FALSE(t.from_guest(started(starting)));
    CHECK_FALSE(t.from_guest(started(following)));
    CHECK_FALSE(t.from_guest(credit(following, 1)));
  }
  SUBCASE("data beyond credit") {
    CHECK(t.guest_sends(following, wire::kInitialCredit, out));
    CHECK_FALSE(t.from_guest(data(following, "x", out)));
  }
  SUBCASE("a list that is none, of files, too long in one entry, or cut") {
    CHECK_FALSE(t.from_guest(data(list, std::string("\xff\xff\xff\xff rubbish", 12), out)));
  }
  SUBCASE("a list of files") {
    CHECK_FALSE(t.from_guest(data(list, entry(wire::FieldWriter().put(1, std::string_view("name")).take()), out)));
  }
  SUBCASE("an entry that is too long") {
    std::string length(4, '\0');
    wire::store_u32(length.data(), wire::kMaxCommandLineBytes + 4096);
    CHECK_FALSE(t.from_guest(data(list, length, out)));
  }
  SUBCASE("a list that is cut") {
    CHECK(t.from_guest(data(list, entry(message("cmd_1")).substr(0, 9), out)));
    CHECK_FALSE(t.from_guest({Type::result, list, ""}));
  }
  SUBCASE("logs that claim less than came, or came before they were written") {
    CHECK(t.from_guest(data(reading, "abc", out)));
    CHECK_FALSE(t.from_guest({Type::result, reading, logs(6, 8)}));
    CHECK_FALSE(t.from_guest({Type::result, reading, wire::FieldWriter().put(1, std::uint64_t{9}).take()}));
  }
  SUBCASE("logs of more than one answer may hold") {
    CHECK(t.guest_sends(reading, wire::kInitialCredit, out));
    CHECK(t.client(kA, credit(5, 1000)));
    CHECK(t.from_guest(data(reading, "x", out)));
    CHECK_FALSE(t.from_guest({Type::result, reading, logs(0, 1ULL << 40U)}));
  }
}

TEST_CASE("commands: what a client may not ask") {
  Table t;
  const auto refused = [&](const TestFrame& frame) {
    REQUIRE(t.client(kA, frame));
    CHECK(t.guest.empty());
    return t.last_error().code;
  };
  CHECK(refused({Type::command_start, 1, "?"}) == "invalid_argument");
  wire::CommandStartRequest typed;
  typed.line = "x";
  typed.exec.argv = {"x"};
  typed.exec.stdin_open = true;
  CHECK(refused({Type::command_start, 2, typed.encode()}) == "invalid_argument");
  typed.exec.stdin_open = false;
  typed.exec.timeout_ms = 1;
  CHECK(refused({Type::command_start, 3, typed.encode()}) == "invalid_argument");
  CHECK(refused({Type::command_list, 4, "x"}) == "invalid_argument");
  CHECK(refused(about(Type::command_get, 5, "../cmd_1")) == "invalid_argument");
  CHECK(refused(about(Type::command_get, 6, "cmd_")) == "invalid_argument");
  typed.exec.timeout_ms = 0;
  typed.exec.argv = {"x", std::string(100'000, 'a'), std::string(100'000, 'b'), std::string(100'000, 'c')};
  CHECK(refused({Type::command_start, 7, typed.encode()}) == "invalid_argument");
}

TEST_CASE("commands: a follower that leaves is called off in the guest; a start that nobody waits for is not") {
  Table t;
  const auto following = t.open(kA, about(Type::command_follow, 1));
  CHECK(t.client(kA, {Type::detach, 1, ""}));
  REQUIRE(t.guest.size() >= 1);
  CHECK(t.guest[0].type == Type::cancel);
  CHECK(t.guest[0].id == following);
  CHECK(t.from_guest({Type::error, following, wire::ErrorMessage{"cancelled", "", "", ""}.encode()}));
  t.forget();
  const auto other = t.open(kB, about(Type::command_follow, 1));
  t.operations.client_gone(kB);
  t.drain();
  CHECK(t.guest[0].type == Type::cancel);
  CHECK(t.from_guest(exec_result(other)));  // it had ended anyway
  CHECK(t.clients.empty());
}

TEST_CASE("commands: backstops") {
  Table t;
  SUBCASE("a follower's own time and a grace") {
    t.open(kA, about(Type::command_follow, 1, "cmd_1", 1000));
    t.tick(10'999ms);
    CHECK(t.guest.empty());
    t.tick(1ms);
    REQUIRE_FALSE(t.guest.empty());
    CHECK(t.guest[0].type == Type::cancel);
    t.tick(5s);
    CHECK(t.last_error().code == "vm_failed");
  }
  SUBCASE("a follower without one waits for ever") {
    t.open(kA, about(Type::command_follow, 1));
    t.tick(std::chrono::hours(1000));
    CHECK(t.guest.empty());
  }
  SUBCASE("everything else is answered within a minute") {
    t.open(kA, start(1));
    t.open(kA, {Type::command_list, 2, ""});
    t.open(kA, about(Type::command_get, 3));
    t.open(kA, about(Type::command_kill, 4));
    t.open(kA, about(Type::command_logs, 5));
    t.tick(60s);
    CHECK(t.guest.size() == 5);
    t.tick(5s);
    CHECK(t.clients.size() == 5);
  }
}

TEST_CASE("stats: asked by us, answered to us") {
  Table t;
  t.operations.ask_stats(t.now);
  auto asked = t.operations.take_outbox();
  REQUIRE(asked.to_guest.size() == 1);
  const auto id = decoded(std::move(asked.to_guest[0].frame)).id;
  const auto answer = [&](const TestFrame& frame) {
    const bool fine = t.operations.from_guest(frame.view(), t.now).ok();
    return std::pair(fine, t.operations.take_outbox());
  };
  SUBCASE("as it should") {
    wire::StatsMessage stats;
    stats.memory_total_bytes = 1000;
    stats.memory_used_bytes = 10;
    const auto [fine, out] = answer({Type::result, id, stats.encode()});
    CHECK(fine);
    REQUIRE(out.stats);
    REQUIRE(out.stats->ok());
    CHECK((*out.stats)->memory_used_bytes == 10);
    CHECK(out.to_client.empty());
    CHECK(out.finished.empty());
  }
  SUBCASE("more than there is") {
    const auto payload = wire::FieldWriter().put(1, std::uint64_t{10}).put(2, std::uint64_t{11}).take();
    CHECK_FALSE(answer({Type::result, id, payload}).first);
  }
  SUBCASE("with data") { CHECK_FALSE(answer(data(id, "x", wire::Stream::output)).first); }
  SUBCASE("an error") {
    const auto [fine, out] = answer({Type::error, id, wire::ErrorMessage{"internal", "no", "", ""}.encode()});
    CHECK(fine);
    REQUIRE(out.stats);
    CHECK_FALSE(out.stats->ok());
  }
  SUBCASE("the end of the guest") {
    t.operations.guest_gone(Error(ErrorCode::vm_failed, "gone"), t.now);
    const auto out = t.operations.take_outbox();
    REQUIRE(out.stats);
    CHECK_FALSE(out.stats->ok());
  }
}
