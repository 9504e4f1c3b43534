// The warm pool with a real QEMU: each member is used once and is nobody's copy, whatever is killed when.
#include "local/pool.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "base/child.hpp"
#include "base/file.hpp"
#include "base/id.hpp"
#include "base/json.hpp"
#include "base/system.hpp"
#include "orkestr/host.hpp"
#include "support/processes.hpp"
#include "support/suite.hpp"

namespace orkestr::testing {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

bool wait_until(std::chrono::seconds limit, const std::function<bool()>& condition) {
  const auto end = Clock::now() + limit;
  while (!condition()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(10ms);
  }
  return true;
}

PoolOptions options(int count) {
  PoolOptions pool;
  pool.template_name = kTemplate;
  pool.count = count;
  pool.min_available_mb = 0;
  return pool;
}

PoolInfo set(int count) {
  const auto info = must(pool_set(options(count)));
  CHECK_MESSAGE(info.problem.empty(), info.problem);
  REQUIRE(info.ready() == count);
  return info;
}

PoolInfo now() {
  const auto all = must(pool_list());
  return all.empty() ? PoolInfo{} : all.front();
}

bool refilled(int count) {
  return wait_until(120s, [&] { return now().ready() == count; });
}

std::string started_from(const std::string& id) {
  const auto text = must(base::read_file(fmt::format("{}/{}/record.json", world().sandboxes_dir(), id)));
  return must(base::JsonValue::parse(text)).string_or("started_from", "");
}

// No process of the pool, and none of a sandbox. (This one holds the lock files of its handles.)
void check_nothing_left(const std::string& what) {
  const bool gone = wait_until(10s, [] {
    const auto left = processes_of(world().home() + "/state");
    return std::all_of(left.begin(), left.end(), [](const Process& p) { return p.pid == ::getpid(); });
  });
  CHECK_MESSAGE(gone, what, ": processes are left");
  must(Sandbox::list({}, client()));
  must(pool_list());
  const std::string ours = fmt::format(": process {} (", ::getpid());
  for (const std::string& left : world().leftovers()) {
    if (left.find(ours) == std::string::npos) FAIL_CHECK(what, ": ", left);
  }
}

// Of the environment, for as long as it lives: members are started with it.
class Failpoint {
 public:
  explicit Failpoint(const std::string& what) { ::setenv("ORKESTR_FAILPOINT", what.c_str(), 1); }
  ~Failpoint() { ::unsetenv("ORKESTR_FAILPOINT"); }
  Failpoint(const Failpoint&) = delete;
  Failpoint& operator=(const Failpoint&) = delete;
};

// A copy of QEMU where another uid may run it, and where it finds firmware and modules as at its own place.
class OwnQemu {
 public:
  OwnQemu() {
    base::ChildOptions ask;
    ask.argv = {"/bin/sh", "-c", "readlink -f \"$(command -v qemu-system-x86_64)\""};
    original_ = must(base::run_child(ask, base::Deadline::after(10s))).output;
    while (!original_.empty() && original_.back() == '\n') original_.pop_back();
    REQUIRE(::mkdtemp(prefix_.data()) != nullptr);
    fs::permissions(prefix_, fs::perms(0755));
    fs::create_directory(prefix_ + "/bin");
    for (const char* name : {"share", "lib"}) {
      fs::create_directory_symlink(fs::path(original_).parent_path().parent_path() / name, prefix_ + "/" + name);
    }
    fs::copy_file(original_, path());
    ::setenv("ORKESTR_QEMU", path().c_str(), 1);
  }
  ~OwnQemu() {
    ::unsetenv("ORKESTR_QEMU");
    std::error_code ignored;
    fs::remove_all(prefix_, ignored);
  }
  OwnQemu(const OwnQemu&) = delete;
  OwnQemu& operator=(const OwnQemu&) = delete;
  void replace() const {
    fs::copy_file(original_, path() + ".new");
    fs::rename(path() + ".new", path());
  }

