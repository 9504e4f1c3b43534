// The event loop: removal and reuse within a batch, timers, posting from other threads.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/reactor.hpp"
#include "base/system.hpp"
#include "base_test_support.hpp"

using namespace orkestr;
using namespace orkestr::base;
using orkestr::base_test::must;
using namespace std::chrono_literals;

namespace {

struct Pipe {
  UniqueFd in;
  UniqueFd out;
  Pipe() {
    auto ends = must(make_pipe(O_NONBLOCK));
    in = std::move(ends.first);
    out = std::move(ends.second);
  }
  void fill() { REQUIRE(::write(out.get(), "x", 1) == 1); }
  void drain() {
    char byte;
    REQUIRE(::read(in.get(), &byte, 1) == 1);
  }
};

}  // namespace

TEST_CASE("reactor: level-triggered events, modify, hang-up") {
  auto reactor = must(Reactor::create());
  Pipe pipe;
  std::vector<std::uint32_t> seen;
  must(reactor->add(pipe.in.get(), EPOLLIN, [&](std::uint32_t events) { seen.push_back(events); }));
  reactor->run_once(0);
  CHECK(seen.empty());
  pipe.fill();
  reactor->run_once(0);
  reactor->run_once(0);
  CHECK(seen == std::vector<std::uint32_t>{EPOLLIN, EPOLLIN});  // until it is read
  reactor->modify(pipe.in.get(), 0);
  reactor->run_once(0);
  CHECK(seen.size() == 2);
  reactor->modify(pipe.in.get(), EPOLLIN);
  reactor->run_once(0);
  CHECK(seen.size() == 3);
  reactor->modify(pipe.in.get(), 0);
  pipe.out.reset();
  reactor->run_once(0);
  CHECK(seen.back() == EPOLLHUP);  // always reported
  auto count = seen.size();
  reactor->remove(pipe.in.get());
  reactor->run_once(0);
  CHECK(seen.size() == count);
  reactor->remove(pipe.in.get());
  reactor->modify(pipe.in.get(), EPOLLIN);  // unknown ones are ignored
  reactor->run_once(0);
  CHECK(seen.size() == count);
}

TEST_CASE("reactor: add refuses what epoll refuses") {
  auto reactor = must(Reactor::create());
  Pipe pipe;
  must(reactor->add(pipe.in.get(), EPOLLIN, [](std::uint32_t) {}));
  CHECK(reactor->add(pipe.in.get(), EPOLLIN, [](std::uint32_t) {}).error().code() == ErrorCode::file_exists);
  CHECK_FALSE(reactor->add(-1, EPOLLIN, [](std::uint32_t) {}).ok());
}

TEST_CASE("reactor: a handler may remove itself, and what it owned lives until it returns") {
  auto reactor = must(Reactor::create());
  Pipe pipe;
  pipe.fill();
  auto owned = std::make_shared<std::string>("alive");
  std::weak_ptr<std::string> watch = owned;
  std::string seen;
  must(reactor->add(pipe.in.get(), EPOLLIN, [&, owned](std::uint32_t) {
    reactor->remove(pipe.in.get());
    seen = *owned;
  }));
  owned.reset();
  reactor->run_once(0);
  reactor->run_once(0);
  CHECK(seen == "alive");
  CHECK(watch.expired());
}

TEST_CASE("reactor: whoever runs first removes the other, and its waiting event is dropped") {
  auto reactor = must(Reactor::create());
  Pipe a, b;
  a.fill();
  b.fill();
  int calls = 0;
  auto rival = [&](int other) {
    return [&, other](std::uint32_t) {
      ++calls;
      reactor->remove(other);
    };
  };
  must(reactor->add(a.in.get(), EPOLLIN, rival(b.in.get())));
  must(reactor->add(b.in.get(), EPOLLIN, rival(a.in.get())));
  reactor->run_once(0);
  CHECK(calls == 1);
}

