// The library against a scripted supervisor, through the public interface: what a person sees when the other side
// behaves, and when it does not.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>

#include "local_fake_supervisor.hpp"
#include "orkestr/orkestr.hpp"

using namespace orkestr;
using namespace orkestr::local_test;
using namespace std::chrono_literals;

namespace {

wire::ExecRequest exec_request(const wire::Frame& frame) { return must(wire::ExecRequest::decode(frame.payload)); }
std::string line_of(const wire::Frame& frame) { return exec_request(frame).argv.back(); }

// Answers "echo TEXT" with TEXT, anything else with an empty success.
void echo(Peer& peer, const wire::Frame& frame) {
  if (frame.type != wire::Type::exec) return;
  const std::string line = line_of(frame);
  wire::ExecExit exit;
  if (line.rfind("echo ", 0) == 0) {
    peer.output(frame.id, line.substr(5) + "\n");
    exit.stdout_bytes = line.size() - 4;
  }
  peer.send(wire::data_frame(frame.id, wire::Stream::output, {}, true));
  peer.exit(frame.id, exit);
}

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

long heap_bytes() { return static_cast<long>(mallinfo2().uordblks); }

}  // namespace

TEST_CASE("exec: output, exit record and totals arrive") {
  World world([](Peer& peer, const wire::Frame& frame) {
    if (frame.type != wire::Type::exec) return;
    const auto request = exec_request(frame);
    CHECK(request.argv == std::vector<std::string>{"/bin/bash", "-c", "make"});
    CHECK(request.cwd == "/workspace/a");
    CHECK(request.env == wire::EnvList{{"A", "1"}});
    CHECK(request.timeout_ms == 1500);
    CHECK_FALSE(request.stdin_open);
    wire::StartedMessage started;
    started.pid = 7;
    peer.send(wire::OutFrame(wire::Type::started, frame.id, started.encode()));
    peer.output(frame.id, "out");
    peer.send(wire::data_frame(frame.id, wire::Stream::error_output, "err"));
    wire::ExecExit exit;
    exit.exit_code = 3;
    exit.duration_us = 1234;
    exit.stdout_bytes = exit.stderr_bytes = 3;
    exit.max_rss_kb = 99;
    peer.exit(frame.id, exit);
  });
  ExecOptions options;
  options.cwd = "/workspace//a/";
  options.env["A"] = "1";
  options.timeout = 1500ms;
  const auto result = must(world.sandbox.exec("make", options));
  CHECK(result.stdout_data == "out");
  CHECK(result.stderr_data == "err");
  CHECK(result.exit_code == 3);
  CHECK(result.duration == 1234us);
  CHECK(result.max_rss_kb == 99);
  CHECK_FALSE(result.truncated);
}

TEST_CASE("exec: a timeout, a signal and a cancel are errors with the output so far") {
  World world([](Peer& peer, const wire::Frame& frame) {
    if (frame.type == wire::Type::cancel) {
      wire::ExecExit exit;
      exit.cancelled = true;
      return peer.exit(frame.id, exit);
    }
    if (frame.type != wire::Type::exec) return;
    const std::string line = line_of(frame);
    peer.output(frame.id, "so far");
    wire::ExecExit exit;
    exit.timed_out = line == "slow";
    exit.signal = line == "killed" || line == "oom" ? 9 : 0;
    exit.oom = line == "oom";
    if (line != "hangs") peer.exit(frame.id, exit);
  });
  auto slow = world.sandbox.exec("slow");
  REQUIRE_FALSE(slow);
  CHECK(slow.error().code() == ErrorCode::exec_timeout);
  CHECK(slow.error().details().stdout_data == "so far");
  auto killed = world.sandbox.exec("killed");
  REQUIRE_FALSE(killed);
  CHECK(killed.error().code() == ErrorCode::exec_killed);
  CHECK(killed.error().details().signal == 9);
  CHECK_FALSE(killed.error().details().oom);
  auto oom = world.sandbox.exec("oom");
  REQUIRE_FALSE(oom);
  CHECK(oom.error().details().oom);
  auto pending = world.sandbox.exec_async("hangs");
  CHECK_FALSE(pending.wait(50ms));
  pending.cancel();
  auto cancelled = pending.get();
  REQUIRE_FALSE(cancelled);
  CHECK(cancelled.error().code() == ErrorCode::cancelled);
  CHECK(cancelled.error().details().stdout_data == "so far");
}

