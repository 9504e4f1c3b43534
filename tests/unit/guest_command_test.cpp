// Background commands in the agent: the ring, the table, reading on, killing; and what becomes of an exec whose caller
// is lost.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "guest/command.hpp"
#include "guest/command_table.hpp"
#include "guest/output_ring.hpp"
#include "guest_client.hpp"
#include "wire/command_message.hpp"

using namespace orkestr;
using namespace orkestr::test;
using guest::OutputRing;
using std::chrono::milliseconds;
using std::chrono::seconds;
using wire::Type;
using Status = wire::CommandMessage::Status;

namespace {

constexpr std::size_t kMiB = 1U << 20U;

std::string content(const OutputRing& ring) {
  std::string all;
  while (ring.begin() + all.size() < ring.end()) all += ring.at(ring.begin() + all.size());
  return all;
}

// The n-th byte is known from n alone.
std::string pattern(std::uint64_t from, std::size_t count) {
  std::string bytes;
  for (std::size_t i = 0; i < count; ++i) bytes += static_cast<char>('a' + (from + i) * 31 % 23);
  return bytes;
}

struct Logs {
  std::string content;
  wire::CommandLogsMessage message;
};

struct Fixture {
  TemporaryDirectory dir;
  GuestClient client{dir.path()};

  Answer& start_answer(const std::string& line) {
    wire::CommandStartRequest request;
    request.line = line;
    request.exec.argv = {"/bin/bash", "-c", line};
    return client.wait(client.open(Type::command_start, request.encode()));
  }
  static wire::CommandMessage message_of(const Answer& answer) {
    REQUIRE_MESSAGE(answer.result, (answer.error ? answer.error->message() : "no answer"));
    auto message = wire::CommandMessage::decode(*answer.result);
    REQUIRE(message);
    return *message;
  }
  wire::CommandMessage start(const std::string& line) { return message_of(start_answer(line)); }
  std::uint32_t ask(Type type, const std::string& id, std::uint64_t offset = 0, std::uint64_t timeout_ms = 0) {
    wire::CommandRequest request;
    request.id = id;
    request.offset = offset;
    request.timeout_ms = timeout_ms;
    return client.open(type, request.encode());
  }
  wire::CommandMessage get(const std::string& id) { return message_of(client.wait(ask(Type::command_get, id))); }
  wire::CommandMessage kill(const std::string& id) { return message_of(client.wait(ask(Type::command_kill, id))); }
  Logs logs(const std::string& id, std::uint64_t offset = 0) {
    const Answer& answer = client.wait(ask(Type::command_logs, id, offset));
    REQUIRE_MESSAGE(answer.result, (answer.error ? answer.error->message() : "no answer"));
    auto message = wire::CommandLogsMessage::decode(*answer.result);
    REQUIRE(message);
    return {answer.output, *message};
  }
  wire::ExecExit follow(const std::string& id, std::string* output, std::uint64_t offset = 0) {
    const Answer& answer = client.wait(ask(Type::command_follow, id, offset));
    *output = answer.output;
    return answer.exit();
  }
  wire::CommandMessage ended(const std::string& id) {
    const auto deadline = base::Deadline::after(seconds(20));
    while (true) {
      auto message = get(id);
      if (message.status != Status::running) return message;
      REQUIRE_FALSE(deadline.expired());
      client.read_for(milliseconds(5));
    }
  }
  std::vector<wire::CommandMessage> list() {
    const Answer& answer = client.wait(client.open(Type::command_list, ""));
    REQUIRE(answer.result);
    std::vector<wire::CommandMessage> all;
    std::string_view bytes = answer.output;
    while (!bytes.empty()) {
      REQUIRE(bytes.size() > 4);
      const std::size_t length = wire::load_u32(bytes.data());
      auto message = wire::CommandMessage::decode(bytes.substr(4, length));
      REQUIRE(message);
      all.push_back(*message);
      bytes.remove_prefix(4 + length);
    }
    return all;
  }
  bool comes(const std::function<bool()>& condition) {
    const auto deadline = base::Deadline::after(seconds(20));
    while (!condition()) {
      if (deadline.expired()) return false;
      client.read_for(milliseconds(5));
    }
    return true;
  }
  pid_t pid_in(const std::string& name) {
    REQUIRE(comes([&] {
      auto text = base::read_file(dir / name);
      return text && !text->empty() && text->back() == '\n';
    }));
    return std::atoi(base::read_file(dir / name)->c_str());
  }
  static bool alive(pid_t pid) { return ::kill(pid, 0) == 0; }
};

}  // namespace

