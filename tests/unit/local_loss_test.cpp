// Supervisors that go away, lie or flood; clients that close; the end of a sandbox.
#include <doctest/doctest.h>
#include <sys/wait.h>

#include "local_fake_supervisor.hpp"
#include "orkestr/orkestr.hpp"

using namespace orkestr;
using namespace orkestr::local_test;
using namespace std::chrono_literals;

namespace {

std::string line_of(const wire::Frame& frame) { return must(wire::ExecRequest::decode(frame.payload)).argv.back(); }

struct World {
  explicit World(Peer::Script script)
      : supervisor(home.sandboxes(), std::move(script)),
        client(must(Client::open({BackendKind::local, {}, {}, 30s}))),
        sandbox(must(Sandbox::get(supervisor.id(), client))) {}
  TemporaryHome home;
  FakeSupervisor supervisor;
  Client client;
  Sandbox sandbox;
};

// The error of `exec(line)`, which must come within five seconds.
Error error_of(const Sandbox& sandbox, const std::string& line) {
  auto pending = sandbox.exec_async(line);
  REQUIRE_MESSAGE(pending.wait(5s), "exec did not end: " << line);
  auto result = pending.get();
  REQUIRE_FALSE(result);
  return result.error();
}

bool mentions(const Error& error, std::string_view text) { return error.message().find(text) != std::string::npos; }

}  // namespace

TEST_CASE("a connection that breaks while the sandbox lives: the operation fails, the next one reconnects") {
  World world([](Peer& peer, const wire::Frame& frame) {
    if (frame.type != wire::Type::exec) return;
    if (line_of(frame) == "break") {
      peer.output(frame.id, "half");
      return peer.close();
    }
    peer.exit(frame.id);
  });
  const Error error = error_of(world.sandbox, "break");
  CHECK(error.code() == ErrorCode::connection);
  CHECK(mentions(error, "lives on"));
  CHECK(world.sandbox.exec("true").ok());
  CHECK(world.supervisor.connections() == 2);
}

TEST_CASE("violations of the protocol end the connection and are named") {
  World world([](Peer& peer, const wire::Frame& frame) {
    if (frame.type != wire::Type::exec) return;
    const std::string line = line_of(frame);
    if (line == "wrong id") peer.exit(frame.id + 7);
    if (line == "flood") {
      for (int i = 0; i < 40; ++i) peer.output(frame.id, std::string(wire::kDataChunk, 'x'));
    }
    if (line == "wrong type") peer.send(wire::OutFrame(wire::Type::exec, frame.id));
    if (line == "garbage") peer.raw(std::string(64, '\xff'));
    if (line == "bad exit") peer.result(frame.id, "not an exit record");
    if (line == "credit") peer.send(wire::credit_frame(frame.id, wire::kMaxCredit), wire::Lane::control);
    if (line == "true") peer.exit(frame.id);
  });
  for (const auto& [line, text] : std::vector<std::pair<std::string, std::string>>{{"wrong id", "never opened"},
                                                                                   {"flood", "window"},
                                                                                   {"wrong type", "exec"},
                                                                                   {"garbage", ""},
                                                                                   {"credit", "granted"}}) {
    CAPTURE(line);
    // The consumer of a flood must be slow for the window to fill: a stream that is not read.
    if (line == "flood") {
      auto stream = must(world.sandbox.exec_stream(line));
      std::this_thread::sleep_for(200ms);
      std::optional<Error> error;
      while (!error) {
        auto chunk = stream.next();
        if (!chunk) error = chunk.error();
      }
      CHECK(error->code() == ErrorCode::connection);
      CHECK(mentions(*error, text));
    } else {
      const Error error = error_of(world.sandbox, line);
      CHECK(error.code() == ErrorCode::connection);
      CHECK_MESSAGE(mentions(error, text), error.message());
    }
    CHECK(world.sandbox.exec("true").ok());
  }
  CHECK(error_of(world.sandbox, "bad exit").code() == ErrorCode::connection);
  CHECK(world.sandbox.exec("true").ok());
}

TEST_CASE("a sandbox that ends meanwhile says why") {
  FakeSupervisor* self = nullptr;
  World world([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type != wire::Type::exec) return;
    const std::string line = line_of(frame);
    if (line == "timeout") self->end("terminated", "timeout");
    if (line == "crash") self->end("failed", "failed: QEMU ended with signal 11");
    if (line == "kill") self->die();
    peer.close();
  });
  self = &world.supervisor;
  std::string text;
  SUBCASE("its timeout") {
    const Error error = error_of(world.sandbox, "timeout");
    CHECK(error.code() == ErrorCode::not_ready);
    CHECK(mentions(error, "timeout"));
    text = "timeout";
  }
  SUBCASE("its machine failed") {
    const Error error = error_of(world.sandbox, "crash");
    CHECK(error.code() == ErrorCode::vm_failed);
    CHECK(mentions(error, "signal 11"));
    text = "signal 11";
  }
  SUBCASE("its supervisor was killed") {
    const Error error = error_of(world.sandbox, "kill");
    CHECK(error.code() == ErrorCode::vm_failed);
    text = "supervisor";
  }
  const Error later = error_of(world.sandbox, "true");
  CHECK(later.code() == ErrorCode::not_ready);
  CHECK_MESSAGE(mentions(later, text), later.message());
  must(world.sandbox.refresh());
  CHECK(world.sandbox.info().end_reason.find(text) != std::string::npos);
  must(world.sandbox.terminate());  // legal in every state
}

