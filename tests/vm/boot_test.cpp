// Boots are reliable: with both cores busy, every one of them answers within 30 s. 20 in `./dev test`, 200 in `./dev
// soak`.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "support/processes.hpp"
#include "support/suite.hpp"

namespace orkestr::testing {

namespace {

// Keeps every core busy while it lives.
class BusyLoops {
 public:
  BusyLoops() {
    unsigned cores = std::max(1U, std::thread::hardware_concurrency());
    for (unsigned i = 0; i < cores; ++i) {
      threads_.emplace_back([this] {
        while (!stop_.load(std::memory_order_relaxed)) {
        }
      });
    }
  }
  ~BusyLoops() {
    stop_ = true;
    for (auto& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

}  // namespace

TEST_SUITE_BEGIN("boot");

TEST_CASE("every boot under load answers within 30 s") {
  using Clock = std::chrono::steady_clock;
  BusyLoops busy;
  const int boots = 20 * test_scale();
  std::vector<double> seconds;
  for (int i = 0; i < boots; ++i) {
    auto start = Clock::now();
    auto sandbox = Sandbox::create(create_options(), client());
    REQUIRE_MESSAGE(sandbox.ok(), "boot ", i, ": ", sandbox.error().message(), "\n",
                    sandbox.error().details().console_tail);
    auto hello = must(sandbox->exec("echo hello"));
    double took = std::chrono::duration<double>(Clock::now() - start).count();
    CHECK(hello.stdout_data == "hello\n");
    CHECK_MESSAGE(took < 30.0, "boot ", i, " took ", took, " s");
    seconds.push_back(took);
    must(sandbox->terminate());
  }
  std::sort(seconds.begin(), seconds.end());
  fmt::print(stderr, "{} boots under load: median {:.1f} s, slowest {:.1f} s\n", boots, seconds[seconds.size() / 2],
             seconds.back());
}

TEST_SUITE_END();

}  // namespace orkestr::testing