 private:
  std::string path() const { return prefix_ + "/bin/qemu-system-x86_64"; }
  std::string original_;
  std::string prefix_ = fs::temp_directory_path() / "orkestr-pool-qemu-XXXXXX";
};

std::vector<std::string> pool_failpoints() {
  base::ChildOptions ask;
  ask.argv = {ORKESTR_SUPERVISOR, "--failpoints"};
  const auto ran = must(base::run_child(ask, base::Deadline::after(10s)));
  std::istringstream lines(ran.output);
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("pool.", 0) == 0) names.push_back(line);
  }
  return names;
}

bool is_before_claim(const std::string& failpoint) {
  return std::set<std::string>{"pool.slot", "pool.directory", "pool.booted", "pool.stopped"}.count(failpoint) != 0;
}

base::ChildOptions create_process() {
  base::ChildOptions child;
  child.argv = {ORKESTR_PROGRAM, "create", kTemplate, "--timeout", "600"};
  return child;
}

// What tells one machine from another.
std::string identity_of(const Sandbox& sandbox) {
  const auto result =
      must(sandbox.exec("cat /proc/sys/kernel/hostname /etc/machine-id /proc/sys/kernel/random/boot_id; "
                        "head -c 16 /dev/urandom | od -An -tx1; python3 -c 'import secrets, uuid, random; "
                        "print(uuid.uuid4()); print(secrets.token_hex(16)); print(random.random())'"));
  REQUIRE_MESSAGE(result.exit_code == 0, result.stderr_data);
  return result.stdout_data;
}

}  // namespace

TEST_SUITE_BEGIN("pool");

TEST_CASE("a create takes a member, gives it an identity of its own, and has another one made") {
  set(2);
  CHECK(must(Sandbox::list({}, client())).empty());  // they are no sandboxes
  auto wanted = create_options();
  wanted.env = {{"GREETING", "hello"}};
  wanted.metadata = {{"job", "42"}};
  std::set<std::string> lines;
  std::size_t count = 0;
  std::vector<Sandbox> sandboxes;
  for (int i = 0; i < 2; ++i) {
    auto sandbox = must(Sandbox::create(wanted, client()));
    CHECK(started_from(sandbox.id()) == "pool");
    CHECK(sandbox.info().metadata == wanted.metadata);
    CHECK(must(sandbox.exec("echo $GREETING; ls /workspace; ps ax 2>/dev/null | grep -c [p]ython")).stdout_data ==
          "hello\n0\n");
    std::istringstream identity(identity_of(sandbox));
    for (std::string line; std::getline(identity, line); ++count) lines.insert(line);
    const auto guest_time = std::stoll(must(sandbox.exec("date +%s")).stdout_data);
    CHECK(std::abs(guest_time - static_cast<long long>(::time(nullptr))) <= 1);
    CHECK(must(Sandbox::list({}, client())).size() == static_cast<std::size_t>(i + 1));
    sandboxes.push_back(std::move(sandbox));
  }
  CHECK(lines.size() == count);
  CHECK(count == 14);
  CHECK(refilled(2));
  for (const auto& sandbox : sandboxes) must(sandbox.terminate());
  // Pause and resume are what they are for any other.
  auto paused = must(Sandbox::create(create_options(), client()));
  CHECK(started_from(paused.id()) == "pool");
  must(paused.exec("echo kept > /workspace/x; echo kept > /dev/shm/x"));
  must(paused.pause());
  auto again = must(Sandbox::resume(paused.id(), {}, client()));
  CHECK(must(again.exec("cat /workspace/x /dev/shm/x")).stdout_data == "kept\nkept\n");
  must(again.terminate());
  must(pool_clear());
  check_nothing_left("after pool_clear");
}

TEST_CASE("what a member waits with costs no processor, and another machine does not get it") {
  const auto info = set(1);
  const int qemu = pid_of(info.members.front().id, "qemu");
  REQUIRE(qemu != 0);
  const auto ticks = [&] {
    std::istringstream stat(must(base::read_file(fmt::format("/proc/{}/stat", qemu))));
    std::string field;
    long used = 0;
    for (int i = 1; i <= 15 && stat >> field; ++i) used += i >= 14 ? std::stol(field) : 0;
    return used;
  };
  const long before = ticks();
  std::this_thread::sleep_for(2s);
  CHECK(ticks() - before <= 1);
  auto larger = create_options();
  larger.memory_mb = 1536;
  auto other = must(Sandbox::create(larger, client()));
  CHECK(started_from(other.id()) == "snapshot");
  must(other.terminate());
  CHECK(now().ready() == 1);
  must(pool_clear());
  check_nothing_left("after pool_clear");
}