TEST_CASE("ring: the newest 4 MiB with true offsets, whatever the pieces") {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{1000}, std::size_t{65521}, kMiB + 1}) {
    CAPTURE(piece);
    OutputRing ring;
    const std::size_t total = piece == 1 ? 3 * OutputRing::kChunk : 9 * kMiB;
    for (std::uint64_t at = 0; at < total; at += piece) {
      ring.append(pattern(at, piece));
      if (piece > 1) REQUIRE(ring.memory() <= OutputRing::kMaxBytes + 2 * OutputRing::kChunk);
    }
    CHECK(ring.end() >= total);
    CHECK(ring.end() - ring.begin() == std::min<std::uint64_t>(ring.end(), OutputRing::kMaxBytes));
    CHECK(content(ring) == pattern(ring.begin(), static_cast<std::size_t>(ring.end() - ring.begin())));
    ring.drop_oldest();
    CHECK(content(ring) == pattern(ring.begin(), static_cast<std::size_t>(ring.end() - ring.begin())));
    while (ring.memory() > 0) ring.drop_oldest();
    CHECK(ring.begin() == ring.end());
    ring.append("on");
    CHECK(content(ring) == "on");
  }
}

TEST_CASE("ring: one that begins late, and little costs little") {
  OutputRing ring(1000);
  CHECK(ring.begin() == 1000);
  CHECK(ring.end() == 1000);
  ring.append("x");
  CHECK(ring.at(1000) == "x");
  OutputRing small;
  small.append("hello");
  CHECK(small.memory() <= 8192);
}

