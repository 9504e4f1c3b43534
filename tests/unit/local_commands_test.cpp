// Background commands, batches of files and metrics against a scripted supervisor: what a person sees when the other
// side behaves, and when it does not.
#include <doctest/doctest.h>

#include <limits>

#include "local_fake_supervisor.hpp"
#include "orkestr/orkestr.hpp"
#include "wire/command_message.hpp"

using namespace orkestr;
using namespace orkestr::local_test;
using namespace std::chrono_literals;
using wire::Type;

namespace {

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

wire::CommandMessage command(const std::string& id) {
  wire::CommandMessage message;
  message.id = id;
  message.line = "serve";
  message.pid = 12;
  message.started_ns = 1'763'705'647'000'000'000;
  return message;
}

std::string entry(const std::string& bytes) {
  std::string length(4, '\0');
  wire::store_u32(length.data(), static_cast<std::uint32_t>(bytes.size()));
  return length + bytes;
}

// A command that runs, then one answer of the test's choice to everything else.
Peer::Script with(std::function<void(Peer&, const wire::Frame&)> rest) {
  return [rest = std::move(rest)](Peer& peer, const wire::Frame& frame) {
    if (frame.type == Type::command_start) {
      peer.result(frame.id, command("cmd_1").encode());
    } else {
      rest(peer, frame);
    }
  };
}

}  // namespace

TEST_CASE("start: the request, and what is known of the command") {
  const std::string long_line = std::string(wire::kMaxCommandLineBytes - 1, 'x') + "\xE2\x82\xAC";
  World world([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type != Type::command_start) return;
    const auto request = must(wire::CommandStartRequest::decode(frame.payload));
    CHECK(request.exec.argv.size() == 3);
    CHECK(request.exec.cwd == "/tmp");
    CHECK(request.exec.env == wire::EnvList{{"A", "1"}});
    CHECK(request.exec.user == "nobody");
    CHECK(request.exec.timeout_ms == 0);
    auto answer = command("cmd_1");
    answer.line = request.line;
    peer.result(frame.id, answer.encode());
  });
  ExecOptions options;
  options.cwd = "/tmp";
  options.env = {{"A", "1"}};
  options.user = "nobody";
  options.timeout = 5s;
  const auto info = must(world.sandbox.start("serve", options)).info();
  CHECK(info.id == "cmd_1");
  CHECK(info.command == "serve");
  CHECK(info.pid == 12);
  CHECK(info.status == CommandStatus::running);
  CHECK_FALSE(info.exit_code);
  CHECK(info.started_at == TimePoint(1'763'705'647s));
  // The whole line runs; as much of it is shown as whole characters fit.
  CHECK(must(world.sandbox.start(long_line, options)).info().command ==
        std::string(wire::kMaxCommandLineBytes - 1, 'x'));
}

TEST_CASE("commands: a list of many, cut anywhere, of none, and one that lies") {
  std::string bytes;
  SUBCASE("many") {
    for (int i = 0; i < 300; ++i) bytes += entry(command("cmd_" + std::to_string(i)).encode());
  }
  SUBCASE("none") {}
  SUBCASE("cut") { bytes = entry(command("cmd_1").encode()).substr(0, 20); }
  SUBCASE("a length that lies") { bytes = std::string("\xff\xff\xff\xff", 4); }
  const bool lies = bytes.size() == 20 || bytes.size() == 4;
  const std::size_t count = bytes.size() > 20 ? 300 : 0;
  World world([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type != Type::command_list) return;
    for (std::size_t at = 0; at < bytes.size(); at += 37) peer.output(frame.id, std::string_view(bytes).substr(at, 37));
    peer.send(wire::data_frame(frame.id, wire::Stream::output, {}, true));
    peer.result(frame.id);
  });
  const auto all = world.sandbox.commands();
  if (lies) {
    REQUIRE_FALSE(all.ok());
    CHECK(all.error().code() == ErrorCode::connection);
  } else {
    REQUIRE(all.ok());
    CHECK(all->size() == count);
    if (count > 0) CHECK(all->back().id() == "cmd_299");
  }
}