TEST_CASE("reactor: a number used again within the batch does not get the old one's event") {
  auto reactor = must(Reactor::create());
  Pipe a, b, fresh;
  a.fill();
  b.fill();
  int old_calls = 0;
  int new_calls = 0;
  // Whichever of the two comes first closes the other and puts a silent pipe under the same number.
  auto replace = [&](Pipe& self, Pipe& other) {
    return [&](std::uint32_t) {
      ++old_calls;
      self.drain();
      int number = other.in.get();
      reactor->remove(number);
      REQUIRE(::dup2(fresh.in.get(), number) == number);
      must(reactor->add(number, EPOLLIN, [&](std::uint32_t) { ++new_calls; }));
    };
  };
  must(reactor->add(a.in.get(), EPOLLIN, replace(a, b)));
  must(reactor->add(b.in.get(), EPOLLIN, replace(b, a)));
  reactor->run_once(0);
  CHECK(old_calls == 1);
  CHECK(new_calls == 0);
  fresh.fill();
  reactor->run_once(0);
  CHECK(new_calls == 1);  // its own event arrives
}

TEST_CASE("reactor: modify within the batch withdraws what was asked for") {
  auto reactor = must(Reactor::create());
  Pipe a, b;
  a.fill();
  b.fill();
  int calls = 0;
  auto quiet = [&](int other) {
    return [&, other](std::uint32_t) {
      ++calls;
      reactor->modify(other, 0);
    };
  };
  must(reactor->add(a.in.get(), EPOLLIN, quiet(b.in.get())));
  must(reactor->add(b.in.get(), EPOLLIN, quiet(a.in.get())));
  reactor->run_once(0);
  CHECK(calls == 1);
}

TEST_CASE("reactor: more descriptors than one batch holds all get their turn") {
  auto reactor = must(Reactor::create());
  std::vector<std::unique_ptr<Pipe>> pipes;
  int served = 0;
  for (int i = 0; i < 200; ++i) {
    auto& pipe = *pipes.emplace_back(std::make_unique<Pipe>());
    pipe.fill();
    must(reactor->add(pipe.in.get(), EPOLLIN, [&](std::uint32_t) {
      ++served;
      pipe.drain();
    }));
  }
  for (int i = 0; i < 10; ++i) reactor->run_once(0);
  CHECK(served == 200);
}

TEST_CASE("reactor: timers in the order of their times, equal ones in the order of adding") {
  auto reactor = must(Reactor::create());
  auto now = Deadline::Clock::now();
  std::string order;
  reactor->add_timer(now + 20ms, [&] { order += 'd'; });
  reactor->add_timer(now + 10ms, [&] { order += 'b'; });
  reactor->add_timer(now + 10ms, [&] { order += 'c'; });
  reactor->add_timer(now - 1h, [&] { order += 'a'; });
  reactor->run_once(0);
  CHECK(order == "a");
  while (Deadline::Clock::now() < now + 20ms) std::this_thread::sleep_for(1ms);
  reactor->run_once(0);
  CHECK(order == "abcd");
  reactor->run_once(0);
  CHECK(order == "abcd");
}

TEST_CASE("reactor: the wait ends when a timer is due, and not before") {
  auto reactor = must(Reactor::create());
  bool fired = false;
  auto start = Deadline::Clock::now();
  reactor->add_timer(30ms, [&] { fired = true; });
  reactor->run_once(5);
  CHECK_FALSE(fired);  // the cap came first
  int turns = 1;
  for (; !fired && turns < 100; ++turns) reactor->run_once(-1);
  CHECK(Deadline::Clock::now() - start >= 30ms);
  CHECK(Deadline::Clock::now() - start < 5s);
  CHECK(turns <= 3);  // it slept, it did not spin
}

TEST_CASE("reactor: cancelled timers do not fire, from another timer either") {
  auto reactor = must(Reactor::create());
  auto past = Deadline::Clock::now() - 1s;
  std::string order;
  auto owned = std::make_shared<int>(1);
  std::weak_ptr<int> watch = owned;
  auto first = reactor->add_timer(past, [&, owned] { order += '1'; });
  owned.reset();
  reactor->cancel_timer(first);
  CHECK(watch.expired());
  Reactor::TimerId victim = 0;
  Reactor::TimerId self = reactor->add_timer(past, [&] {
    order += '2';
    reactor->cancel_timer(victim);
    reactor->cancel_timer(self);
  });
  victim = reactor->add_timer(past, [&] { order += '3'; });
  reactor->run_once(0);
  reactor->cancel_timer(victim);
  reactor->cancel_timer(self);
  reactor->cancel_timer(424242);
  reactor->run_once(0);
  CHECK(order == "2");
}

