// SIGKILL of the supervisor or of QEMU at any moment: no process is left at once, and after one list() no file but the
// record.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <thread>

#include "base/file.hpp"
#include "base/system.hpp"
#include "registry/registry.hpp"
#include "support/processes.hpp"
#include "support/suite.hpp"

namespace orkestr::testing {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

bool wait_until(std::chrono::seconds limit, const std::function<bool()>& condition) {
  auto end = Clock::now() + limit;
  while (!condition()) {
    if (Clock::now() > end) return false;
    usleep(2'000);
  }
  return true;
}

// A process of any sandbox in this world.
int find(const char* prefix) { return pid_of(world().home() + "/state", prefix); }

constexpr const char* kSupervisor = "orkestr-superv";
constexpr const char* kQemu = "qemu-system";

void check_nothing_left(const std::string& what) {
  bool gone = wait_until(std::chrono::seconds(3), [] { return processes_of(world().home() + "/state").empty(); });
  CHECK_MESSAGE(gone, what, ": processes are left");
  must(Sandbox::list({}, client()));
  for (const std::string& left : world().leftovers()) FAIL_CHECK(what, ": ", left);
}

// How long a create takes on this machine at this time.
std::chrono::microseconds usual_create() {
  auto start = Clock::now();
  auto sandbox = must(Sandbox::create(create_options(), client()));
  auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
  must(sandbox.terminate());
  return took;
}

bool is_found_failed(const Sandbox& sandbox) {
  return wait_until(std::chrono::seconds(5), [&] {
    auto now = Sandbox::get(sandbox.id(), client());
    return now.ok() && now->info().status == Status::failed;
  });
}

// The first five moments lie within create, at this share of a usual one; the others in a running sandbox.
void kill_during_create(const char* victim, int moment, std::chrono::microseconds usual) {
  auto start = Clock::now();
  auto pending = Sandbox::create_async(create_options(), client());
  REQUIRE(wait_until(std::chrono::seconds(20), [&] { return find(victim) != 0; }));
  std::this_thread::sleep_until(start + usual * moment / 6);
  int pid = find(victim);
  REQUIRE(pid != 0);
  REQUIRE(kill(pid, SIGKILL) == 0);
  auto outcome = pending.get();
  if (!outcome) {
    CHECK_FALSE(outcome.error().message().empty());
  } else if (std::string_view(victim) == kQemu) {
    // A QEMU that dies while it boots is started once more, so the create may succeed.
    must(outcome->terminate());
  } else {
    // This boot was so fast that create had its answer before the kill: then it is a sandbox that is found dead.
    CHECK_MESSAGE(is_found_failed(*outcome), "create succeeded although its supervisor was killed");
  }
}

void kill_while_running(const char* victim, int moment) {
  auto sandbox = must(Sandbox::create(create_options(), client()));
  int pid = pid_of(sandbox.id(), victim);
  REQUIRE(pid != 0);
  std::thread killer;
  auto kill_after = [&](milliseconds delay) {
    killer = std::thread([=] {
      std::this_thread::sleep_for(delay);
      kill(pid, SIGKILL);
    });
  };
  switch (moment) {
    case 5:  // idle
      kill(pid, SIGKILL);
      break;
    case 6: {  // output flows
      auto stream = must(sandbox.exec_stream("cat /dev/zero"));
      kill_after(milliseconds(300));
      Result<std::optional<ExecChunk>> chunk = stream.next();
      while (chunk.ok() && chunk->has_value()) chunk = stream.next();
      CHECK_FALSE(chunk.ok());
      break;
    }
    case 7: {  // an upload
      auto writer = must(sandbox.files().write_stream("/workspace/x"));
      kill_after(milliseconds(300));
      Result<void> wrote;
      std::string piece(1U << 20U, 'x');
      for (int i = 0; i < 4000 && wrote.ok(); ++i) wrote = writer.write(piece);
      CHECK_FALSE(wrote.ok());
      break;
    }
    case 8: {  // a command runs
      kill_after(milliseconds(200));
      auto result = sandbox.exec("sleep 30");
      CHECK_FALSE(result.ok());
      break;
    }
    default:  // terminate races
      kill_after(milliseconds(1));
      must(sandbox.terminate());
      break;
  }
  if (killer.joinable()) killer.join();
  if (moment != 9) {
    // Whoever asks next is told that it is over.
    REQUIRE(is_found_failed(sandbox));
  }
}

void at_ten_moments(const char* victim) {
  const auto usual = usual_create();
  for (int round = 0; round < test_scale(); ++round) {
    for (int moment = 0; moment < 10; ++moment) {
      std::string what = fmt::format("{} killed at moment {}", victim, moment);
      CAPTURE(what);
      if (moment < 5) {
        kill_during_create(victim, moment, usual);
      } else {
        kill_while_running(victim, moment);
      }
      check_nothing_left(what);
    }
  }
}

}  // namespace

TEST_SUITE_BEGIN("crash");

TEST_CASE("SIGKILL of the supervisor at ten moments") { at_ten_moments(kSupervisor); }

TEST_CASE("SIGKILL of QEMU at ten moments") { at_ten_moments(kQemu); }

// As one would that somebody has broken into: a process that holds QEMU's lock, calls itself something else, and has
// taken back that it dies with its supervisor.
TEST_CASE("a QEMU that outlives its supervisor is ended by whoever looks") {
  auto sandbox = must(Sandbox::create(create_options(), client()));
  const std::string lock_file = world().sandboxes_dir() + "/" + sandbox.id() + "/lock";
  auto lock = must(base::open_at(AT_FDCWD, lock_file, O_RDONLY));
  REQUIRE(must(base::try_lock_byte(lock.get(), registry::kQemuByte, base::LockKind::read)));
  const pid_t outliver = ::fork();
  REQUIRE(outliver >= 0);
  if (outliver == 0) {
    ::prctl(PR_SET_NAME, "innocent");
    while (true) ::pause();
  }
  lock.reset();
  const pid_t supervisor = pid_of(sandbox.id(), kSupervisor);
  REQUIRE(kill(supervisor, SIGKILL) == 0);
  // Until it is gone, whoever looks finds the sandbox alive.
  REQUIRE(wait_until(std::chrono::seconds(10), [&] { return kill(supervisor, 0) != 0; }));
  SUBCASE("list") { must(Sandbox::list({}, client())); }
  SUBCASE("terminate") { (void)must(Sandbox::get(sandbox.id(), client())).terminate(); }
  int status = 0;
  REQUIRE(wait_until(std::chrono::seconds(10), [&] { return ::waitpid(outliver, &status, WNOHANG) == outliver; }));
  CHECK(WIFSIGNALED(status));
}

TEST_SUITE_END();

}  // namespace orkestr::testing