TEST_CASE("logs: data and figures belong together, whatever the pieces; empty ones too") {
  std::uint64_t asked = 0;
  World world(with([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type != Type::command_logs) return;
    const auto request = must(wire::CommandRequest::decode(frame.payload));
    CHECK(request.id == "cmd_1");
    asked = request.offset;
    wire::CommandLogsMessage figures;
    figures.size = 1'000'000;
    figures.start_offset = std::min<std::uint64_t>(std::max<std::uint64_t>(request.offset, 500), 1'000'000);
    const std::string content(figures.start_offset < 999'000 ? 2000 : 0, 'x');
    for (std::size_t at = 0; at < content.size(); at += 700) {
      peer.output(frame.id, std::string_view(content).substr(at, 700));
    }
    peer.result(frame.id, figures.encode());
  }));
  auto serve = must(world.sandbox.start("serve"));
  const auto first = must(serve.logs());
  CHECK(first.content == std::string(2000, 'x'));
  CHECK(first.start_offset == 500);
  CHECK(first.next_offset() == 2500);
  CHECK(first.truncated);
  const auto last = must(serve.logs(1'000'000));
  CHECK(asked == 1'000'000);
  CHECK(last.content.empty());
  CHECK_FALSE(last.truncated);
  CHECK(serve.logs(std::numeric_limits<std::uint64_t>::max()).error().code() == ErrorCode::invalid_argument);
}

TEST_CASE("stream: to the end, killed, out of time, and a connection that is lost") {
  wire::ExecExit exit;
  bool lost = false;
  std::optional<ErrorCode> expected;
  SUBCASE("the end") { exit.exit_code = 3; }
  SUBCASE("killed") {
    exit.signal = 9;
    expected = ErrorCode::exec_killed;
  }
  SUBCASE("out of time") {
    exit.timed_out = true;
    expected = ErrorCode::exec_timeout;
  }
  SUBCASE("lost") { lost = true; }
  World world(with([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type != Type::command_follow) return;
    const auto request = must(wire::CommandRequest::decode(frame.payload));
    CHECK(request.offset == 5);
    CHECK(request.timeout_ms == 7000);
    peer.output(frame.id, "output");
    if (lost) return peer.close();
    peer.exit(frame.id, exit);
  }));
  auto serve = must(world.sandbox.start("serve"));
  auto stream = must(serve.stream(5, 7s));
  const auto chunk = must(stream.next());
  REQUIRE(chunk);
  CHECK(chunk->data == "output");
  const auto end = stream.next();
  if (expected || lost) {
    REQUIRE_FALSE(end.ok());
    if (expected) CHECK(end.error().code() == *expected);
  } else {
    REQUIRE(end.ok());
    REQUIRE(end->has_value());
    CHECK((*end)->is_final());
    CHECK((*end)->exit_code == 3);
  }
  CHECK_FALSE(must(stream.next()));
}

TEST_CASE("stream: one that is dropped is called off") {
  std::atomic<int> called_off = 0;
  World world(with([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type == Type::command_follow) peer.output(frame.id, "x");
    if (frame.type == Type::cancel) ++called_off;
  }));
  auto serve = must(world.sandbox.start("serve"));
  {
    auto stream = must(serve.stream());
    CHECK(must(stream.next())->data == "x");
  }
  for (int i = 0; i < 500 && called_off == 0; ++i) std::this_thread::sleep_for(10ms);
  CHECK(called_off == 1);
}

TEST_CASE("wait: asks until it has ended, with a limit of its own") {
  std::atomic<int> asked = 0;
  World world(with([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type != Type::command_get) return;
    auto answer = command("cmd_1");
    if (++asked > 3) {
      answer.status = wire::CommandMessage::Status::exited;
      answer.exit_code = 9;
    }
    peer.result(frame.id, answer.encode());
  }));
  auto serve = must(world.sandbox.start("serve"));
  CHECK(serve.wait(1ms).error().code() == ErrorCode::exec_timeout);
  CHECK(must(serve.wait()).exit_code == 9);
}

TEST_CASE("answers that make no sense are connection errors") {
  World world(with([&](Peer& peer, const wire::Frame& frame) { peer.result(frame.id, "?"); }));
  auto serve = must(world.sandbox.start("serve"));
  CHECK(serve.refresh().error().code() == ErrorCode::connection);
  CHECK(serve.kill().error().code() == ErrorCode::connection);
  CHECK(serve.logs().error().code() == ErrorCode::connection);
  CHECK(world.sandbox.metrics().error().code() == ErrorCode::connection);
}