TEST_CASE("sixteen threads on one handle each get their own output") {
  World world(echo);
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const std::string text = std::to_string(t * 1000 + i);
        auto result = world.sandbox.exec("echo " + text);
        if (result && result->stdout_data == text + "\n") ++right;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 16 * 50);
  CHECK(world.supervisor.connections() == 1);
}

TEST_CASE("handles of one client share one connection; dropping them closes it") {
  World world(echo);
  {
    auto second = must(Sandbox::get(world.supervisor.id(), world.client));
    CHECK(must(second.exec("echo a")).stdout_data == "a\n");
    CHECK(must(world.sandbox.exec("echo b")).stdout_data == "b\n");
  }
  CHECK(world.supervisor.connections() == 1);
}

TEST_CASE("a slow reader holds the producer back, and everything arrives in the end") {
  std::atomic<std::uint64_t> sent{0};
  constexpr std::uint64_t kTotal = 32U << 20U;
  World world([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type == wire::Type::exec) peer.stream(frame.id, kTotal);
    if (frame.id != 0) sent = peer.sent(frame.id);
  });
  must(must(world.sandbox.exec_stream("cat")).next());  // connect; warm up
  const long before = heap_bytes();
  auto stream = must(world.sandbox.exec_stream("cat"));
  std::this_thread::sleep_for(300ms);
  CHECK(sent == wire::kInitialCredit);  // not a byte more than the window
  CHECK(heap_bytes() - before < 4 * long{wire::kInitialCredit});
  std::uint64_t got = 0;
  while (true) {
    auto chunk = must(stream.next());
    REQUIRE(chunk);
    got += chunk->data.size();
    if (chunk->is_final()) break;
  }
  CHECK(got == kTotal);
  CHECK_FALSE(must(stream.next()));
}

TEST_CASE("collected output keeps head and tail and knows the true total") {
  constexpr std::uint64_t kTotal = 8U << 20U;
  World world([](Peer& peer, const wire::Frame& frame) {
    if (frame.type == wire::Type::exec) peer.stream(frame.id, kTotal);
  });
  ExecOptions options;
  options.max_output_bytes = 4096;
  const auto result = must(world.sandbox.exec("cat", options));
  CHECK(result.truncated);
  CHECK(result.stdout_data.size() == 4096);
  CHECK(result.stdout_total_bytes == kTotal);
}

TEST_CASE("a stream's descriptor is readable exactly when next() has something") {
  std::mutex mutex;
  std::condition_variable go;
  int step = 0;
  World world([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type != wire::Type::exec) return;
    for (int i = 1; i <= 2; ++i) {
      std::unique_lock lock(mutex);
      go.wait(lock, [&] { return step >= i; });
      if (i == 1) peer.output(frame.id, "a");
      if (i == 2) peer.exit(frame.id);
    }
  });
  auto stream = must(world.sandbox.exec_stream("x"));
  pollfd ready{stream.fd(), POLLIN, 0};
  auto advance = [&] {
    std::lock_guard lock(mutex);
    ++step;
    go.notify_all();
  };
  CHECK(::poll(&ready, 1, 50) == 0);
  auto nothing = must(stream.next(0ms));
  REQUIRE(nothing);
  CHECK((nothing->data.empty() && !nothing->is_final()));
  advance();
  CHECK(::poll(&ready, 1, 5000) == 1);
  CHECK(must(stream.next(0ms))->data == "a");
  CHECK(::poll(&ready, 1, 50) == 0);
  advance();
  CHECK(::poll(&ready, 1, 5000) == 1);
  CHECK(must(stream.next(0ms))->is_final());
  CHECK_FALSE(must(stream.next(0ms)));
}

TEST_CASE("dropping a stream detaches, and the connection goes on") {
  std::atomic<int> detached{0}, cancelled{0};
  World world([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type == wire::Type::detach) ++detached;
    if (frame.type == wire::Type::cancel) ++cancelled;
    if (frame.type == wire::Type::exec && line_of(frame) == "long") return peer.output(frame.id, "x");
    echo(peer, frame);
  });
  {
    auto stream = must(world.sandbox.exec_stream("long"));
    CHECK(must(stream.next())->data == "x");
  }
  CHECK(must(world.sandbox.exec("echo next")).stdout_data == "next\n");
  CHECK(detached == 1);
  CHECK(cancelled == 0);
}

