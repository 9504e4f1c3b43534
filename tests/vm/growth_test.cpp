// Long use: 1,000 commands and 16 threads grow nothing; 200 MB of output read slowly costs no memory anywhere.
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <thread>
#include <vector>

#include "support/processes.hpp"
#include "support/suite.hpp"

namespace orkestr::testing {

namespace {

double own_private_mb() {
  malloc_trim(0);
  return private_mb(getpid());
}

int own_and_supervisor_fds(int supervisor) { return open_fds(getpid()) + open_fds(supervisor); }

void run_commands(const Sandbox& sandbox, int count) {
  for (int i = 0; i < count; ++i) {
    auto result = must(sandbox.exec("echo x; echo y >&2"));
    REQUIRE(result.stdout_data == "x\n");
  }
}

}  // namespace

TEST_SUITE_BEGIN("growth");

TEST_CASE("1,000 commands: no descriptor, less than 1 kB of memory each") {
  auto sandbox = must(Sandbox::create(create_options(), client()));
  int supervisor = pid_of(sandbox.id(), "orkestr-superv");
  REQUIRE(supervisor != 0);
  // First the heaps reach their size; then the slope is measured.
  run_commands(sandbox, 200);
  int fds = own_and_supervisor_fds(supervisor);
  double own = own_private_mb(), theirs = private_mb(supervisor);
  int agent_before = std::stoi(must(sandbox.exec("grep VmRSS /proc/1/status | tr -dc 0-9")).stdout_data);
  int agent_fds = std::stoi(must(sandbox.exec("ls /proc/1/fd | wc -l")).stdout_data);
  const int count = 1000 * test_scale();
  run_commands(sandbox, count);
  CHECK(own_and_supervisor_fds(supervisor) == fds);
  double own_kb = (own_private_mb() - own) * 1024 / count, their_kb = (private_mb(supervisor) - theirs) * 1024 / count;
  int agent_after = std::stoi(must(sandbox.exec("grep VmRSS /proc/1/status | tr -dc 0-9")).stdout_data);
  double agent_kb = double(agent_after - agent_before) / count;
  CHECK(std::stoi(must(sandbox.exec("ls /proc/1/fd | wc -l")).stdout_data) == agent_fds);
  fmt::print(stderr, "kB per command: library {:.3f}, supervisor {:.3f}, agent {:.3f}\n", own_kb, their_kb, agent_kb);
  CHECK(own_kb < 1.0);
  CHECK(their_kb < 1.0);
  CHECK(agent_kb < 1.0);
  must(sandbox.terminate());
}

TEST_CASE("16 threads on one handle: all answers are right, nothing grows") {
  auto sandbox = must(Sandbox::create(create_options(), client()));
  int supervisor = pid_of(sandbox.id(), "orkestr-superv");
  auto round = [&] {
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 16; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 10; ++i) {
          std::string word = fmt::format("{}/{}", t, i);
          auto result = sandbox.exec("echo " + word);
          if (!result || result->stdout_data != word + "\n") ++wrong;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
  };
  round();
  int fds = own_and_supervisor_fds(supervisor);
  double own = own_private_mb(), theirs = private_mb(supervisor);
  const int rounds = 3 * test_scale();
  for (int i = 0; i < rounds; ++i) round();
  CHECK(own_and_supervisor_fds(supervisor) == fds);
  double own_kb = (own_private_mb() - own) * 1024 / (160.0 * rounds),
         their_kb = (private_mb(supervisor) - theirs) * 1024 / (160.0 * rounds);
  fmt::print(stderr, "kB per command with 16 threads: library {:.3f}, supervisor {:.3f}\n", own_kb, their_kb);
  CHECK(own_kb < 1.0);
  CHECK(their_kb < 1.0);
  must(sandbox.terminate());
}

TEST_CASE("200 MB of output read slowly: memory stays flat in every process") {
  auto sandbox = must(Sandbox::create(create_options(), client()));
  int supervisor = pid_of(sandbox.id(), "orkestr-superv"), qemu = pid_of(sandbox.id(), "qemu-system");
  std::map<std::string, double> before = {{"library", own_private_mb()}, {"supervisor", private_mb(supervisor)}};
  int agent_before = std::stoi(must(sandbox.exec("grep VmRSS /proc/1/status | tr -dc 0-9")).stdout_data);
  ExecOptions options;
  options.timeout = std::chrono::minutes(10);
  auto stream = must(sandbox.exec_stream("head -c 200000000 /dev/zero | tr '\\0' 'a'", options));
  double qemu_before = private_mb(qemu);
  std::size_t total = 0, next_pause = 0;
  double worst_library = 0, worst_supervisor = 0, worst_qemu = 0;
  while (true) {
    auto chunk = must(stream.next());
    if (!chunk) break;
    if (chunk->data.find_first_not_of('a') != std::string::npos) FAIL("a byte changed on its way");
    total += chunk->data.size();
    if (total < next_pause) continue;
    // Slow: a rest every 10 MB, in which the command must stop too and nothing may pile up.
    next_pause += 10'000'000;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    worst_library = std::max(worst_library, own_private_mb() - before["library"]);
    worst_supervisor = std::max(worst_supervisor, private_mb(supervisor) - before["supervisor"]);
    worst_qemu = std::max(worst_qemu, private_mb(qemu) - qemu_before);
  }
  CHECK(total == 200'000'000);
  // Another command is not starved by the one that waits for its reader, and sees a flat agent.
  int agent_after = std::stoi(must(sandbox.exec("grep VmRSS /proc/1/status | tr -dc 0-9")).stdout_data);
  fmt::print(stderr, "growth in MiB: library {:.1f}, supervisor {:.1f}, QEMU {:.1f}, agent {:.1f}\n", worst_library,
             worst_supervisor, worst_qemu, (agent_after - agent_before) / 1024.0);
  CHECK(worst_library < 16);
  CHECK(worst_supervisor < 16);
  CHECK(worst_qemu < 48);  // the guest's own processes and translated code, not output
  CHECK((agent_after - agent_before) < 8 * 1024);
  must(sandbox.terminate());
}

TEST_SUITE_END();

}  // namespace orkestr::testing