TEST_CASE("write_batch: a few at a time, each whole, each with its own answer") {
  struct File {
    std::string path, content;
  };
  std::mutex mutex;
  std::map<std::uint32_t, File> open;
  std::map<std::string, std::string> written;
  std::size_t most = 0;
  World world([&](Peer& peer, const wire::Frame& frame) {
    std::lock_guard lock(mutex);
    if (frame.type == Type::file_write) {
      open[frame.id].path = must(wire::FileRequest::decode(frame.payload)).path;
      most = std::max(most, open.size());
      if (open[frame.id].path == "/tmp/13") {
        peer.error(frame.id, Error(ErrorCode::is_a_directory, "it is one"));
        open.erase(frame.id);
      }
    }
    if (frame.type != Type::data || open.count(frame.id) == 0) return;
    File& file = open[frame.id];
    file.content += frame.payload;
    if (!frame.payload.empty()) {
      peer.send(wire::credit_frame(frame.id, static_cast<std::uint32_t>(frame.payload.size())), wire::Lane::control);
    }
    if (!frame.end_of_stream()) return;
    written[file.path] = file.content;
    open.erase(frame.id);
    peer.result(frame.id);
  });
  std::vector<BatchFile> batch;
  for (int i = 0; i < 30; ++i) {
    batch.push_back(
        {"/tmp/" + std::to_string(i), std::string(i % 7 == 0 ? 3'000'000 : 10, static_cast<char>('a' + i % 26))});
  }
  const auto results = must(world.sandbox.files().write_batch(batch));
  REQUIRE(results.size() == 30);
  for (std::size_t i = 0; i < 30; ++i) {
    CHECK(results[i].path == batch[i].path);
    if (i == 13) {
      REQUIRE(results[i].error);
      CHECK(results[i].error->code() == ErrorCode::is_a_directory);
    } else {
      CHECK_FALSE(results[i].error);
      CHECK(results[i].bytes_written == batch[i].content.size());
      CHECK((written[batch[i].path] == batch[i].content));
    }
  }
  std::lock_guard lock(mutex);
  CHECK(most > 1);
  CHECK(most <= 4);
}

TEST_CASE("write_batch: cancelled, and the end of its client, answer it") {
  World world([](Peer&, const wire::Frame&) {});  // nobody answers
  std::vector<BatchFile> batch(20, BatchFile{"/tmp/x", "x", 0644});
  SUBCASE("cancelled") {
    auto operation = world.sandbox.files().write_batch_async(batch);
    std::this_thread::sleep_for(50ms);
    operation.cancel();
    // What is open waits for the guest's answers; the connection's end brings them.
    world.client.close();
    const auto results = operation.get();
    REQUIRE(results.ok());
    for (const auto& result : *results) CHECK(result.error);
  }
  SUBCASE("closed") {
    auto operation = world.sandbox.files().write_batch_async(batch);
    std::this_thread::sleep_for(50ms);
    world.client.close();
    const auto results = operation.get();
    REQUIRE(results.ok());
    for (const auto& result : *results) CHECK(result.error);
  }
}

TEST_CASE("metrics: figures as a supervisor gives them") {
  World world([](Peer& peer, const wire::Frame& frame) {
    if (frame.type != Type::metrics) return;
    CHECK(must(wire::MetricsRequest::decode(frame.payload)).since_ms == 1'001);
    wire::MetricsMessage message;
    message.as_of_ms = 2'000;
    message.interval_ms = 5000;
    message.window_ms = 60'000;
    message.cpu_micros = 2'000'000;
    message.memory_limit_bytes = 4ULL << 30U;
    message.lifetime_cpu_us = 1'500'000;
    message.lifetime_ms = 10'000;
    message.samples = {{1'500, 1'000'000, 1ULL << 30U}, {2'000, 500'000, 2ULL << 30U}};
    peer.result(frame.id, message.encode());
  });
  const auto metrics = must(world.sandbox.metrics(TimePoint(1000500us)));
  CHECK(metrics.sandbox_id == world.sandbox.id());
  CHECK(metrics.status == Status::running);
  CHECK(metrics.as_of == TimePoint(2s));
  CHECK(metrics.sample_interval_seconds == 5);
  CHECK(metrics.window_seconds == 60);
  CHECK(metrics.cpu_cores == 2);
  CHECK(metrics.cpu_usage_cores == 0.5);
  CHECK(metrics.cpu_usage_percent == 25);
  CHECK(metrics.memory_usage_bytes == 2ULL << 30U);
  CHECK(metrics.memory_usage_percent == 50);
  CHECK(metrics.lifetime_cpu_seconds == 1.5);
  CHECK(metrics.lifetime_gb_seconds == 40);
  REQUIRE(metrics.samples.size() == 2);
  CHECK(metrics.samples[0].cpu_percent == 50);
}
