// The small parts of core: the output cap, names of enumerations, the I/O thread, the choice of backend, retries.
#include <doctest/doctest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <future>
#include <limits>
#include <random>

#include "core/choose_backend.hpp"
#include "core/create.hpp"
#include "core/handles.hpp"
#include "core/io_thread.hpp"
#include "core/output_cap.hpp"
#include "core/submit.hpp"
#include "idle_backend.hpp"
#include "orkestr/orkestr.hpp"

using namespace orkestr;
using namespace std::chrono_literals;

TEST_CASE("output cap: first half and last half, against a naive reference") {
  std::mt19937 random(20261121);
  for (int round = 0; round < 500; ++round) {
    const std::size_t cap = 1 + random() % 40;
    core::OutputCap output(cap);
    std::string all;
    for (unsigned pieces = random() % 12; pieces > 0; --pieces) {
      std::string piece;
      for (unsigned n = random() % 30; n > 0; --n) piece += static_cast<char>('a' + random() % 26);
      output.append(piece);
      all += piece;
    }
    const std::size_t head = cap - cap / 2, tail = cap / 2;
    const std::string expected = all.size() <= cap ? all : all.substr(0, head) + all.substr(all.size() - tail);
    CHECK(output.total() == all.size());
    CHECK(output.truncated() == (all.size() > cap));
    CHECK(output.take() == expected);
  }
}

TEST_CASE("every name of an enumeration parses back") {
  for (auto v : {Network::off, Network::restricted, Network::open}) CHECK(parse_network(to_string(v)).value() == v);
  for (auto v : {Size::small, Size::medium, Size::large}) CHECK(parse_size(to_string(v)).value() == v);
  for (auto v : {OnTimeout::kill, OnTimeout::pause}) CHECK(parse_on_timeout(to_string(v)).value() == v);
  for (auto v : {Status::starting, Status::running, Status::pausing, Status::paused, Status::resuming,
                 Status::terminated, Status::failed}) {
    CHECK(parse_status(to_string(v)).value() == v);
  }
  CHECK(parse_size("huge").error().message() == "size is 'huge'; allowed are small, medium, large");
  CHECK(parse_size("a\x1b[2J\xff").error().message() == "size is 'a\\x1b[2J\\xff'; allowed are small, medium, large");
}

TEST_CASE("the I/O thread: lazy, in order, all signals blocked, named; close runs what was posted") {
  auto thread = core::IoThread::create().value();
  std::vector<int> order;
  std::promise<sigset_t> mask;
  std::promise<std::string> name;
  CHECK(thread->post([&] {
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, nullptr, &set);
    mask.set_value(set);
    char text[16] = {};
    pthread_getname_np(pthread_self(), text, sizeof text);
    name.set_value(text);
  }));
  const sigset_t blocked = mask.get_future().get();
  for (const int signal : {SIGINT, SIGTERM, SIGCHLD, SIGPIPE, SIGUSR1}) CHECK(sigismember(&blocked, signal) == 1);
  CHECK(name.get_future().get() == "orkestr-io");
  sigset_t own;
  pthread_sigmask(SIG_SETMASK, nullptr, &own);
  CHECK(sigismember(&own, SIGINT) == 0);
  for (int i = 0; i < 100; ++i) CHECK(thread->post([&order, i] { order.push_back(i); }));
  thread->close([&order] { order.push_back(1000); });
  REQUIRE(order.size() == 101);
  for (int i = 0; i < 100; ++i) CHECK(order[static_cast<std::size_t>(i)] == i);
  CHECK(order.back() == 1000);
  CHECK_FALSE(thread->post([&order] { order.push_back(-1); }));
  thread->close([&order] { order.push_back(-1); });
  CHECK(order.size() == 101);
}

TEST_CASE("the last handle may go on the I/O thread itself") {
  for (int i = 0; i < 20; ++i) {
    auto client = std::make_unique<Client>(Client::open({BackendKind::local, {}, {}, 30s}).value());
    auto& thread = client->impl()->thread();
    std::promise<void> gone;
    auto future = gone.get_future();
    auto last = std::make_shared<std::unique_ptr<Client>>(std::move(client));
    REQUIRE(
        thread.post([last = std::move(last), gone = std::make_shared<std::promise<void>>(std::move(gone))]() mutable {
          last.reset();
          gone->set_value();
        }));
    CHECK(future.wait_for(5s) == std::future_status::ready);
  }
}

TEST_CASE("the I/O thread: two closers at once both return when it has ended") {
  for (int round = 0; round < 50; ++round) {
    auto thread = core::IoThread::create().value();
    int ran = 0;
    REQUIRE(thread->post([&] { std::this_thread::sleep_for(1ms); }));
    auto close = [&] {
      thread->close([&ran] { ++ran; });
      CHECK(ran == 1);
    };
    std::thread other(close);
    close();
    other.join();
  }
}

