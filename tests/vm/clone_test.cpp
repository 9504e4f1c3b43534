// Sandboxes that are copies of one snapshot: what they must not share, what they cannot change, and how many there may
// be.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "base/checksum.hpp"
#include "base/file.hpp"
#include "base/places.hpp"
#include "stateful.hpp"
#include "support/processes.hpp"

namespace orkestr::testing {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

ExecOptions patient() {
  ExecOptions options;
  options.timeout = 180s;
  return options;
}

// Whatever the guest can call random or its own, one a line: a name and a value.
constexpr const char* kIdentity = R"(
echo urandom $(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' ')
echo random $(head -c 16 /dev/random | od -An -tx1 | tr -d ' ')
echo machine-id $(cat /etc/machine-id)
echo hostname $(hostname)
echo boot-id $(cat /proc/sys/kernel/random/boot_id)
echo uuid-of-the-kernel $(cat /proc/sys/kernel/random/uuid)
echo bash $RANDOM$RANDOM$RANDOM$RANDOM$SRANDOM
python3 - <<'END'
import os, random, secrets, ssl, tempfile, uuid
print("getrandom", os.getrandom(16).hex())
print("random", random.random())
print("randbits", random.getrandbits(128))
print("uuid1", uuid.uuid1().hex)
print("uuid4", uuid.uuid4().hex)
print("secrets", secrets.token_hex(16))
print("openssl", ssl.RAND_bytes(16).hex())
print("mktemp", tempfile.mktemp())
END
)";

// The files that clones of one snapshot have in common, as their supervisor opened them.
std::vector<std::string> shared_files(const Sandbox& sandbox) {
  const int qemu = pid_of(sandbox.id(), "qemu-system");
  REQUIRE(qemu != 0);
  const std::string cache = fs::canonical(world().cache_dir()).string() + "/";
  std::set<std::string> found;
  for (const auto& fd : must(base::list_directory(fmt::format("/proc/{}/fd", qemu)))) {
    std::error_code ignored;
    const std::string target = fs::read_symlink(fmt::format("/proc/{}/fd/{}", qemu, fd), ignored);
    if (!target.starts_with(cache)) continue;
    found.insert(target);
    const std::string info = must(base::read_file(fmt::format("/proc/{}/fdinfo/{}", qemu, fd)));
    const long flags = std::strtol(info.c_str() + info.find("flags:") + 6, nullptr, 8);
    CHECK_MESSAGE((flags & O_ACCMODE) == O_RDONLY, target);
  }
  // And no mapping that could write to them.
  std::istringstream maps(must(base::read_file(fmt::format("/proc/{}/maps", qemu), 16U << 20U)));
  int private_ones = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(cache) == std::string::npos) continue;
    CHECK_MESSAGE(line.find("s ") == std::string::npos, line);
    ++private_ones;
  }
  CHECK(private_ones >= 1);
  return {found.begin(), found.end()};
}

std::map<std::string, std::string> content_of(const std::vector<std::string>& files) {
  std::map<std::string, std::string> sums;
  for (const auto& path : files) {
    const auto file = base::open_at(AT_FDCWD, path, O_RDONLY);
    REQUIRE(file);
    struct stat s {};
    REQUIRE(::fstat(file->get(), &s) == 0);
    CHECK_MESSAGE((s.st_mode & 07777) == 0444, path);
    sums[path] = must(base::checksum_sparse_file(file->get()));
  }
  return sums;
}

Clock::duration fastest_create(const CreateOptions& options, int times) {
  auto fastest = Clock::duration::max();
  for (int i = 0; i < times; ++i) {
    const auto start = Clock::now();
    auto sandbox = must(Sandbox::create(options, client()));
    fastest = std::min(fastest, Clock::now() - start);
    CHECK(started_from(sandbox) == "snapshot");
    must(sandbox.terminate());
  }
  return fastest;
}

}  // namespace

TEST_SUITE_BEGIN("clones");