TEST_CASE("twenty processes race for four members: four claims, sixteen other creates, no failure") {
  set(4);
  std::vector<base::Child> children;
  std::vector<base::UniqueFd> outputs;
  for (int i = 0; i < 20; ++i) {
    auto pipe = must(base::make_pipe());
    auto child = create_process();
    child.fds = {{pipe.second.get(), 1}};
    children.push_back(must(base::Child::start(child)));
    outputs.push_back(std::move(pipe.first));
  }
  int claimed = 0, others = 0;
  std::set<std::string> ids;
  for (std::size_t i = 0; i < children.size(); ++i) {
    const auto status = must(children[i].wait(base::Deadline::after(180s)));
    REQUIRE(status.has_value());
    CHECK(status->success());
    char text[64] = {};
    const ssize_t length = ::read(outputs[i].get(), text, sizeof text - 1);
    const std::string id(text, length > 0 ? static_cast<std::size_t>(length - 1) : 0);
    REQUIRE(base::is_sandbox_id(id));
    CHECK(ids.insert(id).second);
    started_from(id) == "pool" ? ++claimed : ++others;
  }
  // Replacements wait before they begin, and every process looked only once, at its start; but the last to look may
  // have found one on a machine that took a second for that.
  CHECK(claimed >= 4);
  CHECK(claimed + others == 20);
  MESSAGE("claims: ", claimed);
  std::set<std::string> hostnames;
  for (const auto& id : ids) {
    auto sandbox = must(Sandbox::get(id, client()));
    CHECK(hostnames.insert(must(sandbox.exec("hostname; cat /etc/machine-id")).stdout_data).second);
    must(sandbox.terminate());
  }
  must(pool_clear());
  check_nothing_left("after the race");
}

TEST_CASE("a member that dies or fails at any of its steps is no sandbox's end") {
  for (const std::string how : {"kill", "error"}) {
    for (const auto& name : pool_failpoints()) {
      CAPTURE(name);
      CAPTURE(how);
      {
        const Failpoint failpoint(name + ":" + how);
        const auto info = must(pool_set(options(1)));
        CHECK((info.ready() == 1) == !is_before_claim(name));
        if (is_before_claim(name)) CHECK_FALSE(info.problem.empty());
        auto sandbox = must(Sandbox::create(create_options(), client()));
        CHECK(started_from(sandbox.id()) == "snapshot");
        CHECK(must(sandbox.exec("echo lives")).stdout_data == "lives\n");
        CHECK(must(Sandbox::list({}, client())).size() >= 1);
        must(sandbox.terminate());
        must(pool_clear());
      }
      check_nothing_left(name);
    }
  }
}

TEST_CASE("a member whose QEMU or supervisor was killed is noticed, and replaced") {
  for (const char* victim : {"qemu", "orkestr-supervi"}) {
    CAPTURE(victim);
    const auto info = set(1);
    const int pid = pid_of(info.members.front().id, victim);
    REQUIRE(pid != 0);
    REQUIRE(::kill(pid, SIGKILL) == 0);
    auto sandbox = must(Sandbox::create(create_options(), client()));
    CHECK(started_from(sandbox.id()) == "snapshot");
    CHECK(refilled(1));
    CHECK(now().members.front().id != info.members.front().id);
    must(sandbox.terminate());
    must(pool_clear());
    check_nothing_left(victim);
  }
}

