// Commands with a terminal, with the agent as an ordinary process.
#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "guest_client.hpp"

using namespace orkestr;
using namespace orkestr::test;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

struct Fixture {
  TemporaryDirectory dir;
  GuestClient client{dir.path()};

  std::uint32_t open(const std::string& line, std::uint64_t timeout_ms = 20'000) {
    wire::ExecRequest request;
    request.argv = {"/bin/bash", "-c", line};
    request.timeout_ms = timeout_ms;
    request.stdin_open = true;
    request.tty = true;
    request.cols = 80;
    request.rows = 24;
    return client.open(wire::Type::exec, request.encode());
  }
  void resize(std::uint32_t id, std::uint64_t cols, std::uint64_t rows) {
    wire::ResizeMessage size;
    size.cols = cols;
    size.rows = rows;
    client.send(wire::OutFrame(wire::Type::resize, id, size.encode()));
  }
  void type(std::uint32_t id, std::string_view keys) { client.send_input(id, keys, false); }
  void await(std::uint32_t id, std::string_view text) {
    Answer& answer = client.answer(id);
    client.read_until([&] { return has(id, text) || answer.done(); });
    CAPTURE(answer.output);
    REQUIRE(has(id, text));
  }
  // Once more than it is there already.
  void await_again(std::uint32_t id, std::string_view text) {
    const std::size_t seen = client.answer(id).output.size();
    client.read_until([&] { return client.answer(id).output.find(text, seen) != std::string::npos; });
  }
  bool has(std::uint32_t id, std::string_view text) { return client.answer(id).output.find(text) != std::string::npos; }
};

milliseconds since(steady_clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "all three streams are the terminal, and it is the controlling one") {
  const auto id = open("test -t 0 && test -t 1 && test -t 2 && tty && stty size && echo $TERM >&2 && : </dev/tty");
  const Answer& answer = client.wait(id);
  CAPTURE(answer.output);
  CHECK(answer.exit().exit_code == 0);
  CHECK(has(id, "/dev/pts/"));
  CHECK(has(id, "24 80\r\nxterm-256color\r\n"));
  CHECK(answer.error_output.empty());
  CHECK(answer.output_ended);
  CHECK(answer.error_output_ended);
  CHECK(answer.exit().stdout_bytes == answer.output.size());
}

TEST_CASE_FIXTURE(Fixture, "without a terminal none is there, and TERM says so") {
  Answer& answer = client.shell("test -t 1 || echo none; echo $TERM; : </dev/tty || echo no control");
  CHECK(answer.output == "none\ndumb\nno control\n");
}

TEST_CASE_FIXTURE(Fixture, "the environment of a request may name another terminal") {
  wire::ExecRequest request;
  request.argv = {"/bin/sh", "-c", "echo $TERM"};
  request.stdin_open = request.tty = true;
  request.cols = request.rows = 1;
  request.env = {{"TERM", "vt100"}};
  CHECK(client.run(request).output == "vt100\r\n");
}

TEST_CASE_FIXTURE(Fixture, "a new size is seen, and told by SIGWINCH") {
  const auto id = open("trap 'stty size; exit 7' WINCH; echo ready; while :; do sleep 0.05; done");
  await(id, "ready");
  resize(id, 132, 50);
  CHECK(client.wait(id).exit().exit_code == 7);
  CHECK(has(id, "50 132\r\n"));
}

TEST_CASE_FIXTURE(Fixture,
                  "a new size for an ended command is ignored; for one without a terminal it breaks the rules") {
  const auto id = open("true");
  client.wait(id);
  resize(id, 100, 100);
  CHECK(client.shell("echo on").output == "on\n");
  wire::ExecRequest request;
  request.argv = {"/bin/sleep", "20"};
  const auto plain = client.open(wire::Type::exec, request.encode());
  client.read_until([&] { return client.answer(plain).pid.has_value(); });
  resize(plain, 100, 100);
  client.read_until([&] { return client.closed(); });
}

TEST_CASE_FIXTURE(Fixture, "Ctrl-C interrupts what runs in the foreground, not an interactive shell") {
  const auto id = open("PS1='> ' exec bash --norc --noprofile -i");
  await(id, "> ");
  type(id, "echo st''art; cat; echo not re''ached\n");
  await(id, "start");
  type(id, "word\n");
  await(id, "word\r\nword\r\n");  // once by the terminal, once by cat, which therefore runs
  const auto start = steady_clock::now();
  type(id, "\x03");
  await_again(id, "> ");  // what is typed before the prompt, the shell may throw away with the interrupted line
  type(id, "echo af''ter $?\n");
  await(id, "after 130");
  CHECK(since(start) < milliseconds(8000));
  CHECK_FALSE(has(id, "not reached"));
  type(id, "exit 5\n");
  CHECK(client.wait(id).exit().exit_code == 5);
}