TEST_CASE("32 clones share no random number and no identity") {
  std::map<std::string, std::string> seen;  // value → where
  int kinds = 0;
  for (int wave = 0; wave < 4; ++wave) {
    std::vector<Operation<Sandbox>> pending;
    for (int i = 0; i < 8; ++i) pending.push_back(Sandbox::create_async(create_options(), client()));
    std::vector<Sandbox> clones;
    for (auto& one : pending) clones.push_back(must(one.get()));
    for (const Sandbox& clone : clones) {
      CHECK(started_from(clone) == "snapshot");
      const auto told = must(clone.exec(kIdentity, patient()));
      REQUIRE_MESSAGE(told.exit_code == 0, told.stdout_data, told.stderr_data);
      std::istringstream lines(told.stdout_data);
      std::string kind, value;
      kinds = 0;
      while (lines >> kind >> value) {
        ++kinds;
        const auto [same, is_new] = seen.emplace(value, clone.id() + " " + kind);
        CHECK_MESSAGE(is_new, clone.id(), " ", kind, " is ", value, ", as that of ", same->second);
      }
      CHECK(kinds == 15);
    }
    for (const Sandbox& clone : clones) must(clone.terminate());
  }
  CHECK(seen.size() == 32 * 15);
  check_no_leftovers(world(), "clones");
}

TEST_CASE("no QEMU can write to what clones share, and nothing a guest does changes it") {
  auto clone = must(Sandbox::create(create_options(), client()));
  REQUIRE(started_from(clone) == "snapshot");
  const auto files = shared_files(clone);
  const auto named = [&](const char* name) {
    return std::any_of(files.begin(), files.end(), [&](const auto& file) { return file.ends_with(name); });
  };
  for (const char* name : {"/base.erofs", "/scratch.raw", "/memory", "/layer.qcow2"}) CHECK_MESSAGE(named(name), name);
  const auto before = content_of(files);
  // Root in the guest: writes and discards on its disks, a gigabyte of its memory written and given back.
  (void)clone
      .exec(R"(
    for disk in /dev/vda /dev/vdb; do blkdiscard -f $disk; dd if=/dev/urandom of=$disk bs=1M count=4 conv=notrunc,fsync; done
    fstrim -v /
    for ((i = 0; i < 3; i++)); do head -c 200M /dev/zero | tail -c 1 >/dev/null; done
    python3 -c 'x = bytearray(300 << 20); x[::4096] = b"z" * len(x[::4096])'
    echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory; sync)",
            patient())
      .ok();
  CHECK(content_of(files) == before);
  must(clone.terminate());
  // One that starts its guest anew from its kernel shares its template all the same.
  ScopedVariable cold("ORKESTR_SNAPSHOTS", "off");
  auto booted = must(Sandbox::create(create_options(), client()));
  CHECK(started_from(booted) == "boot");
  const auto of_booted = shared_files(booted);
  CHECK(std::any_of(of_booted.begin(), of_booted.end(), [](const auto& f) { return f.ends_with("/base.erofs"); }));
  auto unchanged = content_of(of_booted);
  must(booted.terminate());
  CHECK(content_of(of_booted) == unchanged);
}

TEST_CASE("any memory, one to four vCPUs: made once, then from its snapshot") {
  const std::array<std::pair<double, int>, 5> machines = {{{1, 512}, {1, 4096}, {2, 1024}, {4, 4096}, {0.5, 300}}};
  for (const auto& [cpu, memory_mb] : machines) {
    CAPTURE(cpu);
    CAPTURE(memory_mb);
    auto options = create_options();
    options.cpu = cpu;
    options.memory_mb = memory_mb;
    auto sandbox = must(Sandbox::create(options, client()));
    CHECK(started_from(sandbox) == "snapshot");
    CHECK(must(sandbox.exec("nproc", patient())).stdout_data ==
          fmt::format("{}\n", static_cast<int>(std::max(cpu, 1.0))));
    const auto mib =
        std::stol(must(sandbox.exec("awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo", patient())).stdout_data);
    CHECK(mib > memory_mb * 85 / 100);
    CHECK(mib <= (memory_mb + 127) / 128 * 128);
    // All of its processors work.
    CHECK(must(sandbox.exec("for c in $(seq 0 $(($(nproc) - 1))); do taskset -c $c true || exit 1; done; echo all",
                            patient()))
              .stdout_data == "all\n");
    must(sandbox.terminate());
  }
  // A pause of more than one processor.
  auto options = create_options();
  options.cpu = 2;
  Stateful state(options);
  state.cycle("two vCPUs");
  state.terminate();
  check_no_leftovers(world(), "sizes");
}