TEST_CASE("terminate returns when the locks are free, with the final record") {
  FakeSupervisor* self = nullptr;
  std::thread ending;
  World world([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type != wire::Type::terminate) return;
    peer.result(frame.id);
    ending = std::thread([&] {  // answers, but lives on for a while
      std::this_thread::sleep_for(100ms);
      self->end("terminated", "terminated");
    });
    peer.close();
  });
  self = &world.supervisor;
  const auto begin = std::chrono::steady_clock::now();
  must(world.sandbox.terminate());
  CHECK(std::chrono::steady_clock::now() - begin >= 100ms);
  CHECK(world.sandbox.info().status == Status::terminated);
  must(world.sandbox.terminate());
  auto again = must(Sandbox::get(world.supervisor.id(), world.client));
  CHECK(again.info().status == Status::terminated);
  ending.join();
}

TEST_CASE("terminate of a sandbox whose supervisor was killed reaps it") {
  World world([](Peer&, const wire::Frame&) {});
  world.supervisor.die();
  must(world.sandbox.terminate());
  CHECK(world.sandbox.info().status == Status::failed);
  CHECK(must(base::list_directory(world.home.sandboxes() + "/" + world.supervisor.id())).size() <= 2);
}

TEST_CASE("list: newest first, by status and metadata, ended ones too") {
  World world([](Peer&, const wire::Frame&) {});
  std::this_thread::sleep_for(5ms);
  FakeSupervisor second(world.home.sandboxes(), [](Peer&, const wire::Frame&) {});
  second.end("terminated", "terminated");
  auto all = must(Sandbox::list({}, world.client));
  REQUIRE(all.size() == 2);
  CHECK(all[0].id == second.id());
  CHECK(all[1].id == world.supervisor.id());
  ListOptions running;
  running.status = Status::running;
  auto some = must(Sandbox::list(running, world.client));
  REQUIRE(some.size() == 1);
  CHECK(some[0].id == world.supervisor.id());
  ListOptions tagged;
  tagged.metadata["job"] = "1";
  CHECK(must(Sandbox::list(tagged, world.client)).empty());
  ListOptions one;
  one.max_results = 1;
  CHECK(must(Sandbox::list(one, world.client)).size() == 1);
}

TEST_CASE("close() cancels what is open; what comes later is not_ready") {
  World world([](Peer&, const wire::Frame&) {});
  auto pending = world.sandbox.exec_async("sleep");
  auto ending = world.sandbox.terminate_async();
  CHECK_FALSE(pending.wait(50ms));
  world.client.close();
  world.client.close();
  CHECK(pending.get().error().code() == ErrorCode::cancelled);
  CHECK(ending.get().error().code() == ErrorCode::cancelled);
  CHECK(world.sandbox.exec("true").error().code() == ErrorCode::not_ready);
  CHECK(world.sandbox.files().read("/x").error().code() == ErrorCode::not_ready);
  CHECK(world.sandbox.terminate().error().code() == ErrorCode::not_ready);
}

TEST_CASE("a cancel is never lost, however soon it comes") {
  World world([](Peer& peer, const wire::Frame& frame) {
    if (frame.type != wire::Type::cancel) return;
    wire::ExecExit exit;
    exit.cancelled = true;
    peer.exit(frame.id, exit);
  });
  for (int i = 0; i < 300; ++i) {
    auto pending = world.sandbox.exec_async("hangs");
    if (i % 2 == 1) std::this_thread::sleep_for(std::chrono::microseconds(i));
    pending.cancel();
    REQUIRE(pending.wait(5s));
    CHECK(pending.get().error().code() == ErrorCode::cancelled);
  }
}

TEST_CASE("more operations than a connection carries are refused, the others unharmed") {
  std::atomic<int> open{0};
  World world([&](Peer&, const wire::Frame& frame) {
    if (frame.type == wire::Type::exec) ++open;
  });
  std::vector<Operation<ExecResult>> pending;
  for (int i = 0; i < 1030; ++i) pending.push_back(world.sandbox.exec_async("sleep"));
  int refused = 0;
  REQUIRE(pending.back().wait(5s));
  for (auto& operation : pending) {
    if (operation.wait(0ms) && operation.get().error().code() == ErrorCode::rate_limited) ++refused;
  }
  CHECK(refused == 1030 - (static_cast<int>(wire::kMaxOperations) - 8));
}

TEST_CASE("a handle in a forked child says whose it is, and its destruction disturbs nobody") {
  World world([](Peer& peer, const wire::Frame& frame) {
    if (frame.type == wire::Type::exec) peer.exit(frame.id);
  });
  CHECK(world.sandbox.exec("true").ok());
  auto stream = std::make_unique<ExecStream>(must(world.sandbox.exec_stream("x")));
  const std::string expected = "handle belongs to process " + std::to_string(::getpid());
  const pid_t child = ::fork();
  if (child == 0) {
    auto result = world.sandbox.exec("true");
    bool good = !result && result.error().code() == ErrorCode::not_ready && mentions(result.error(), expected);
    good = good && !world.sandbox.files().read("/x") && !world.sandbox.terminate() && !stream->next();
    stream.reset();
    {
      // The last handles of this process go.
      Sandbox sandbox = std::move(world.sandbox);
      Client client = std::move(world.client);
    }
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(must(stream->next())->is_final());
  CHECK(world.sandbox.exec("true").ok());
  CHECK(world.supervisor.connections() == 1);
}
