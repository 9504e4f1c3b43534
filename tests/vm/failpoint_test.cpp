// Every failpoint of saving a snapshot, pausing and resuming: afterwards there is the running sandbox or the complete
// pause, with all its state; never neither, never a wrong one, and nothing is left behind.
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/child.hpp"
#include "base/file.hpp"
#include "stateful.hpp"

namespace orkestr::testing {

namespace {

using namespace std::chrono_literals;

// All there are, as the supervisor itself says.
std::vector<std::string> failpoints(const std::string& prefix) {
  base::ChildOptions options;
  options.argv = {ORKESTR_SUPERVISOR, "--failpoints"};
  const auto listed = must(base::run_child(options, base::Deadline::after(20s)));
  REQUIRE(listed.status.success());
  std::vector<std::string> names;
  std::istringstream lines(listed.output);
  for (std::string name; std::getline(lines, name);) {
    if (name.starts_with(prefix)) names.push_back(name);
  }
  return names;
}

// Each in both ways.
std::vector<std::string> failures(const std::string& prefix) {
  std::vector<std::string> all;
  for (const auto& name : failpoints(prefix)) {
    for (const char* how : {":kill", ":error"}) all.push_back(name + how);
  }
  REQUIRE_FALSE(all.empty());
  return all;
}

int count_snapshots(const World& in) {
  const auto names = base::list_directory(in.cache_dir() + "/snapshots");
  REQUIRE(names);
  int keys = 0;
  for (const auto& name : *names) {
    if (name == "lock") continue;
    CHECK_MESSAGE(name.size() == 64, name, " is left");
    ++keys;
  }
  return keys;
}

// A small file system over a directory, gone with it however the test ends.
class SmallDisk {
 public:
  explicit SmallDisk(std::string path) : path_(std::move(path)) {
    std::filesystem::create_directories(path_);
    REQUIRE(::mount("orkestr-test", path_.c_str(), "tmpfs", 0, "size=2g,mode=0700") == 0);
  }
  ~SmallDisk() {
    // (A supervisor that has answered may still be on its way out.)
    for (int i = 0; i < 100 && ::umount(path_.c_str()) != 0; ++i) usleep(50'000);
    CHECK(std::filesystem::remove(path_));
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }

  // Takes all that is free but `room` bytes. In ever smaller pieces, because tmpfs counts what is free only roughly.
  void fill(std::uintmax_t room) {
    const auto filler = base::open_at(AT_FDCWD, path_ + "/filler", O_WRONLY | O_CREAT | O_EXCL, 0600);
    REQUIRE(filler);
    const auto free = std::filesystem::space(path_).available;
    REQUIRE(free > room);
    const auto wanted = static_cast<off_t>(free - room);
    off_t filled = 0;
    for (off_t piece = wanted; piece >= 4096;) {
      if (filled + piece <= wanted && ::posix_fallocate(filler->get(), filled, piece) == 0) {
        filled += piece;
      } else {
        piece = piece / 2 / 4096 * 4096;
      }
    }
    REQUIRE(filled > wanted / 2);
  }
  void empty() { REQUIRE(std::filesystem::remove(path_ + "/filler")); }

 private:
  std::string path_;
};

}  // namespace

TEST_SUITE_BEGIN("failpoints");

TEST_CASE("there is a test for every failpoint") {
  std::size_t tested = 0;
  // (Those of the pool: pool_test.cpp.)
  for (const char* prefix : {"snapshot.", "pause.", "resume.", "pool."}) tested += failpoints(prefix).size();
  CHECK(tested == failpoints("").size());
}

TEST_CASE("a snapshot that fails at any point is not used, and the next create makes a good one") {
  for (const auto& failure : failures("snapshot.")) {
    CAPTURE(failure);
    World own(World::Cache::own_snapshots);
    const bool kills = failure.ends_with(":kill");
    {
      ScopedVariable failpoint("ORKESTR_FAILPOINT", failure);
      auto first = Sandbox::create(own_options(), client());
      if (kills) {
        CHECK(must_fail(first, ErrorCode::vm_failed).message() != "");
      } else {
        // It only costs time.
        must(first);
        CHECK(started_from(*first) == "boot");
        CHECK(must(first->exec("echo it works")).stdout_data == "it works\n");
        must(first->terminate());
      }
    }
    check_no_leftovers(own, failure);
    Stateful next(own_options());
    CHECK(started_from(next.sandbox()) == "snapshot");
    CHECK(count_snapshots(own) == 1);
    next.terminate();
    check_no_leftovers(own, failure);
  }
}

TEST_CASE("a pause that fails at any point leaves the running sandbox, or the paused one") {
  for (const auto& failure : failures("pause.")) {
    CAPTURE(failure);
    const bool kills = failure.ends_with(":kill");
    const bool named = failure.starts_with("pause.named:");
    std::optional<Stateful> state;
    {
      ScopedVariable failpoint("ORKESTR_FAILPOINT", failure);
      state.emplace();
    }
    const auto paused = state->sandbox().pause();
    if (named) {
      // It has its name: whatever comes then, it is paused.
      CHECK(paused.ok() != kills);
    } else if (kills) {
      // The supervisor of a running sandbox is gone before anything of it was complete.
      REQUIRE_FALSE(paused.ok());
      await_status(state->id(), Status::failed);
      must_fail(Sandbox::resume(state->id(), {}, client()), ErrorCode::not_ready);
      check_no_leftovers(world(), failure);
      continue;
    } else {
      REQUIRE_FALSE(paused.ok());
      CHECK_MESSAGE(paused.error().message().find("it runs on") != std::string::npos, paused.error().message());
      CHECK(status_of(state->id()) == Status::running);
      state->check("it runs on");
      CHECK_FALSE(state->sandbox().pause().ok());  // again, to no other effect
      state->check("it still runs on");
      CHECK_FALSE(base::exists(world().sandboxes_dir() + "/" + state->id() + "/pause"));
      CHECK_FALSE(base::exists(world().sandboxes_dir() + "/" + state->id() + "/pause.new"));
    }
    if (named) {
      await_status(state->id(), Status::paused);
      state->resume();
      state->check("resumed");
      state->cycle("and again");
    }
    state->terminate();
    check_no_leftovers(world(), failure);
  }
}

TEST_CASE("a resume that fails at any point leaves the sandbox as paused as before") {
  Stateful state;
  for (const auto& failure : failures("resume.")) {
    CAPTURE(failure);
    must(state.sandbox().pause());
    {
      ScopedVariable failpoint("ORKESTR_FAILPOINT", failure);
      const auto resumed = Sandbox::resume(state.id(), {}, client());
      REQUIRE_FALSE(resumed.ok());
      CHECK_FALSE(resumed.error().message().empty());
    }
    await_status(state.id(), Status::paused);
    const auto files = world().files_of(state.id());
    CHECK(std::count(files.begin(), files.end(), "pause") == 1);
    state.resume();
    state.check("after a resume that failed");
  }
  state.terminate();
  check_no_leftovers(world(), "after resumes that failed");
}

TEST_CASE("a disk that is full during pause: the sandbox runs on, and can be paused when there is room") {
  if (geteuid() != 0) {
    fmt::print(stderr,
               "a full disk: not tried, which needs root to mount a small one; :error of the failpoints stands "
               "for it\n");
    return;
  }
  // Only what the sandbox writes: the template's memory has holes, which a tmpfs fills when they are read.
  World own(World::Cache::own_snapshots);
  SmallDisk disk(own.home() + "/state");
  {
    Stateful state(own_options());
    state.cycle("copies what it cannot link here");
    for (const std::uintmax_t room : {std::uintmax_t{0}, std::uintmax_t{1} << 20U, std::uintmax_t{4} << 20U}) {
      CAPTURE(room);
      must(state.sandbox().exec("sync"));  // nothing that the guest has yet to write
      disk.fill(room);
      const auto error = must_fail(state.sandbox().pause(), ErrorCode::internal);
      CHECK_MESSAGE(error.message().find("No space left") != std::string::npos, error.message());
      CHECK_MESSAGE(error.message().find("it runs on") != std::string::npos, error.message());
      CHECK(status_of(state.id()) == Status::running);
      CHECK(must(state.sandbox().exec("cat /run/loops")).exit_code == 0);
      disk.empty();
      state.check("after a full disk");
    }
    state.cycle("when there is room again");
    state.cycle("and again");
    state.terminate();
    check_no_leftovers(own, "after a full disk");
  }
}

TEST_CASE(
    "a disk of the host that is full: the guest stands still, and goes on when there is room, with nothing lost") {
  if (geteuid() != 0) {
    fmt::print(stderr, "a full disk under a running guest: not tried, which needs root to mount a small one\n");
    return;
  }
  World own(World::Cache::own_snapshots);
  SmallDisk disk(own.home() + "/state");
  auto sandbox = must(Sandbox::create(own_options(), client()));
  must(sandbox.exec("sync"));
  disk.fill(std::uintmax_t{8} << 20U);
  ExecOptions patient;
  patient.timeout = std::chrono::minutes(2);
  auto writing = sandbox.exec_async(
      "head -c 67108864 /dev/urandom | tee /workspace/big | sha256sum; sync; echo 3 > /proc/sys/vm/drop_caches; "
      "sha256sum < /workspace/big",
      patient);
  const auto room = [&] { return std::filesystem::space(disk.path()).available; };
  for (int i = 0; i < 600 && room() > (std::uintmax_t{1} << 20U); ++i) usleep(100'000);
  REQUIRE(room() <= (std::uintmax_t{1} << 20U));
  CHECK_FALSE(writing.wait(3s));  // a retry or two in vain
  disk.empty();
  const auto result = must(writing.get());
  CHECK(result.exit_code == 0);
  constexpr std::size_t kLine = 64 + 4;  // a SHA-256, "  -" and the end of the line
  REQUIRE(result.stdout_data.size() == 2 * kLine);
  CHECK(result.stdout_data.substr(0, kLine) == result.stdout_data.substr(kLine));
  std::optional<std::int64_t> stood;
  for (int i = 0; i < 100 && !stood; ++i) {
    usleep(100'000);
    for (const Event& event : must(sandbox.events())) {
      if (event.kind == "disk_stopped") stood = event.duration_ms;
    }
  }
  CHECK(stood.value_or(0) >= 2000);
  must(sandbox.terminate());
}

TEST_SUITE_END();

}  // namespace orkestr::testing