TEST_CASE("whoever is killed while it claims leaves either a sandbox or nothing") {
  std::minstd_rand random(test_seed());
  for (int round = 0; round < 8 * test_scale(); ++round) {
    set(1);
    auto child = must(base::Child::start(create_process()));
    std::this_thread::sleep_for(std::chrono::milliseconds(std::uniform_int_distribution<int>(0, 120)(random)));
    child.kill(SIGKILL);
    must(child.wait(base::Deadline::after(10s)));
    // What it had acknowledged lives; all else ends by itself.
    CHECK(wait_until(10s, [] {
      const auto all = must(Sandbox::list({}, client()));
      for (const auto& one : all) {
        if (one.status == Status::starting) return false;
      }
      return true;
    }));
    std::this_thread::sleep_for(300ms);
    for (const auto& one : must(Sandbox::list({}, client()))) {
      if (one.status != Status::running) continue;
      auto sandbox = must(Sandbox::get(one.id, client()));
      CHECK(must(sandbox.exec("echo lives")).stdout_data == "lives\n");
      must(sandbox.terminate());
    }
    must(pool_clear());
    check_nothing_left(fmt::format("round {}", round));
  }
}

TEST_CASE("the configuration shrinks and grows what is there, and ends what another one made") {
  const auto three = set(3);
  set(1);
  CHECK(now().members.size() == 1);
  auto other = options(1);
  other.idle_timeout = 600s;  // members are made with it, so these are others
  const auto changed = must(pool_set(other));
  REQUIRE(changed.ready() == 1);
  for (const auto& member : three.members) CHECK(member.id != changed.members.front().id);
  must(pool_set(options(0)));
  CHECK(must(pool_list()).empty());
  check_nothing_left("after pool_set 0");
}

TEST_CASE("a member that nobody takes ends, and one that finds memory short") {
  auto impatient = options(1);
  impatient.idle_timeout = 10s;
  REQUIRE(must(pool_set(impatient)).ready() == 1);
  CHECK(wait_until(30s, [] { return now().members.empty(); }));
  must(pool_clear());
  check_nothing_left("after its idle time");

  auto greedy = options(1);
  greedy.min_available_mb = 1 << 24;
  const auto none = must(pool_set(greedy));
  CHECK(none.members.empty());
  CHECK(none.problem.find("memory") != std::string::npos);
  must(pool_clear());

  // Started while there was enough, it finds too little at its next look.
  must(pool_set(options(0)));
  CreateOptions machine;
  machine.template_name = kTemplate;
  auto order = local::pool_order(must(local::prepare_sandbox(machine)), [] {
    registry::PoolEntry entry;
    entry.template_name = kTemplate;
    entry.count = 1;
    entry.min_available_mb = 0;
    return entry;
  }());
  order.record.metadata[registry::kPoolMinAvailableMb] = std::to_string(1 << 24);
  auto started = local::start_members(order, 0ms);
  REQUIRE(started.processes.size() == 1);
  must(started.processes.front().wait(base::Deadline::after(10s)));
  const auto members = [] { return registry::live_pool_members(world().pool_dir()); };
  CHECK(wait_until(60s, [&] { return !members().empty() && members().front().ready; }));
  CHECK(wait_until(30s, [&] { return members().empty(); }));
  check_nothing_left("after memory was short");
}

TEST_CASE("a QEMU that was replaced is not used again") {
  const OwnQemu own;
  const auto info = set(1);
  own.replace();
  auto sandbox = must(Sandbox::create(create_options(), client()));
  CHECK(started_from(sandbox.id()) == "snapshot");
  CHECK(refilled(1));
  CHECK(now().members.front().id != info.members.front().id);
  must(sandbox.terminate());
  must(pool_clear());
  check_nothing_left("after QEMU was replaced");
}

TEST_CASE("a member is not taken before the template is verified") {
  set(1);
  for (const auto& name : must(base::list_directory(world().home() + "/state/stamps"))) {
    if (name.rfind(std::string(kTemplate) + "-", 0) == 0)
      must(base::remove_tree(world().home() + "/state/stamps/" + name));
  }
  auto first = must(Sandbox::create(create_options(), client()));
  CHECK(started_from(first.id()) == "snapshot");
  auto second = must(Sandbox::create(create_options(), client()));
  CHECK(started_from(second.id()) == "pool");
  must(first.terminate());
  must(second.terminate());
  must(pool_clear());
  check_nothing_left("after the template was verified again");
}

TEST_SUITE_END();

}  // namespace orkestr::testing