TEST_CASE("upload: every byte, in order, within the window the peer gives") {
  std::string received;
  std::uint64_t granted = wire::kInitialCredit;
  bool within = true, ended = false;
  World world([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type == wire::Type::file_write) {
      const auto request = must(wire::FileRequest::decode(frame.payload));
      CHECK(request.path == "/workspace/big");
      CHECK(request.mode == 0600);
    }
    if (frame.type != wire::Type::data) return;
    received += frame.payload;
    within = within && received.size() <= granted;
    if (frame.end_of_stream()) {
      ended = true;
      return peer.result(frame.id);
    }
    if (received.size() == granted) {
      granted += 100'000;
      peer.send(wire::credit_frame(frame.id, 100'000), wire::Lane::control);
    }
  });
  std::string content(5'000'000, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 2654435761U >> 24U);
  SUBCASE("from the caller's thread") { must(world.sandbox.files().write("/workspace/big", content, 0600)); }
  SUBCASE("asynchronously") { must(world.sandbox.files().write_async("/workspace/big", content, 0600).get()); }
  CHECK(within);
  CHECK(ended);
  CHECK(received == content);
}

TEST_CASE("an upload that is refused early says why, whoever still writes") {
  World world([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type == wire::Type::file_write) {
      peer.error(frame.id, Error(ErrorCode::is_a_directory, "write '/workspace/d': Is a directory"));
    }
  });
  auto written = world.sandbox.files().write("/workspace/d", std::string(5'000'000, 'x'));
  REQUIRE_FALSE(written);
  CHECK(written.error().code() == ErrorCode::is_a_directory);
}

TEST_CASE("stdin is fed as the peer takes it, and ends") {
  std::string received;
  World world([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type != wire::Type::data) return;
    received += frame.payload;
    if (!frame.payload.empty()) {
      peer.send(wire::credit_frame(frame.id, static_cast<std::uint32_t>(frame.payload.size())), wire::Lane::control);
    }
    if (frame.end_of_stream()) peer.exit(frame.id);
  });
  ExecOptions options;
  options.stdin_data = std::string(3'000'000, 'y');
  must(world.sandbox.exec("cat > /dev/null", options));
  CHECK(received == *options.stdin_data);
  received.clear();
  options.stdin_data = "";
  must(world.sandbox.exec("cat", options));
  CHECK(received.empty());
}

TEST_CASE("files: list, stat and the errors of the guest") {
  World world([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type == wire::Type::file_stat) {
      wire::FileInfo info;
      info.exists = must(wire::FileRequest::decode(frame.payload)).path != "/none";
      info.size = 5;
      info.mode = 0644;
      info.modified_ns = 1'500'000'000;
      peer.result(frame.id, info.encode());
    } else if (frame.type == wire::Type::file_list) {
      std::string bytes;
      for (const char* name : {"b", "a"}) {
        wire::FileInfo info;
        info.name = name;
        const std::string encoded = info.encode();
        for (int i = 0; i < 4; ++i) bytes += static_cast<char>(encoded.size() >> (8 * i));
        bytes += encoded;
      }
      // Cut in the middle of an entry: frames have no respect for messages.
      peer.output(frame.id, bytes.substr(0, 7));
      peer.output(frame.id, bytes.substr(7));
      peer.result(frame.id);
    } else if (frame.type == wire::Type::file_delete) {
      peer.error(frame.id, Error(ErrorCode::file_not_found, "delete '/workspace/x': No such file or directory"));
    } else if (frame.type == wire::Type::file_mkdir || frame.type == wire::Type::file_move) {
      peer.result(frame.id);
    }
  });
  const auto files = world.sandbox.files();
  const auto stat = must(files.stat("/x"));
  CHECK(stat.exists);
  CHECK(stat.mode == 0644);
  CHECK(stat.modified_at.time_since_epoch() == 1500ms);
  CHECK_FALSE(must(files.exists("/none")));
  const auto entries = must(files.list("/"));
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].name == "a");
  CHECK(files.remove("/workspace/x").error().code() == ErrorCode::file_not_found);
  must(files.mkdir("/workspace/d"));
  must(files.move("/workspace/a", "/workspace/b"));
}

