// The QMP client against a scripted peer on the other end of a socketpair.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <atomic>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstring>
#include <functional>
#include <thread>

#include "base/system.hpp"
#include "vm/qmp.hpp"
#include "vm_test_support.hpp"

using namespace orkestr;
using namespace orkestr::vm;
using namespace orkestr::vm::test;
using boost::asio::awaitable;
using namespace boost::asio::experimental::awaitable_operators;

namespace {

constexpr std::string_view kGreeting =
    R"({"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}})";

// QEMU's side: blocking calls on a thread, so a test reads as the conversation does. It notes what it was asked.
class Peer {
 public:
  explicit Peer(std::function<void(Peer&)> script) {
    auto pair = base::socket_pair(SOCK_STREAM);
    client = std::move(pair->first);
    mine_ = std::move(pair->second);
    const timeval limit{10, 0};
    ::setsockopt(mine_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(mine_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    thread_ = std::thread([this, script = std::move(script)] {
      script(*this);
      mine_.reset();
    });
  }
  ~Peer() { join(); }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(mine_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  void line(std::string_view text) { send(std::string(text) + "\r\n"); }

  // The next command; keeps a descriptor that came with it. A null value at the end.
  base::JsonValue receive() {
    while (buffer_.find('\n') == std::string::npos) {
      char chunk[4096];
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
      iovec data{chunk, sizeof chunk};
      msghdr m{};
      m.msg_iov = &data;
      m.msg_iovlen = 1;
      m.msg_control = control;
      m.msg_controllen = sizeof control;
      const auto n = ::recvmsg(mine_.get(), &m, MSG_CMSG_CLOEXEC);
      if (n <= 0) return {};
      if (auto* c = CMSG_FIRSTHDR(&m); c != nullptr && c->cmsg_type == SCM_RIGHTS) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
        passed.reset(fd);
      }
      buffer_.append(chunk, static_cast<std::size_t>(n));
    }
    const auto end = buffer_.find('\n');
    auto json = base::JsonValue::parse(buffer_.substr(0, end));
    buffer_.erase(0, end + 1);
    if (!json) return {};
    commands.push_back(json->string_or("execute", ""));
    return std::move(*json);
  }
  void answer(const base::JsonValue& command, std::string_view value = "{}") {
    line(fmt::format(R"({{"return": {}, "id": {}}})", value, command.integer_or("id", -1)));
  }
  void greet() {
    line(kGreeting);
    answer(receive());
  }
  // Until the client has closed.
  void drain() {
    while (!receive().is_null()) {
    }
  }

  base::UniqueFd client;
  base::UniqueFd passed;
  std::vector<std::string> commands;

 private:
  base::UniqueFd mine_;
  std::string buffer_;
  std::thread thread_;
};

awaitable<std::unique_ptr<Qmp>> connected(Peer& peer) {
  auto qmp = co_await Qmp::connect(std::move(peer.client), in_seconds(10));
  REQUIRE_MESSAGE(qmp, qmp.error().message());
  co_return std::move(*qmp);
}

}  // namespace

TEST_CASE("greeting, capabilities, a command with arguments and its value") {
  base::JsonValue asked;
  Peer peer([&](Peer& p) {
    p.greet();
    asked = p.receive();
    p.answer(asked, R"({"status": "running"})");
  });
  run([&]() -> awaitable<void> {
    auto qmp = co_await connected(peer);
    CHECK(qmp->qemu_version() == "7.2.22");
    auto got = co_await qmp->execute("query-status", R"({"a":[1,2]})", in_seconds(10));
    REQUIRE(got);
    CHECK(got->string_or("status", "") == "running");
  });
  peer.join();
  CHECK(peer.commands == std::vector<std::string>{"qmp_capabilities", "query-status"});
  CHECK(asked["arguments"]["a"].items().size() == 2);
}

TEST_CASE("an error names the command and quotes QEMU") {
  Peer peer([](Peer& p) {
    p.greet();
    p.line(fmt::format(R"({{"error": {{"class": "GenericError", "desc": "Device 'x' not found"}}, "id": {}}})",
                       p.receive().integer_or("id", -1)));
  });
  run([&]() -> awaitable<void> {
    auto qmp = co_await connected(peer);
    auto got = co_await qmp->execute("device_del", R"({"id":"x"})", in_seconds(10));
    REQUIRE(!got);
    CHECK(got.error().code() == ErrorCode::vm_failed);
    CHECK(got.error().details().stage == "qmp");
    CHECK(got.error().message() == "QEMU command device_del: Device 'x' not found (GenericError)");
  });
}

TEST_CASE("commands in flight together are told apart, in whatever order the answers come") {
  Peer peer([](Peer& p) {
    p.greet();
    const auto first = p.receive(), second = p.receive();
    p.line(R"({"event": "STOP", "data": {"n": 1}, "timestamp": {}})");
    p.answer(second, fmt::format("\"{}\"", second.string_or("execute", "")));
    p.answer(first, fmt::format("\"{}\"", first.string_or("execute", "")));
  });
  run([&]() -> awaitable<void> {
    auto qmp = co_await connected(peer);
    auto [a, b] = co_await (qmp->execute("one", "", in_seconds(10)) && qmp->execute("two", "", in_seconds(10)));
    REQUIRE(a);
    REQUIRE(b);
    CHECK(a->string() == "one");
    CHECK(b->string() == "two");
  });
}

TEST_CASE("a deadline ends one command only; its late answer is nobody's") {
  Peer peer([](Peer& p) {
    p.greet();
    const auto late = p.receive(), second = p.receive();
    p.answer(late, "\"late\"");
    p.answer(second, "\"second\"");
  });
  run([&]() -> awaitable<void> {
    auto qmp = co_await connected(peer);
    auto got = co_await qmp->execute("migrate", "", in_ms(30));
    REQUIRE(!got);
    CHECK(got.error().message() == "QEMU command migrate: QEMU did not answer in time");
    auto next = co_await qmp->execute("cont", "", in_seconds(10));
    REQUIRE(next);
    CHECK(next->string() == "second");
  });
}

TEST_CASE("a descriptor travels beside its command") {
  Peer peer([](Peer& p) {
    p.greet();
    p.answer(p.receive());
  });
  auto pipe = base::make_pipe();
  REQUIRE(pipe);
  run([&]() -> awaitable<void> {
    auto qmp = co_await connected(peer);
    CHECK(co_await qmp->execute("getfd", R"({"fdname":"st"})", in_seconds(10), pipe->second.get()));
  });
  peer.join();
  pipe->second.reset();
  REQUIRE(peer.passed);
  REQUIRE(base::write_all(peer.passed.get(), "through"));
  peer.passed.reset();
  CHECK(read_to_end(pipe->first.get()) == "through");
}

TEST_CASE("events between the answers disturb nobody") {
  Peer peer([](Peer& p) {
    p.greet();
    for (int i = 0; i < 1000; ++i) p.line(fmt::format(R"({{"event": "E{}", "data": {{}}}})", i));
    p.answer(p.receive());
  });
  run([&]() -> awaitable<void> {
    auto qmp = co_await connected(peer);
    CHECK(co_await qmp->execute("x", "", in_seconds(10)));
  });
}

TEST_CASE("a peer that lies, floods or goes ends the connection, with its commands") {
  struct Row {
    std::string sends;
    const char* says;
  };
  const Row rows[] = {
      {"", "QEMU closed its control socket"},
      {"no json\n", "no JSON"},
      {"[1,2]\n", "a command that was not sent"},
      {"{\"return\": {}, \"id\": 0}\n", "a command that was not sent"},
      {"{\"return\": {}, \"id\": -3}\n", "a command that was not sent"},
      {"{\"return\": {}, \"id\": \"1\"}\n", "a command that was not sent"},
      {"{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\n", "a command that was not sent"},
      {std::string(kMaxQmpLineBytes + 100'000, 'x'), "more than 1 MiB"},
      {std::string(100'000, '[') + "\n", "no JSON"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.says);
    Peer peer([&](Peer& p) {
      p.greet();
      p.receive();
      p.send(row.sends);
      if (!row.sends.empty()) p.drain();
    });
    run([&]() -> awaitable<void> {
      auto qmp = co_await connected(peer);
      auto got = co_await qmp->execute("cont", "", in_seconds(10));
      REQUIRE(!got);
      CHECK(got.error().message().find(row.says) != std::string::npos);
      auto after = co_await qmp->execute("stop", "", in_seconds(10));
      REQUIRE(!after);
      CHECK(after.error().message().find("QEMU command stop: ") == 0);
    });
  }
}

TEST_CASE("a line cut into single bytes, blank lines and a second greeting do no harm") {
  Peer peer([](Peer& p) {
    p.greet();
    const auto command = p.receive();
    p.line("");
    p.line(kGreeting);
    for (char c : fmt::format("{{\"return\": \"€\", \"id\": {}}}\r\n", command.integer_or("id", -1))) p.send({&c, 1});
  });
  run([&]() -> awaitable<void> {
    auto qmp = co_await connected(peer);
    auto got = co_await qmp->execute("x", "", in_seconds(10));
    REQUIRE_MESSAGE(got, got.error().message());
    CHECK(got->string() == "€");
  });
}

TEST_CASE("no greeting: the deadline holds") {
  Peer peer([](Peer& p) { p.drain(); });
  run([&]() -> awaitable<void> {
    auto qmp = co_await Qmp::connect(std::move(peer.client), in_ms(30));
    REQUIRE(!qmp);
    CHECK(qmp.error().message() == "QMP greeting: QEMU did not answer in time");
  });
}

TEST_CASE("a QEMU that does not read costs an error, not a hang; an oversized command is not sent") {
  std::atomic<bool> stop{false};
  Peer peer([&](Peer& p) {
    p.greet();
    while (!stop) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  run([&]() -> awaitable<void> {
    auto qmp = co_await connected(peer);
    auto big = co_await qmp->execute("x", "\"" + std::string(kMaxQmpCommandBytes, 'x') + "\"", in_seconds(10));
    REQUIRE(!big);
    CHECK(big.error().message().find("too long") != std::string::npos);
    const std::string filler = "\"" + std::string(kMaxQmpCommandBytes - 200, 'x') + "\"";
    std::string last;
    for (int i = 0; i < 100 && last.find("stopped reading") == std::string::npos; ++i) {
      last = (co_await qmp->execute("x", filler, in_ms(1))).error().message();
    }
    CHECK(last.find("stopped reading") != std::string::npos);
  });
  stop = true;
}

TEST_CASE("destroying the client ends what waits on it") {
  Peer peer([](Peer& p) {
    p.greet();
    p.drain();
  });
  std::string ended;
  run([&]() -> awaitable<void> {
    auto qmp = co_await connected(peer);
    boost::asio::co_spawn(
        co_await boost::asio::this_coro::executor,
        [&ended](Qmp& q) -> awaitable<void> {
          auto got = co_await q.execute("cont", "", base::Deadline::never());
          ended = got ? "answered" : got.error().message();
        }(*qmp),
        boost::asio::detached);
    boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, std::chrono::milliseconds(10));
    co_await timer.async_wait(boost::asio::use_awaitable);
    qmp.reset();
    timer.expires_after(std::chrono::milliseconds(10));
    co_await timer.async_wait(boost::asio::use_awaitable);
  });
  CHECK(ended == "QEMU command cont: the connection to QEMU was closed");
}
