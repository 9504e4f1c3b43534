// Operations: complete once, wait, descriptor, cancel hook at most once and not after completion, under races too.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/submit.hpp"
#include "orkestr/operation.hpp"

using namespace orkestr;
using namespace std::chrono_literals;

namespace {

bool readable(int fd, int timeout_ms = 0) {
  pollfd ready{fd, POLLIN, 0};
  return ::poll(&ready, 1, timeout_ms) == 1;
}

}  // namespace

TEST_CASE("the first result counts") {
  auto state = std::make_shared<detail::OperationValue<int>>();
  Operation<int> operation(state);
  CHECK_FALSE(operation.wait(1ms));
  state->set(1);
  state->set(2);
  CHECK(operation.wait(0ms));
  CHECK(operation.get().value() == 1);
}

TEST_CASE("a wait ends when the result comes, also a very long one") {
  auto state = std::make_shared<detail::OperationValue<int>>();
  Operation<int> operation(state);
  std::thread later([&] {
    std::this_thread::sleep_for(20ms);
    state->set(Error(ErrorCode::internal, "x"));
  });
  CHECK(operation.wait(std::chrono::milliseconds::max() / 1'000'000));
  CHECK(operation.get().error().code() == ErrorCode::internal);
  later.join();
}

TEST_CASE("the descriptor is made on demand, before or after completion, and stays readable") {
  auto state = std::make_shared<detail::OperationValue<void>>();
  Operation<void> operation(state);
  SUBCASE("before") {
    const int fd = operation.fd();
    REQUIRE(fd >= 0);
    CHECK_FALSE(readable(fd));
    state->set({});
  }
  SUBCASE("after") { state->set({}); }
  CHECK(readable(operation.fd()));
  CHECK(readable(operation.fd()));
  CHECK(operation.get().ok());
}

TEST_CASE("cancel calls the hook once, in whatever order they come") {
  auto state = std::make_shared<detail::OperationValue<int>>();
  int calls = 0;
  SUBCASE("hook, then cancel") {
    state->on_cancel([&] { ++calls; });
    CHECK(calls == 0);
    state->cancel();
    state->cancel();
    CHECK(calls == 1);
  }
  SUBCASE("cancel, then hook") {
    state->cancel();
    state->on_cancel([&] { ++calls; });
    CHECK(calls == 1);
  }
  SUBCASE("not after completion") {
    state->on_cancel([&] { ++calls; });
    state->set(1);
    state->cancel();
    CHECK(calls == 0);
    state->on_cancel([&] { ++calls; });
    CHECK(calls == 0);
  }
}

TEST_CASE("completion releases what the hook owns") {
  auto state = std::make_shared<detail::OperationValue<int>>();
  auto owned = std::make_shared<int>(1);
  state->on_cancel([owned] {});
  CHECK(owned.use_count() == 2);
  state->set(1);
  CHECK(owned.use_count() == 1);
}

TEST_CASE("races: many completers, cancellers and waiters, one result, at most one hook call") {
  for (int round = 0; round < 200; ++round) {
    auto state = std::make_shared<detail::OperationValue<int>>();
    std::atomic<int> hooks{0}, waited{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] { state->set(i); });
      threads.emplace_back([&] { state->cancel(); });
      threads.emplace_back([&] { state->on_cancel([&] { ++hooks; }); });
      threads.emplace_back([&] { waited += state->wait(5s) ? 1 : 0; });
      threads.emplace_back([&] { waited += readable(state->fd(), 5000) ? 1 : 0; });
    }
    for (auto& thread : threads) thread.join();
    CHECK(waited == 4);
    CHECK(hooks <= 2);  // two hooks were set, each is called at most once
    CHECK(state->result->ok());
  }
}

TEST_CASE("dropping an operation neither waits nor cancels; the late result is discarded") {
  Completion<int> finish;
  bool cancelled = false;
  {
    auto operation = core::submit<int>([&](Completion<int> done) {
      finish = std::move(done);
      return [&] { cancelled = true; };
    });
  }
  finish(1);
  CHECK_FALSE(cancelled);
}

TEST_CASE("a waiter may destroy the operation the moment it is complete") {
  for (int round = 0; round < 500; ++round) {
    Completion<int> finish;
    auto operation = std::make_unique<Operation<int>>(core::submit<int>([&](Completion<int> done) {
      finish = std::move(done);
      return CancelFunction([] {});
    }));
    std::thread completer([&] {
      finish(7);
      finish = nullptr;
    });
    CHECK(operation->get().value() == 7);
    operation.reset();
    completer.join();
  }
}

TEST_CASE("an operation in a forked child answers: what was there before the fork, else whose it is") {
  auto done_state = std::make_shared<detail::OperationValue<int>>();
  auto open_state = std::make_shared<detail::OperationValue<int>>();
  auto done = std::make_unique<Operation<int>>(done_state);
  auto open = std::make_unique<Operation<int>>(open_state);
  bool cancelled = false;
  open_state->on_cancel([&] { cancelled = true; });
  done_state->set(7);
  // One that waits at the moment of the fork: what the child destroys must not wait for it.
  std::thread waiter([&] { open_state->wait(5s); });
  std::this_thread::sleep_for(20ms);
  const std::string owner = std::to_string(::getpid());
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(5);  // ends it should it wait
    bool good = done->wait(0ms) && done->get().value() == 7;
    good = good && open->wait(1h) && open->fd() == -1;
    open->cancel();
    auto result = open->get();
    good = good && !cancelled && !result && result.error().code() == ErrorCode::not_ready &&
           result.error().message().find(owner) != std::string::npos;
    done_state.reset();
    open_state.reset();
    done.reset();
    open.reset();
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  open_state->set(1);
  waiter.join();
  CHECK(open->get().value() == 1);
}