TEST_CASE("reactor: a timer that re-arms itself for now does not starve the rest") {
  auto reactor = must(Reactor::create());
  int fired = 0;
  std::function<void()> again = [&] {
    ++fired;
    reactor->add_timer(Deadline::Clock::now() - 1s, again);
  };
  reactor->add_timer(0ns, again);
  reactor->run_once(0);
  CHECK(fired == 1);
  Pipe pipe;
  pipe.fill();
  bool served = false;
  must(reactor->add(pipe.in.get(), EPOLLIN, [&](std::uint32_t) { served = true; }));
  reactor->run_once(0);
  CHECK(fired == 2);
  CHECK(served);
}

TEST_CASE("reactor: posted tasks run in order on the loop's thread; those they post run later") {
  auto reactor = must(Reactor::create());
  std::string order;
  reactor->post([&] {
    order += 'a';
    reactor->post([&] { order += 'c'; });
  });
  reactor->post([&] { order += 'b'; });
  reactor->run_once(-1);
  CHECK(order == "ab");
  reactor->run_once(-1);  // does not block: the post inside woke it
  CHECK(order == "abc");
}

TEST_CASE("reactor: posts from many threads all arrive, each thread's in order; then stop") {
  auto reactor = must(Reactor::create());
  constexpr int kThreads = 4;
  constexpr int kPosts = 5000;
  std::vector<int> last(kThreads, -1);
  bool ordered = true;
  int total = 0;
  std::thread::id loop_thread;
  bool one_thread = true;
  std::thread loop([&] {
    loop_thread = std::this_thread::get_id();
    reactor->run();
  });
  std::vector<std::thread> posters;
  for (int t = 0; t < kThreads; ++t) {
    posters.emplace_back([&, t] {
      for (int i = 0; i < kPosts; ++i) {
        reactor->post([&, t, i] {
          ordered = ordered && last[static_cast<std::size_t>(t)] == i - 1;
          last[static_cast<std::size_t>(t)] = i;
          one_thread = one_thread && std::this_thread::get_id() == loop_thread;
          ++total;
        });
      }
    });
  }
  for (auto& poster : posters) poster.join();
  std::atomic<bool> drained{false};
  reactor->post([&] { drained = true; });
  while (!drained) std::this_thread::sleep_for(1ms);
  reactor->stop();
  reactor->stop();
  loop.join();
  CHECK(total == kThreads * kPosts);
  CHECK(ordered);
  CHECK(one_thread);
}

TEST_CASE("reactor: stop from a handler, before run, and from the loop while it sleeps") {
  auto reactor = must(Reactor::create());
  int turns = 0;
  reactor->post([&] {
    ++turns;
    reactor->stop();
  });
  reactor->run();
  CHECK(turns == 1);
  reactor->run();  // stopped stays stopped
  CHECK(turns == 1);

  auto sleeping = must(Reactor::create());
  std::thread loop([&] { sleeping->run(); });
  std::this_thread::sleep_for(20ms);
  sleeping->stop();
  loop.join();
}

TEST_CASE("reactor: tasks posted after the end go with it, and may call it while they go") {
  struct Caller {
    Reactor* reactor;
    int* destroyed;
    ~Caller() {
      ++*destroyed;
      reactor->post([] {});
      reactor->cancel_timer(1);
      reactor->remove(0);
    }
  };
  int destroyed = 0;
  {
    auto reactor = must(Reactor::create());
    Pipe pipe;
    auto caller = [&] { return std::make_shared<Caller>(Caller{reactor.get(), &destroyed}); };
    destroyed = 0;
    auto a = caller(), b = caller(), c = caller();
    destroyed = 0;
    must(reactor->add(pipe.in.get(), EPOLLIN, [a](std::uint32_t) {}));
    reactor->add_timer(1h, [b] {});
    reactor->stop();
    reactor->run();
    reactor->post([c] {});
    a.reset();
    b.reset();
    c.reset();
    CHECK(destroyed == 0);
  }
  CHECK(destroyed == 3);
}

TEST_CASE("reactor: a handler that removes all, adds others, and ends the loop") {
  auto reactor = must(Reactor::create());
  Pipe a, b;
  a.fill();
  std::string order;
  must(reactor->add(a.in.get(), EPOLLIN, [&](std::uint32_t) {
    order += 'a';
    reactor->remove(a.in.get());
    must(reactor->add(b.in.get(), EPOLLIN, [&](std::uint32_t) {
      order += 'b';
      reactor->stop();
    }));
    reactor->add_timer(1ms, [&] { b.fill(); });
  }));
  reactor->run();
  CHECK(order == "ab");
}