TEST_CASE_FIXTURE(Fixture, "command: start, look, read, its end") {
  const auto command = start("echo one; echo two >&2; echo three; exit 7");
  CHECK(command.id.substr(0, 4) == "cmd_");
  CHECK(command.line == "echo one; echo two >&2; echo three; exit 7");
  CHECK(command.pid > 0);
  CHECK(command.status == Status::running);
  CHECK(command.started_ns > 1'500'000'000'000'000'000);
  const auto over = ended(command.id);
  CHECK(over.status == Status::exited);
  CHECK(over.exit_code == 7);
  CHECK(over.pid == command.pid);
  CHECK(over.log_bytes == 14);
  CHECK(logs(command.id).content == "one\ntwo\nthree\n");  // both streams, in the order they were written
  CHECK(logs(command.id, 4).content == "two\nthree\n");
  const Logs beyond = logs(command.id, 1000);
  CHECK(beyond.content.empty());
  CHECK(beyond.message.size == 14);
  CHECK(beyond.message.start_offset == 14);
  std::string output;
  const auto exit = follow(command.id, &output);
  CHECK(output == "one\ntwo\nthree\n");
  CHECK(exit.exit_code == 7);
  CHECK(exit.signal == 0);
  CHECK(list().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "command: an unknown id, and a program that cannot start") {
  for (const Type type : {Type::command_get, Type::command_kill, Type::command_logs, Type::command_follow}) {
    const Answer& answer = client.wait(ask(type, "cmd_nobody"));
    REQUIRE(answer.error);
    CHECK(answer.error->code() == ErrorCode::not_found);
  }
  wire::CommandStartRequest request;
  request.line = "x";
  request.exec.argv = {"/no/such/program"};
  CHECK(client.wait(client.open(Type::command_start, request.encode())).error);
  CHECK(list().empty());
}

TEST_CASE_FIXTURE(Fixture, "command: a follower gets what comes, to the end, and leaving it alone changes nothing") {
  const auto command = start("for i in 1 2 3; do echo $i; sleep 0.1; done; echo > done; sleep 0.2");
  const auto left = ask(Type::command_follow, command.id);
  client.read_until([&] { return client.answer(left).output == "1\n"; });
  client.cancel(left);
  CHECK(client.wait(left).error->code() == ErrorCode::cancelled);
  std::string output;
  CHECK(follow(command.id, &output).exit_code == 0);
  CHECK(output == "1\n2\n3\n");
  CHECK(base::exists(dir / "done"));
}

TEST_CASE_FIXTURE(Fixture, "command: a follower's own time ends it, not the command") {
  const auto command = start("echo begun; sleep 30");
  const auto started = std::chrono::steady_clock::now();
  const Answer& answer = client.wait(ask(Type::command_follow, command.id, 0, 300));
  CHECK(std::chrono::steady_clock::now() - started >= milliseconds(290));
  CHECK(answer.exit().timed_out);
  CHECK(answer.output == "begun\n");
  CHECK(get(command.id).status == Status::running);
  CHECK(kill(command.id).status == Status::killed);
}

TEST_CASE_FIXTURE(Fixture, "command: kill ends the whole tree, with setsid and a trapped SIGTERM, and is idempotent") {
  const auto command = start(
      "trap '' TERM; setsid bash -c 'trap \"\" TERM; echo $$ > escaped; sleep 300 & wait' & echo $$ > leader; while :; "
      "do sleep 1; done");
  const pid_t escaped = pid_in("escaped");
  const pid_t leader = pid_in("leader");
  const auto asked = std::chrono::steady_clock::now();
  const auto first = ask(Type::command_kill, command.id);
  const auto second = ask(Type::command_kill, command.id);
  CHECK(message_of(client.wait(first)).status == Status::killed);
  CHECK(message_of(client.wait(second)).status == Status::killed);
  const auto took = std::chrono::steady_clock::now() - asked;
  CHECK(took >= seconds(2));
  CHECK(took < seconds(8));
  CHECK_FALSE(alive(leader));
  CHECK_FALSE(alive(escaped));
  CHECK(kill(command.id).status == Status::killed);
  std::string output;
  CHECK(follow(command.id, &output).signal == SIGKILL);
}

TEST_CASE_FIXTURE(Fixture, "command: killed is who was killed, also when it chose its own end; exited stays exited") {
  const auto polite = start("trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done");
  REQUIRE(comes([&] { return get(polite.id).log_bytes > 0; }));
  CHECK(kill(polite.id).status == Status::killed);
  std::string output;
  CHECK(follow(polite.id, &output).signal == SIGTERM);
  const auto suicide = start("kill -SEGV $$");
  CHECK(ended(suicide.id).status == Status::killed);
  const auto over = start("exit 3");
  CHECK(ended(over.id).exit_code == 3);
  const auto again = kill(over.id);
  CHECK(again.status == Status::exited);
  CHECK(again.exit_code == 3);
}

TEST_CASE_FIXTURE(Fixture, "command: what the shell left behind is ended by a kill, and does not hold its end") {
  const auto command = start("(echo $BASHPID > left; exec sleep 300) & echo gone");
  CHECK(ended(command.id).status == Status::exited);
  CHECK(logs(command.id).content == "gone\n");
  const pid_t left = pid_in("left");
  CHECK(alive(left));
  CHECK(kill(command.id).status == Status::exited);
  CHECK_FALSE(alive(left));
}

TEST_CASE_FIXTURE(Fixture, "command: a long log keeps its newest 4 MiB, and offsets stay true") {
  const auto command = start("head -c 6000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero | tr '\\0' y");
  CHECK(ended(command.id).log_bytes == 7'000'000);
  const Logs first = logs(command.id);
  const std::uint64_t begin = 7'000'000 - OutputRing::kMaxBytes;
  CHECK(first.message.start_offset == begin);
  CHECK(first.message.size == 7'000'000);
  CHECK(first.content.size() == wire::kMaxLogsBytes);
  const Logs border = logs(command.id, 5'999'999);
  CHECK(border.content == "x" + std::string(1'000'000, 'y'));
  std::string output;
  CHECK(follow(command.id, &output).exit_code == 0);
  CHECK(output == std::string(6'000'000 - begin, 'x') + std::string(1'000'000, 'y'));
}

TEST_CASE_FIXTURE(Fixture, "command: a follower that keeps reading misses nothing of 40 MiB") {
  const auto command = start("sleep 0.2; head -c 41943040 /dev/zero; echo end");
  const auto reading = ask(Type::command_follow, command.id);
  client.discard_data(true);
  CHECK(client.wait(reading).exit().exit_code == 0);
  CHECK(client.data_bytes() == 40 * kMiB + 4);
}

TEST_CASE_FIXTURE(Fixture,
                  "command: a follower that stands still stops the command for a while, not for good, and is told") {
  const auto command = start("head -c 20000000 /dev/zero; echo > finished");
  client.grant(false);
  const auto reading = ask(Type::command_follow, command.id);
  client.read_for(milliseconds(500));
  CHECK(client.answer(reading).output.size() == wire::kInitialCredit);
  CHECK_FALSE(base::exists(dir / "finished"));
  CHECK(comes([&] { return base::exists(dir / "finished"); }));
  client.grant(true);
  client.send(wire::credit_frame(reading, wire::kInitialCredit));
  const Answer& answer = client.wait(reading);
  REQUIRE(answer.error);
  CHECK(answer.error->message().find("read on from offset") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "command: 256 are kept; the oldest ended goes first; all running is the end of it") {
  const auto first = start("true");
  ended(first.id);
  std::vector<wire::CommandMessage> running;
  for (std::size_t i = 1; i < guest::CommandTable::kMaxCommands; ++i) running.push_back(start("exec sleep 300"));
  CHECK(list().size() == guest::CommandTable::kMaxCommands);
  running.push_back(start("exec sleep 300"));
  CHECK(list().size() == guest::CommandTable::kMaxCommands);
  CHECK(client.wait(ask(Type::command_get, first.id)).error->code() == ErrorCode::not_found);
  const Answer& refused = start_answer("true");
  REQUIRE(refused.error);
  CHECK(refused.error->code() == ErrorCode::rate_limited);
  CHECK(refused.error->message().find("256") != std::string::npos);
  // (Not by command_kill: without cgroups each of them looks at every process of the machine, over and over.)
  REQUIRE(::kill(static_cast<pid_t>(running.back().pid), SIGKILL) == 0);
  CHECK(ended(running.back().id).status == Status::killed);
  CHECK(start("true").status == Status::running);
  CHECK(client.wait(ask(Type::command_get, running.back().id)).error->code() == ErrorCode::not_found);
  for (const auto& command : running) ::kill(static_cast<pid_t>(command.pid), SIGKILL);
}

TEST_CASE_FIXTURE(Fixture, "command: all logs together stay within 64 MiB; the oldest ended ones lose theirs") {
  std::vector<std::string> ids;
  // One after the other: which of them is the oldest that has ended must not depend on their speed.
  for (int i = 0; i < 20; ++i) {
    ids.push_back(start("head -c 5000000 /dev/zero").id);
    CHECK(ended(ids.back()).log_bytes == 5'000'000);
  }
  std::size_t kept = 0;
  for (const auto& id : ids) kept += 5'000'000 - logs(id, 0).message.start_offset;
  CHECK(kept <= guest::CommandTable::kMaxMemory);
  CHECK(kept > guest::CommandTable::kMaxMemory - 4 * kMiB);
  CHECK(logs(ids.front()).message.start_offset == 5'000'000);
  CHECK(logs(ids.back()).message.start_offset == 5'000'000 - OutputRing::kMaxBytes);
}

TEST_CASE_FIXTURE(Fixture,
                  "reconnection: a running exec becomes a background command, with what its caller did not get") {
  wire::ExecRequest request;
  request.argv = {"/bin/bash", "-c", "echo before; while [ ! -e go ]; do sleep 0.02; done; echo after; exit 5"};
  const auto id = client.open(Type::exec, request.encode());
  client.read_until([&] { return client.answer(id).output == "before\n"; });
  const auto pid = client.answer(id).pid;
  client.reconnect();
  auto all = list();
  REQUIRE(all.size() == 1);
  CHECK(all[0].line == request.argv[2]);
  CHECK(all[0].status == Status::running);
  CHECK(all[0].pid == pid);
  CHECK(logs(all[0].id).message.start_offset == 7);
  REQUIRE(base::write_file_atomic(dir / "go", ""));
  CHECK(ended(all[0].id).exit_code == 5);
  const Logs log = logs(all[0].id);
  CHECK(log.content == "after\n");
  CHECK(log.message.start_offset == 7);
  CHECK(log.message.size == 13);
}

TEST_CASE_FIXTURE(Fixture, "reconnection: what waited in the agent is in the log, byte for byte") {
  // Within the window, and more than the socket takes while nobody reads.
  const std::size_t total = 900'000;
  const std::size_t socket_takes = 230'000;
  REQUIRE(base::write_file_atomic(dir / "content", pattern(0, total)));
  wire::ExecRequest request;
  request.argv = {"/bin/bash", "-c", "cat content; echo > written; while [ ! -e go ]; do sleep 0.02; done; exit 9"};
  client.open(Type::exec, request.encode());
  const auto deadline = base::Deadline::after(seconds(20));
  while (!base::exists(dir / "written") && !deadline.expired()) ::usleep(5000);
  client.reconnect();
  auto commands = list();
  REQUIRE(commands.size() == 1);
  REQUIRE(base::write_file_atomic(dir / "go", ""));
  CHECK(ended(commands[0].id).exit_code == 9);
  const Logs log = logs(commands[0].id);
  CHECK(log.message.start_offset > 0);
  CHECK(log.message.start_offset < socket_takes);
  CHECK(log.message.size == total);
  CHECK(log.content == pattern(log.message.start_offset, total - log.message.start_offset));
}

TEST_CASE_FIXTURE(Fixture, "reconnection: an exec that ended while its caller was away is found, with its exit") {
  REQUIRE(base::write_file_atomic(dir / "content", pattern(0, 400'000)));
  wire::ExecRequest request;
  request.argv = {"/bin/bash", "-c", "cat content; exit 9"};
  client.open(Type::exec, request.encode());
  ::usleep(600'000);  // nobody reads: the end of its output and its answer wait in the agent
  client.reconnect();
  auto commands = list();
  REQUIRE(commands.size() == 1);
  CHECK(commands[0].status == Status::exited);
  CHECK(commands[0].exit_code == 9);
  CHECK(commands[0].line == "cat content; exit 9");
  const Logs log = logs(commands[0].id);
  CHECK(log.message.size == 400'000);
  CHECK(log.content == pattern(log.message.start_offset, 400'000 - log.message.start_offset));
}

TEST_CASE_FIXTURE(Fixture, "reconnection: an exec that was answered is no background command") {
  CHECK(client.shell("echo x").exit().exit_code == 0);
  client.reconnect();
  CHECK(list().empty());
}

TEST_CASE_FIXTURE(Fixture,
                  "reconnection: an exec keeps its timeout; a transfer is dropped; background commands do not notice") {
  const auto background = start("while [ ! -e go ]; do sleep 0.02; done; echo later");
  wire::ExecRequest request;
  request.argv = {"/bin/bash", "-c", "sleep 100"};
  request.timeout_ms = 300;
  client.open(Type::exec, request.encode());
  wire::FileRequest file;
  file.path = dir / "upload";
  client.open(Type::file_write, file.encode());
  client.read_for(milliseconds(50));
  client.reconnect();
  REQUIRE(list().size() == 2);
  CHECK(list()[0].id == background.id);
  CHECK(ended(list()[1].id).status == Status::killed);
  REQUIRE(base::write_file_atomic(dir / "go", ""));
  CHECK(ended(background.id).exit_code == 0);
  CHECK(logs(background.id).content == "later\n");
  CHECK_FALSE(base::exists(dir / "upload"));
}

TEST_CASE_FIXTURE(Fixture, "stats: used memory is a part of all memory") {
  const Answer& answer = client.wait(client.open(Type::stats, ""));
  REQUIRE(answer.result);
  auto stats = wire::StatsMessage::decode(*answer.result);
  REQUIRE(stats);
  CHECK(stats->memory_total_bytes > 64 * kMiB);
  CHECK(stats->memory_used_bytes > 0);
  CHECK(stats->memory_used_bytes < stats->memory_total_bytes);
}