TEST_CASE("a create takes no longer for more memory") {
  auto small = create_options();
  small.memory_mb = 512;
  auto large = create_options();
  large.memory_mb = 4096;
  must(must(Sandbox::create(small, client())).terminate());  // both have their snapshots
  must(must(Sandbox::create(large, client())).terminate());
  const auto of_small = fastest_create(small, 7);
  const auto of_large = fastest_create(large, 7);
  CHECK_MESSAGE(of_large < 2 * of_small, std::chrono::duration<double>(of_large).count(), " s and ",
                std::chrono::duration<double>(of_small).count(), " s");
}

TEST_CASE("limits: as many as are allowed, no more than fit") {
  World own(World::Cache::shared);
  {
    ScopedVariable two("ORKESTR_MAX_SANDBOXES", "2");
    const auto limits = must(Sandbox::limits(client()));
    CHECK(limits.plan == "local");
    CHECK(limits.max_concurrent == 2);
    auto first = must(Sandbox::create(create_options(), client()));
    auto second = must(Sandbox::create(create_options(), client()));
    const auto refused = must_fail(Sandbox::create(create_options(), client()), ErrorCode::plan_limit);
    CHECK_MESSAGE(refused.message().find("2 sandboxes run") != std::string::npos, refused.message());
    // A paused one does not run; and cannot, while two others do.
    must(first.pause());
    auto third = must(Sandbox::create(create_options(), client()));
    must_fail(Sandbox::resume(first.id(), {}, client()), ErrorCode::plan_limit);
    must(second.terminate());
    must(must(Sandbox::resume(first.id(), {}, client())).terminate());
    must(third.terminate());
  }
  auto options = create_options();
  options.max_retries = 0;
  const auto host = must(base::read_file("/proc/meminfo"));
  const std::int64_t all = std::stoll(host.substr(host.find("MemTotal:") + 9)) / 1024;
  constexpr std::int64_t kMost = 65536, kReserve = 512;
  if (all < kMost) {
    // It fits the machine, which has other things in its memory, too.
    options.memory_mb = static_cast<int>(all - kReserve - 1);
    const auto full = must_fail(Sandbox::create(options, client()), ErrorCode::fleet_full_retry);
    CHECK_MESSAGE(full.message().find(fmt::format("memory_mb={}", all - kReserve - 1)) != std::string::npos,
                  full.message());
    // It never will.
    options.memory_mb = kMost;
    const auto never = must_fail(Sandbox::create(options, client()), ErrorCode::plan_limit);
    CHECK_MESSAGE(never.message().find("memory_mb=65536") != std::string::npos, never.message());
  }
  must_fail(
      [&] {
        ScopedVariable wrong("ORKESTR_MAX_SANDBOXES", "none");
        return Sandbox::create(create_options(), client());
      }(),
      ErrorCode::invalid_argument);
  check_no_leftovers(own, "limits");
}

TEST_CASE("64 creates at once from several processes: each succeeds or is told that the machine is full") {
  constexpr int kProcesses = 4, kEach = 16;
  must(must(Sandbox::create(create_options(), client())).terminate());
  std::vector<pid_t> processes;
  for (int p = 0; p < kProcesses; ++p) {
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid != 0) {
      processes.push_back(pid);
      continue;
    }
    ClientOptions local;
    local.backend = BackendKind::local;
    auto own = Client::open(local);
    if (!own) ::_exit(99);
    auto options = create_options();
    options.max_retries = 0;
    std::vector<Operation<Sandbox>> pending;
    for (int i = 0; i < kEach; ++i) pending.push_back(Sandbox::create_async(options, *own));
    std::vector<Sandbox> made;
    int bad = 0;
    for (auto& one : pending) {
      auto outcome = one.get();
      if (outcome) {
        made.push_back(*outcome);
      } else if (outcome.error().code() != ErrorCode::fleet_full_retry) {
        fmt::print(stderr, "create: {}\n", outcome.error().message());
        ++bad;
      }
    }
    for (const auto& sandbox : made) {
      // None was killed by the load of the others.
      const auto said = sandbox.exec("echo here", patient());
      if (!said || said->stdout_data != "here\n") {
        fmt::print(stderr, "exec: {}\n", said ? said->stdout_data : said.error().message());
        ++bad;
      }
    }
    for (const auto& sandbox : made) bad += sandbox.terminate().ok() ? 0 : 1;
    ::_exit(made.empty() ? 98 : bad);
  }
  for (const pid_t pid : processes) {
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
  check_no_leftovers(world(), "64 creates");
}

TEST_SUITE_END();

}  // namespace orkestr::testing