TEST_CASE("which backend is chosen") {
  auto kind = [](ClientOptions options = {}) { return core::resolve_backend(options); };
  for (const char* name : {"ORKESTR_BACKEND", "ORKESTR_API_KEY", "ORKESTR_BASE_URL"}) ::unsetenv(name);
  CHECK(kind().value() == BackendKind::local);
  CHECK(kind({BackendKind::remote, {}, {}, 30s}).value() == BackendKind::remote);
  CHECK(kind({BackendKind::automatic, "key", {}, 30s}).value() == BackendKind::remote);
  CHECK(kind({BackendKind::local, {}, {}, 30s}).value() == BackendKind::local);
  CHECK(kind({BackendKind::local, "key", {}, 30s}).error().code() == ErrorCode::invalid_argument);
  ::setenv("ORKESTR_API_KEY", "k", 1);
  CHECK(kind().value() == BackendKind::remote);
  ::setenv("ORKESTR_BACKEND", "local", 1);
  CHECK(kind().value() == BackendKind::local);
  ::setenv("ORKESTR_BACKEND", "moon", 1);
  CHECK(kind().error().code() == ErrorCode::invalid_argument);
  ::setenv("ORKESTR_BACKEND", "remote", 1);
  auto remote = Client::open();
  REQUIRE(remote);
  CHECK(remote->backend() == "remote");
  ::unsetenv("ORKESTR_API_KEY");
  CHECK(Client::open().error().code() == ErrorCode::unauthorized);
  ::unsetenv("ORKESTR_BACKEND");
}

namespace {

// A host that is full the first `full` times.
struct FullHost final : IdleBackend {
  int full = 0;
  std::atomic<int> attempts{0};
  ErrorCode code = ErrorCode::fleet_full_retry;
  std::optional<double> retry_after = 0.01;
  std::chrono::milliseconds takes{0};  // each attempt
  Pauses pauses;
  Pauses pauses_when_full() const override { return pauses; }
  CancelFunction create(CreateOptions, Completion<OpenedSandbox> done) override { return answer(done); }
  CancelFunction resume(std::string, Completion<OpenedSandbox> done) override { return answer(done); }
  Result<TemplateInfo> build_template(const std::string& name, const TemplateBuildOptions& build,
                                      const std::stop_token& stop) override {
    return on_build ? on_build(name, build, stop) : Error(ErrorCode::template_build_failed, "no");
  }
  std::function<Result<TemplateInfo>(const std::string&, const TemplateBuildOptions&, const std::stop_token&)> on_build;

 private:
  CancelFunction answer(const Completion<OpenedSandbox>& done) {
    ErrorDetails details;
    details.retry_after = retry_after;
    std::this_thread::sleep_for(takes);
    if (++attempts <= full) {
      done(Error(code, "full", details));
    } else {
      done(OpenedSandbox{});
    }
    return [] {};
  }
};

Result<OpenedSandbox> create_on(const std::shared_ptr<FullHost>& host, CreateOptions options) {
  auto client = std::make_shared<ClientImpl>(core::IoThread::create().value(), host);
  auto operation = core::submit<OpenedSandbox>(
      [&](auto done) { return core::create_with_retries(client, std::move(options), std::move(done)); });
  REQUIRE(operation.wait(5s));
  return operation.get();
}

}  // namespace

TEST_CASE("create is tried again when the host is full, within the limits, and for no other error") {
  auto host = std::make_shared<FullHost>();
  CreateOptions options;
  host->full = 3;
  SUBCASE("until there is room") {
    CHECK(create_on(host, options).ok());
    CHECK(host->attempts == 4);
  }
  SUBCASE("at most max_retries times") {
    options.max_retries = 2;
    CHECK(create_on(host, options).error().code() == ErrorCode::fleet_full_retry);
    CHECK(host->attempts == 3);
  }
  SUBCASE("never with max_retries=0") {
    options.max_retries = 0;
    CHECK(create_on(host, options).error().code() == ErrorCode::fleet_full_retry);
    CHECK(host->attempts == 1);
  }
  SUBCASE("at once where it asks for no pause") {
    host->retry_after = 0;
    host->pauses.attempts_count = false;
    options.retry_max = 0s;
    CHECK(create_on(host, options).ok());
    CHECK(host->attempts == 4);
  }
  SUBCASE("with pauses of the backend's own where it does not say, and in all not longer than retry_max") {
    host->retry_after.reset();
    options.retry_max = 1s;  // 0.25 + 0.5, and 1 would be too much
    const auto start = std::chrono::steady_clock::now();
    CHECK(create_on(host, options).error().code() == ErrorCode::fleet_full_retry);
    CHECK(host->attempts == 3);
    CHECK(std::chrono::steady_clock::now() - start >= 750ms);
  }
  SUBCASE("attempts that take long count towards retry_max, where the backend says so") {
    host->full = 1000;
    host->takes = 400ms;
    options.retry_max = 1s;
    SUBCASE("yes") {
      CHECK(create_on(host, options).error().code() == ErrorCode::fleet_full_retry);
      CHECK(host->attempts <= 3);
    }
    SUBCASE("no") {
      host->pauses.attempts_count = false;
      CHECK(create_on(host, options).error().code() == ErrorCode::fleet_full_retry);
      CHECK(host->attempts == 6);
    }
  }
  SUBCASE("not beyond retry_max") {
    options.retry_max = 0s;
    CHECK(create_on(host, options).error().code() == ErrorCode::fleet_full_retry);
    CHECK(host->attempts == 1);
  }
  SUBCASE("not for another error") {
    host->code = ErrorCode::vm_failed;
    CHECK(create_on(host, options).error().code() == ErrorCode::vm_failed);
    CHECK(host->attempts == 1);
  }
}

