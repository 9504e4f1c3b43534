// Turns to start, across processes; and the failpoints, each in a process of its own.
#include <doctest/doctest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <set>
#include <thread>

#include "base/child.hpp"
#include "base/file.hpp"
#include "base/system.hpp"
#include "supervisor/admission.hpp"
#include "supervisor/failpoint.hpp"

using namespace orkestr;
using namespace orkestr::supervisor;
using namespace std::chrono_literals;

namespace {

struct LockFile {
  LockFile() {
    char name[] = "/tmp/orkestr-admission-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    directory = name;
  }
  ~LockFile() { std::filesystem::remove_all(directory); }
  std::string path() const { return directory + "/starts"; }
  std::string directory;
};

Result<base::UniqueFd> take(
    const std::string& path, base::Deadline deadline, std::function<bool()> give_up = [] { return false; }) {
  boost::asio::io_context io;
  std::optional<Result<base::UniqueFd>> taken;
  const auto body = [&]() -> boost::asio::awaitable<void> {
    taken.emplace(co_await take_start_slot(path, std::move(give_up), deadline));
  };
  boost::asio::co_spawn(io, body(), boost::asio::detached);
  io.run();
  REQUIRE(taken);
  return std::move(*taken);
}

// What a child process does, and how it ended.
template <class Body>
int status_of_child(Body body) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) ::_exit(body());
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return status;
}

}  // namespace

TEST_CASE("admission: as many as there are slots, then one for one") {
  CHECK(start_slots() == 2 * static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
  LockFile file;
  std::vector<base::UniqueFd> held;
  for (int i = 0; i < start_slots(); ++i) {
    auto taken = take(file.path(), base::Deadline::after(0s));
    REQUIRE_MESSAGE(taken, (taken ? "" : taken.error().message()));
    held.push_back(std::move(*taken));
  }
  const auto full = take(file.path(), base::Deadline::after(50ms));
  REQUIRE_FALSE(full);
  CHECK(full.error().code() == ErrorCode::fleet_full_retry);
  CHECK(full.error().details().retry_after > 0);
  CHECK(full.error().message().find(std::to_string(start_slots()) + " at once") != std::string::npos);
  int asked = 0;
  const auto gave_up = take(file.path(), base::Deadline::never(), [&] { return ++asked > 3; });
  REQUIRE_FALSE(gave_up);
  CHECK(gave_up.error().code() == ErrorCode::cancelled);

  std::thread ender([&] {
    std::this_thread::sleep_for(30ms);
    held.pop_back();
  });
  CHECK(take(file.path(), base::Deadline::after(20s)).ok());
  ender.join();
}

TEST_CASE("admission: the slots of processes that were killed are free") {
  LockFile file;
  std::vector<pid_t> holders;
  auto ready = base::make_pipe();
  REQUIRE(ready);
  for (int i = 0; i < start_slots(); ++i) {
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      auto taken = take(file.path(), base::Deadline::after(20s));
      (void)!::write(ready->second.get(), taken ? "y" : "n", 1);
      while (true) ::pause();
    }
    holders.push_back(pid);
  }
  for (std::size_t i = 0; i < holders.size(); ++i) {
    char c = 0;
    REQUIRE(::read(ready->first.get(), &c, 1) == 1);
    CHECK(c == 'y');
  }
  CHECK_FALSE(take(file.path(), base::Deadline::after(0s)).ok());
  REQUIRE(::kill(holders.front(), SIGKILL) == 0);
  CHECK(take(file.path(), base::Deadline::after(20s)).ok());
  for (const pid_t pid : holders) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
}

TEST_CASE("admission: a lock file that cannot be made is an error, not a wait") {
  CHECK_FALSE(take("/nonexistent/starts", base::Deadline::never()).ok());
}

TEST_CASE("failpoints: listed by the supervisor, in order, each once") {
  base::ChildOptions options;
  options.argv = {ORKESTR_SUPERVISOR, "--failpoints"};
  auto listed = base::run_child(options, base::Deadline::after(20s));
  REQUIRE(listed);
  CHECK(listed->status.success());
  std::string expected;
  std::set<std::string_view> once;
  for (const auto name : kFailpoints) {
    expected += std::string(name) + "\n";
    CHECK(once.insert(name).second);
    // None is the beginning of another: a variable names exactly one.
    for (const auto other : kFailpoints) CHECK((name == other || !other.starts_with(name)));
  }
  CHECK(listed->output == expected);
}

TEST_CASE("failpoints: nothing without the variable; the one that it names kills, or fails as a full disk does") {
  const auto with = [](const char* value, std::string_view name) {
    return status_of_child([&] {
      if (value != nullptr) {
        ::setenv("ORKESTR_FAILPOINT", value, 1);
      } else {
        ::unsetenv("ORKESTR_FAILPOINT");
      }
      const auto passed = failpoint(name);
      if (passed) return 0;
      return passed.error().message().find(name) != std::string::npos &&
                     passed.error().message().find("No space left") != std::string::npos
                 ? 1
                 : 2;
    });
  };
  for (const auto name : kFailpoints) {
    CAPTURE(name);
    CHECK(WEXITSTATUS(with(nullptr, name)) == 0);
    const int killed = with((std::string(name) + ":kill").c_str(), name);
    CHECK((WIFSIGNALED(killed) && WTERMSIG(killed) == SIGKILL));
    const int failed = with((std::string(name) + ":error").c_str(), name);
    CHECK((WIFEXITED(failed) && WEXITSTATUS(failed) == 1));
    CHECK(with((std::string(name) + ":other").c_str(), name) == 0);
    CHECK(with("pause:kill", name) == 0);
  }
}