TEST_CASE_FIXTURE(Fixture, "five megabytes come through a terminal complete and in order") {
  const auto id = open("stty -opost; seq 1 750000");
  const Answer& answer = client.wait(id);
  std::string expected;
  for (int i = 1; i <= 750'000; ++i) expected += std::to_string(i) + '\n';
  CHECK(answer.exit().exit_code == 0);
  CHECK(expected.size() > 5'000'000);
  CHECK(answer.output.size() == expected.size());
  CHECK((answer.output == expected));
  CHECK(answer.exit().stdout_bytes == expected.size());
}

TEST_CASE_FIXTURE(Fixture, "what a command writes last is never lost") {
  for (int round = 0; round < 30; ++round) {
    const auto id = open("stty -opost; exec head -c 9000 /dev/zero");
    CHECK(client.wait(id).output == std::string(9000, '\0'));
  }
}

TEST_CASE_FIXTURE(Fixture, "the end of input ends who reads it, after a whole line, an unfinished one, or nothing") {
  for (const std::string_view typed : {"a line\n", "unfinished", ""}) {
    CAPTURE(typed);
    const auto id = open("stty -echo; echo ready; cat; echo \"[end]\"");
    await(id, "ready");
    client.send_input(id, typed, true);
    CHECK(client.wait(id).exit().exit_code == 0);
    CHECK(has(id, std::string(typed.substr(0, typed.find('\n')))));
    CHECK(has(id, "[end]"));
  }
}

TEST_CASE_FIXTURE(Fixture, "the end of input may come before the command has begun to read") {
  for (int round = 0; round < 20; ++round) {
    const auto id = open("cat");
    client.send_input(id, "", true);
    const wire::ExecExit exit = client.wait(id).exit();
    CHECK(exit.signal == 0);
    CHECK(exit.exit_code == 0);
  }
}

TEST_CASE_FIXTURE(Fixture, "a megabyte of lines goes in complete") {
  const auto id = open("stty -echo -icrnl; echo ready; wc -c");
  await(id, "ready");
  std::string lines;
  for (int i = 0; i < 20'000; ++i) lines += "a line of some fifty characters, as lines often are\n";
  client.send_input(id, lines, true);
  client.wait(id);
  CHECK(has(id, std::to_string(lines.size())));
}

TEST_CASE_FIXTURE(Fixture, "input that nobody reads any more does not hold the answer") {
  const auto id = open("stty -echo raw; echo ready; sleep 0.5");
  await(id, "ready");
  client.send_input(id, std::string(3U << 20U, 'x'), false);
  CHECK(client.wait(id).exit().exit_code == 0);
}

TEST_CASE_FIXTURE(Fixture, "cancel and timeout end all that has the terminal") {
  const auto cancelled = open("trap '' HUP; sleep 100 & sleep 100");
  client.read_until([&] { return client.answer(cancelled).pid.has_value(); });
  client.cancel(cancelled);
  CHECK(client.wait(cancelled).exit().cancelled);
  const auto late = open("trap '' HUP; sleep 100 & echo before; sleep 100", 300);
  CHECK(client.wait(late).exit().timed_out);
  CHECK(has(late, "before"));
}

TEST_CASE_FIXTURE(Fixture, "a process in the background that keeps the terminal does not hold the answer") {
  const auto start = steady_clock::now();
  const auto id = open("trap '' HUP; sleep 20 & echo over");
  CHECK(client.wait(id).exit().exit_code == 0);
  CHECK(since(start) < milliseconds(5000));
  CHECK(has(id, "over"));
  const auto noisy = open("trap '' HUP; (timeout 5 yes; true) & sleep 0.1; echo over");
  CHECK(client.wait(noisy).exit().exit_code == 0);
  CHECK(since(start) < milliseconds(15'000));
}

TEST_CASE_FIXTURE(Fixture, "output that nobody takes stops the command, and comes when it is taken") {
  client.grant(false);
  const auto id = open("stty -opost; seq 1 300000");
  client.read_for(milliseconds(500));
  CHECK(client.answer(id).output.size() <= wire::kInitialCredit);
  CHECK_FALSE(client.answer(id).done());
  client.grant(true);
  client.send(wire::credit_frame(id, static_cast<std::uint32_t>(client.answer(id).output.size())));
  CHECK(client.wait(id).output.size() == 1'988'895);
}

TEST_CASE_FIXTURE(Fixture, "many terminals one after another leave nothing behind") {
  for (int i = 0; i < 5; ++i) client.wait(open("echo first"));
  const auto descriptors = [&] {
    return std::stoi(client.shell("ls /proc/" + std::to_string(client.agent_pid()) + "/fd | wc -l").output);
  };
  // The last ones may be closed a moment after the answer.
  const int before = descriptors();
  for (int i = 0; i < 30; ++i) client.wait(open("echo once"));
  for (int i = 0; i < 100 && descriptors() > before; ++i) client.read_for(milliseconds(20));
  CHECK(descriptors() <= before);
}