TEST_CASE("the pause before the next attempt: what is asked for, else doubling between the backend's bounds") {
  const Backend::Pauses remote{2s, 30s};
  const std::vector<std::chrono::seconds> own = {2s, 4s, 8s, 16s, 30s, 30s};
  for (int tries = 0; tries < static_cast<int>(own.size()); ++tries) {
    CHECK(core::pause_before_retry(std::nullopt, tries, remote) == own[static_cast<std::size_t>(tries)]);
    CHECK(core::pause_before_retry(7.5, tries, remote) == 7500ms);
    CHECK(core::pause_before_retry(45, tries, remote) == 45s);
    CHECK(core::pause_before_retry(0, tries, remote) == 0s);
    CHECK(core::pause_before_retry(-1, tries, remote) == 0s);
  }
  CHECK(core::pause_before_retry(std::nullopt, 0, {}) == 250ms);
  CHECK(core::pause_before_retry(std::nullopt, 100, {}) == 8s);
  for (const double never : {1e300, std::numeric_limits<double>::infinity(), std::nan("")}) {
    CHECK(core::pause_before_retry(never, 0, remote) > 24h);
  }
}

TEST_CASE("a create that waits for its next attempt ends at once when it is cancelled, and when the client closes") {
  auto host = std::make_shared<FullHost>();
  host->full = 1000;
  host->retry_after = 20;
  auto client = std::make_shared<ClientImpl>(core::IoThread::create().value(), host);
  auto operation = core::submit<OpenedSandbox>(
      [&](auto done) { return core::create_with_retries(client, CreateOptions{}, std::move(done)); });
  SUBCASE("cancelled, waiting") {
    CHECK_FALSE(operation.wait(50ms));
    operation.cancel();
  }
  SUBCASE("cancelled as soon as can be") { operation.cancel(); }
  SUBCASE("closed, waiting") {
    CHECK_FALSE(operation.wait(50ms));
    client->close();
  }
  REQUIRE(operation.wait(2s));
  CHECK(operation.get().error().code() == ErrorCode::cancelled);
  CHECK(host->attempts == 1);
  std::weak_ptr<ClientImpl> weak = client;
  client.reset();
  // The I/O thread may be about to let go of the last of it.
  for (int i = 0; i < 1000 && !weak.expired(); ++i) std::this_thread::sleep_for(1ms);
  CHECK(weak.expired());
}

TEST_CASE("an end is final: a look from before it that comes later changes nothing") {
  SandboxInfo info;
  info.id = "sbx_1";
  SandboxImpl sandbox(nullptr, nullptr, info);
  info.status = Status::paused;
  sandbox.set_info(info);
  CHECK(sandbox.info().status == Status::paused);
  info.status = Status::terminated;
  sandbox.set_info(info);
  info.status = Status::running;
  sandbox.set_info(info);
  CHECK(sandbox.info().status == Status::terminated);
  info.status = Status::failed;
  sandbox.set_info(info);
  CHECK(sandbox.info().status == Status::failed);
}

TEST_CASE("asynchronous looks do not wait in the caller's thread, and a cancelled one not for its turn") {
  // Every look takes until the end of the test.
  struct Slow final : IdleBackend {
    std::promise<void> over;
    std::shared_future<void> until = over.get_future().share();
    std::string_view name() const override { return "local"; }
    CancelFunction get(std::string, Completion<OpenedSandbox> done) override {
      until.wait();
      done(Error(ErrorCode::not_found, "gone"));
      return [] {};
    }
  };
  auto backend = std::make_shared<Slow>();
  Client client(std::make_shared<ClientImpl>(core::IoThread::create().value(), backend));
  std::vector<Operation<Sandbox>> looks;
  for (int i = 0; i < core::Workers::kTurns + 3; ++i) {
    looks.push_back(Sandbox::get_async("sbx_01ARZ3NDEKTSV4RRFFQ69G5FAV", client));
  }
  for (auto* cancelled : {&looks.front(), &looks.back()}) {
    CHECK_FALSE(cancelled->wait(0ms));
    cancelled->cancel();
    CHECK(cancelled->get().error().code() == ErrorCode::cancelled);
  }
  backend->over.set_value();
  for (std::size_t i = 1; i + 1 < looks.size(); ++i) CHECK(looks[i].get().error().code() == ErrorCode::not_found);
}
