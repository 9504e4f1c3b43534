// The connection itself: what a peer may do, what ends the agent, what survives a restart of the handshake; and the
// parser of the guest's user files.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "base/file.hpp"
#include "guest/users.hpp"
#include "guest_client.hpp"

using namespace orkestr;
using namespace orkestr::test;
using std::chrono::milliseconds;

namespace {

wire::ExecRequest shell_request(const std::string& line) {
  wire::ExecRequest request;
  request.argv = {"/bin/bash", "-c", line};
  return request;
}

struct Fixture {
  TemporaryDirectory dir;
  GuestClient client{dir.path()};

  // True when the agent says why (an error with id 0), closes and ends.
  bool ends_the_connection() {
    client.read_for(milliseconds(3000));
    auto status = client.agent().wait(base::Deadline::after(std::chrono::seconds(5)));
    return client.closed() && client.answer(0).error && status && *status && !(*status)->success();
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a ping is answered while a command runs") {
  const auto id = client.open(wire::Type::exec, shell_request("sleep 0.3").encode());
  client.send(wire::OutFrame(wire::Type::ping, 0));
  client.read_until([&] { return client.pongs() == 1; });
  CHECK_FALSE(client.answer(id).done());
  CHECK(client.wait(id).exit().exit_code == 0);
}

TEST_CASE_FIXTURE(Fixture, "the agent ends when its peer closes") {
  client.close();
  auto status = client.agent().wait(base::Deadline::after(std::chrono::seconds(5)));
  REQUIRE(status);
  REQUIRE(*status);
  CHECK((*status)->success());
}

TEST_CASE_FIXTURE(Fixture, "an id in use ends the connection") {
  const auto id = client.open(wire::Type::exec, shell_request("sleep 5").encode());
  client.send(wire::OutFrame(wire::Type::exec, id, shell_request("true").encode()));
  CHECK(ends_the_connection());
}

TEST_CASE_FIXTURE(Fixture, "a type that only the agent may send ends the connection") {
  client.send(wire::OutFrame(wire::Type::started, 5));
  CHECK(ends_the_connection());
}

TEST_CASE_FIXTURE(Fixture, "a message that cannot be decoded ends the connection") {
  client.open(wire::Type::exec, "\x01\x02\x03");
  CHECK(ends_the_connection());
}

TEST_CASE_FIXTURE(Fixture, "input beyond the credit ends the connection") {
  auto request = shell_request("sleep 5");
  request.stdin_open = true;
  const auto id = client.open(wire::Type::exec, request.encode());
  const std::string chunk(wire::kMaxPayload, 'x');
  for (int i = 0; i < 5; ++i) client.send(wire::data_frame(id, wire::Stream::input, chunk));
  CHECK(ends_the_connection());
}

TEST_CASE_FIXTURE(Fixture, "input after its end ends the connection") {
  auto request = shell_request("sleep 5");
  request.stdin_open = true;
  const auto id = client.open(wire::Type::exec, request.encode());
  client.send(wire::data_frame(id, wire::Stream::input, "x", true));
  client.send(wire::data_frame(id, wire::Stream::input, "y"));
  CHECK(ends_the_connection());
}

TEST_CASE_FIXTURE(Fixture, "credit beyond the maximum ends the connection") {
  const auto id = client.open(wire::Type::exec, shell_request("sleep 5").encode());
  client.send(wire::credit_frame(id, wire::kMaxCredit));
  CHECK(ends_the_connection());
}

TEST_CASE_FIXTURE(Fixture, "more operations than allowed end the connection") {
  // Uploads that never end: cheap operations that stay open.
  for (std::size_t i = 0; i <= wire::kMaxOperations && !client.closed(); ++i) {
    wire::FileRequest request;
    request.path = dir / std::to_string(i);
    client.open(wire::Type::file_write, request.encode());
    if (i + 1 == wire::kMaxOperations) {
      client.send(wire::OutFrame(wire::Type::ping, 0));
      client.read_until([&] { return client.pongs() == 1; });  // so many are fine
    }
  }
  CHECK(ends_the_connection());
  CHECK(base::list_directory(dir.path())->empty());
}

TEST_CASE_FIXTURE(Fixture, "what comes late for an operation that has ended is ignored") {
  const auto id = client.open(wire::Type::exec, shell_request("true").encode());
  client.wait(id);
  client.send(wire::credit_frame(id, wire::kMaxCredit));
  client.send(wire::data_frame(id, wire::Stream::input, "late"));
  client.cancel(id);
  CHECK(client.shell("echo on").output == "on\n");
}

TEST_CASE_FIXTURE(Fixture, "a peer that starts over: commands go on, and new ones work") {
  client.open(wire::Type::exec,
              shell_request("echo before; sleep 0.5; echo after; echo survived > " + (dir / "mark")).encode());
  client.read_for(milliseconds(100));
  client.reconnect();
  CHECK(client.shell("echo new").output == "new\n");
  const auto deadline = base::Deadline::after(std::chrono::seconds(5));
  while (!base::exists(dir / "mark") && !deadline.expired()) client.read_for(milliseconds(20));
  CHECK(base::exists(dir / "mark"));
}

TEST_CASE_FIXTURE(Fixture, "a detached command still meets its timeout") {
  auto request = shell_request("echo $$ > " + (dir / "pid") + "; sleep 100");
  request.timeout_ms = 300;
  client.open(wire::Type::exec, request.encode());
  client.read_for(milliseconds(100));
  client.reconnect();
  client.read_for(milliseconds(1000));
  auto pid = base::read_file(dir / "pid");
  REQUIRE(pid);
  CHECK(::kill(std::atoi(pid->c_str()), 0) != 0);
}

TEST_CASE("users: entries, groups, numbers, and lines that make no sense") {
  const std::string passwd =
      "root:x:0:0:root:/root:/bin/bash\n"
      "\n:::::::\nbroken\nnot-a-number:x:abc:1::/:\nhuge:x:4294967295:1::/:\noverflow:x:99999999999:1::/:\n"
      "alice:x:1000:1000:Alice:/srv/alice:/bin/sh\n"
      "relative:x:1001:1001::home:/bin/sh\n"
      "cut:x:1002:1002";
  const std::string group =
      "root:x:0:\nalice:x:1000:\nwheel:x:10:bob,alice\nbad:x:zz:alice\nwheel2:x:10:alice\nnear:x:11:alicea,alic\nlast:"
      "x:12:alice";
  auto alice = guest::find_user("alice", passwd, group);
  REQUIRE(alice);
  CHECK(alice->uid == 1000);
  CHECK(alice->gid == 1000);
  CHECK(alice->home == "/srv/alice");
  CHECK(alice->groups == std::vector<gid_t>{1000, 10, 12});
  CHECK(guest::find_user("1000", passwd, group)->name == "alice");
  auto number = guest::find_user("77", passwd, group);
  REQUIRE(number);
  CHECK(number->uid == 77);
  CHECK(number->gid == 77);
  CHECK(number->home == "/");
  CHECK(guest::find_user("relative", passwd, group)->home == "/");
  CHECK(guest::find_user("cut", passwd, group)->home == "/");
  for (const char* nobody : {"not-a-number", "huge", "overflow", "broken", "4294967295", "-1", ""}) {
    CAPTURE(nobody);
    CHECK_FALSE(guest::find_user(nobody, passwd, group));
  }
}