TEST_CASE("a read that comes in pieces is whole") {
  World world([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type == wire::Type::file_read) {
      for (const char* piece : {"ab", "c", "def"}) peer.output(frame.id, piece);
      peer.result(frame.id);
    }
  });
  CHECK(must(world.sandbox.files().read("/etc/x")) == "abcdef");
  auto reader = must(world.sandbox.files().read_stream("/etc/x"));
  std::string all;
  while (true) {
    const std::string piece = must(reader.read(4));
    if (piece.empty()) break;
    CHECK(piece.size() <= 4);
    all += piece;
  }
  CHECK(all == "abcdef");
  CHECK(must(reader.read()).empty());
}

TEST_CASE("a read that breaks off gives what came, then its error, then nothing but that error") {
  World world([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type != wire::Type::file_read) return;
    peer.output(frame.id, "abcdef");
    peer.error(frame.id, Error(ErrorCode::connection, "read /etc/x: the sandbox went away"));
  });
  CHECK(world.sandbox.files().read("/etc/x").error().code() == ErrorCode::connection);
  auto reader = must(world.sandbox.files().read_stream("/etc/x"));
  char room[4];
  std::string all;
  auto count = reader.read(room, sizeof room);
  for (; count && *count > 0; count = reader.read(room, sizeof room)) all.append(room, *count);
  CHECK(all == "abcdef");
  REQUIRE_FALSE(count);
  for (int i = 0; i < 2; ++i) {
    CHECK(reader.read(room, sizeof room).error().code() == ErrorCode::connection);
    CHECK(reader.read().error().code() == ErrorCode::connection);
    CHECK(reader.next(1s).error().code() == ErrorCode::connection);
  }
}

TEST_CASE("who asks asynchronously about a sandbox whose last process takes its time to end is not kept waiting") {
  auto told = must(base::make_pipe());
  auto ready = must(base::make_pipe());
  const pid_t qemu = ::fork();  // before there is a lock that it would inherit
  if (qemu == 0) {
    char path[256] = {};
    (void)!::read(told.first.get(), path, sizeof path - 1);
    const auto lock = base::open_at(AT_FDCWD, path, O_RDONLY);
    const auto held = lock ? base::try_lock_byte(lock->get(), registry::kQemuByte, base::LockKind::read) : lock.error();
    (void)!::write(ready.second.get(), held && *held ? "y" : "n", 1);
    ::usleep(1'500'000);
    ::_exit(0);
  }
  World world(echo);
  const std::string id = world.sandbox.id();
  const std::string path = world.home.sandboxes() + "/" + id + "/" + registry::kLockFile;
  REQUIRE(::write(told.second.get(), path.data(), path.size()) == static_cast<ssize_t>(path.size()));
  char held = 0;
  REQUIRE(::read(ready.first.get(), &held, 1) == 1);
  REQUIRE(held == 'y');
  world.supervisor.die();

  const auto start = std::chrono::steady_clock::now();
  auto got = Sandbox::get_async(id, world.client);
  auto listed = Sandbox::list_async({}, world.client);
  auto refreshed = world.sandbox.refresh_async();
  auto measured = world.sandbox.metrics_async();
  CHECK(std::chrono::steady_clock::now() - start < 300ms);
  CHECK_FALSE(got.wait(0ms));
  CHECK_FALSE(listed.wait(0ms));
  CHECK_FALSE(refreshed.wait(0ms));
  CHECK_FALSE(measured.wait(0ms));
  CHECK(must(got.get()).info().status == Status::failed);
  const auto all = must(listed.get());
  REQUIRE(all.size() == 1);
  CHECK(all.front().status == Status::failed);
  must(refreshed.get());
  CHECK(world.sandbox.info().status == Status::failed);
  CHECK(measured.get().ok());
  CHECK(std::chrono::steady_clock::now() - start > 800ms);  // it was waited for, and not killed
  int status = 0;
  REQUIRE(::waitpid(qemu, &status, 0) == qemu);
  CHECK(WIFEXITED(status));
}
