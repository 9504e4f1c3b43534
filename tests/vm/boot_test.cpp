// Boots are reliable: with both cores busy, every one of them answers within 30 s. 20 in `./dev test`, 200 in `./dev
// soak`. One that stalls all the same is noticed, tried once more, and then explained.
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/file.hpp"
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

// A QEMU whose guest stalls: its kernel is told to run nothing, and to stay where it is then. The machine's QEMU, by
// way of a script. (With snapshots there would be a boot only for the first create of all.)
class StallingQemu {
 public:
  StallingQemu() {
    std::string pattern = std::filesystem::temp_directory_path() / "orkestr-stall-XXXXXX";
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
    REQUIRE(chmod(path_.c_str(), 0755) == 0);
    REQUIRE(base::make_directories(path_ + "/bin", 0755).ok());
    REQUIRE(base::write_file_atomic(path_ + "/stall", "", 0644).ok());
    const std::string script =
        "#!/bin/bash\n"
        "args=()\n"
        "for arg in \"$@\"; do\n"
        "  if [[ $arg == console=* && -e ${0%/bin/*}/stall ]]; then arg+=' rdinit=/none root=none panic=0'; fi\n"
        "  args+=(\"$arg\")\n"
        "done\n"
        "PATH=/usr/local/bin:/usr/bin:/bin exec qemu-system-x86_64 \"${args[@]}\"\n";
    REQUIRE(base::write_file_atomic(path_ + "/bin/qemu", script, 0755).ok());
    setenv("ORKESTR_QEMU", (path_ + "/bin/qemu").c_str(), 1);
  }
  ~StallingQemu() {
    unsetenv("ORKESTR_QEMU");
    (void)base::remove_tree(path_);
  }
  StallingQemu(const StallingQemu&) = delete;
  StallingQemu& operator=(const StallingQemu&) = delete;

  // For what is started from now on.
  void heal() const { REQUIRE(unlink((path_ + "/stall").c_str()) == 0); }

 private:
  std::string path_;
  ScopedVariable snapshots_{"ORKESTR_SNAPSHOTS", "off"};
};

}  // namespace

TEST_SUITE_BEGIN("boot");

TEST_CASE("a boot that stalls is noticed and tried once more") {
  StallingQemu qemu;
  auto pending = Sandbox::create_async(create_options(), client());
  // The script has read its arguments when it has become QEMU; the next one will not stall.
  while (pid_of(world().home() + "/state", "qemu-system") == 0) {
    REQUIRE_FALSE(pending.wait(std::chrono::milliseconds(1)));
  }
  qemu.heal();
  auto sandbox = must(pending.get());
  CHECK(must(sandbox.exec("echo hello")).stdout_data == "hello\n");
  const auto events = must(sandbox.events());
  REQUIRE(events.size() >= 3);
  CHECK(events[1].kind == "boot_retry");
  CHECK_MESSAGE(events[1].json.find("has not answered") != std::string::npos, events[1].json);
  CHECK(events[2].kind == "running");
  must(sandbox.terminate());
}

TEST_CASE("a boot that stalls twice is an error with the stage and the console's last lines") {
  StallingQemu qemu;
  auto error = must_fail(Sandbox::create(create_options(), client()), ErrorCode::vm_failed);
  CHECK(error.details().stage == "boot");
  CHECK_MESSAGE(error.message().find("twice in a row") != std::string::npos, error.message());
  CHECK_MESSAGE(error.details().console_tail.find("Kernel panic") != std::string::npos, error.details().console_tail);
  for (int i = 0; i < 300 && !processes_of(world().home() + "/state").empty(); ++i) usleep(10'000);
  CHECK(processes_of(world().home() + "/state").empty());
}

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
