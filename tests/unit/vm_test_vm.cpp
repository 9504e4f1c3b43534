// Vm on the real QEMU, with a "kernel" that does nothing: process, descriptors, QMP and endings are what is looked at
// here.
#include "vm/vm.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdlib>

#include "base/child.hpp"
#include "base/system.hpp"
#include "vm/qemu_binary.hpp"
#include "vm/scratch.hpp"
#include "vm/shared_files.hpp"
#include "vm_test_support.hpp"

using namespace orkestr;
using namespace orkestr::vm;
using namespace orkestr::vm::test;
using boost::asio::awaitable;
using namespace boost::asio::experimental::awaitable_operators;

namespace {

struct Files {
  Files() {
    // What QEMU takes for a bzImage; its every instruction is a jump to itself.
    std::string kernel;
    while (kernel.size() < (512U << 10U)) kernel += "\xeb\xfe";
    kernel[0x1f1] = 4;                                          // setup sectors
    kernel.replace(0x202, 6, std::string("HdrS\x06\x02", 6));   // boot protocol 2.06
    kernel[0x211] = 1;                                          // loaded high
    kernel.replace(0x22c, 4, std::string("\xff\xff\xff\x37"));  // highest address of an initrd
    put("kernel", kernel);
    put("initrd", std::string(4096, '\0'));
    put("base", std::string(65536, 'b'));
    put("scratch", std::string(1U << 20U, '\0'));
    auto made = base::run_child({.argv = {"qemu-img", "create", "-q", "-f", "qcow2", dir.path + "/overlay", "1M"},
                                 .env = {},
                                 .cwd = "",
                                 .fds = {}},
                                in_seconds(10));
    REQUIRE(made);
    REQUIRE_MESSAGE(made->status.success(), made->output);
    lock = std::move(*base::open_at(AT_FDCWD, dir.path + "/lock", O_RDONLY | O_CREAT, 0600));
  }
  void put(const std::string& name, const std::string& content) {
    REQUIRE(base::write_file_atomic(dir.path + "/" + name, content, 0444));
  }
  VmConfig config() const {
    VmConfig c;
    c.sandbox_id = "sbx_TEST";
    c.qemu = std::move(*identify_qemu(""));
    c.preload_path = ORKESTR_PRELOAD;
    c.memory_mb = 128;
    c.kernel_path = dir.path + "/kernel";
    c.initrd_path = dir.path + "/initrd";
    c.base_image_path = dir.path + "/base";
    c.scratch_image_path = dir.path + "/scratch";
    c.overlay_image_path = dir.path + "/overlay";
    c.disk_directory = dir.path;
    c.lock_fd = lock.get();
    c.uid_lock_path = dir.path + "/uids";
    return c;
  }
  TemporaryDirectory dir;
  base::UniqueFd lock;
};

awaitable<std::unique_ptr<Vm>> started(VmConfig config) {
  auto vm = co_await Vm::start(std::move(config), in_seconds(20));
  REQUIRE_MESSAGE(vm, vm.error().message());
  co_return std::move(*vm);
}

bool alive(pid_t pid) { return ::kill(pid, 0) == 0; }

// The access modes with which a process holds a file.
std::vector<int> modes_held(pid_t pid, const std::string& path) {
  struct stat want {};
  REQUIRE(::stat(path.c_str(), &want) == 0);
  std::vector<int> modes;
  const auto fds = base::list_directory(fmt::format("/proc/{}/fd", pid));
  REQUIRE(fds);
  for (const auto& fd : *fds) {
    struct stat s {};
    if (::stat(fmt::format("/proc/{}/fd/{}", pid, fd).c_str(), &s) != 0) continue;
    if (s.st_dev != want.st_dev || s.st_ino != want.st_ino) continue;
    const auto info = base::read_file(fmt::format("/proc/{}/fdinfo/{}", pid, fd), 4096);
    REQUIRE(info);
    modes.push_back(static_cast<int>(std::strtol(info->c_str() + info->find("flags:") + 6, nullptr, 8)) & O_ACCMODE);
  }
  return modes;
}

}  // namespace

TEST_CASE("QEMU holds the shared files read-only, the lock, and nothing of ours besides") {
  Files files;
  run([&]() -> awaitable<void> {
    auto vm = co_await started(files.config());
    for (const char* name : {"/kernel", "/initrd", "/base", "/scratch"}) {
      CAPTURE(name);
      const auto modes = modes_held(vm->pid(), files.dir.path + name);
      CHECK(!modes.empty());
      CHECK(std::all_of(modes.begin(), modes.end(), [](int m) { return m == O_RDONLY; }));
    }
    CHECK(modes_held(vm->pid(), files.dir.path + "/lock") == std::vector<int>{O_RDONLY});
    CHECK(modes_held(vm->pid(), files.dir.path + "/overlay").empty());
    if (::geteuid() == 0) CHECK(modes_held(vm->pid(), files.dir.path + "/uids").empty());
    // The disk has no name.
    auto names = base::list_directory(files.dir.path);
    REQUIRE(names);
    std::erase(*names, "uids");
    CHECK(*names == std::vector<std::string>{"base", "initrd", "kernel", "lock", "overlay", "scratch"});

    const auto status = base::read_file(fmt::format("/proc/{}/status", vm->pid()));
    REQUIRE(status);
    CHECK(status->find("NoNewPrivs:\t1") != std::string::npos);
    CHECK(status->find("Seccomp:\t2") != std::string::npos);
    // A QEMU that would open guest memory for writing has that one variable, and no other.
    const auto environment = base::read_file(fmt::format("/proc/{}/environ", vm->pid()));
    REQUIRE(environment);
    if (identify_qemu("")->maps_read_only()) {
      CHECK(environment->empty());
    } else {
      const std::string preload = "LD_PRELOAD=/proc/self/fd/";
      REQUIRE(environment->starts_with(preload));
      const std::string fd = environment->substr(preload.size(), environment->size() - preload.size() - 1);
      CHECK(environment->back() == '\0');
      CHECK(fd.find_first_not_of("0123456789") == std::string::npos);
      CHECK(modes_held(vm->pid(), ORKESTR_PRELOAD) == std::vector<int>{O_RDONLY});
    }
    CHECK(status->find("Seccomp_filters:\t2") != std::string::npos);  // its own, and the jail's
    CHECK(vm->jail_report().find("own uid")->applied == (::geteuid() == 0));
    CHECK(vm->stderr_tail() == "");
    co_await vm->quit(in_seconds(10));
  });
}

TEST_CASE("the read-only check notices a writable descriptor") {
  Files files;
  auto file = open_shared_file(files.dir.path + "/base");
  REQUIRE(file);
  std::vector<SharedFile> shared;
  shared.push_back(std::move(*file));
  CHECK(check_held_read_only(::getpid(), shared));
  REQUIRE(::chmod(shared[0].path.c_str(), 0644) == 0);
  auto writable = base::open_at(AT_FDCWD, shared[0].path, O_RDWR);
  REQUIRE(writable);
  const auto got = check_held_read_only(::getpid(), shared);
  REQUIRE(!got);
  CHECK(got.error().message().find("writable descriptor of " + shared[0].path) != std::string::npos);
  writable->reset();
  CHECK(check_held_read_only(::getpid(), shared));
  CHECK(!open_shared_file(files.dir.path));
}

TEST_CASE("quit ends QEMU by itself, and everyone who waits hears of it") {
  Files files;
  run([&]() -> awaitable<void> {
    auto vm = co_await started(files.config());
    const pid_t pid = vm->pid();
    CHECK(alive(pid));
    CHECK(!vm->exited());
    auto agent = vm->take_agent_channel();
    CHECK(agent);
    CHECK((::fcntl(agent.get(), F_GETFL) & O_NONBLOCK) != 0);
    CHECK(!vm->take_agent_channel());
    auto status = co_await vm->qmp().execute("query-status", "", in_seconds(10));
    REQUIRE(status);
    CHECK(status->boolean_or("running", false));
    auto [first, second, quit] = co_await (vm->wait_exit() && vm->wait_exit() && vm->quit(in_seconds(10)));
    CHECK(quit);
    CHECK(first == "exit code 0");
    CHECK(second == "exit code 0");
    CHECK(!alive(pid));
    CHECK(vm->exited());
    CHECK(vm->cpu_time_ms() > 0);
    // All of it again is harmless.
    vm->kill();
    CHECK(co_await vm->quit(in_seconds(1)));
    CHECK(co_await vm->wait_exit() == "exit code 0");
    CHECK(!co_await vm->qmp().execute("stop", "", in_seconds(1)));
  });
}

TEST_CASE("a QEMU that hangs is killed at the deadline of quit") {
  Files files;
  run([&]() -> awaitable<void> {
    auto vm = co_await started(files.config());
    ::kill(vm->pid(), SIGSTOP);
    const auto start = base::Deadline::Clock::now();
    CHECK(co_await vm->quit(in_ms(200)));
    const auto took = base::Deadline::Clock::now() - start;
    CHECK(took >= std::chrono::milliseconds(200));
    CHECK(took < std::chrono::seconds(3));
    CHECK(co_await vm->wait_exit() == "signal 9 (Killed)");
  });
}

TEST_CASE("kill, and destruction while someone waits") {
  Files files;
  std::string heard;
  run([&]() -> awaitable<void> {
    auto vm = co_await started(files.config());
    vm->kill();
    CHECK(co_await vm->wait_exit() == "signal 9 (Killed)");

    vm = co_await started(files.config());
    const pid_t pid = vm->pid();
    bool done = false;
    boost::asio::co_spawn(co_await boost::asio::this_coro::executor, vm->wait_exit(),
                          [&](std::exception_ptr, std::string how) {
                            heard = how;
                            done = true;
                          });
    boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, std::chrono::milliseconds(20));
    co_await timer.async_wait(boost::asio::use_awaitable);
    vm.reset();
    CHECK(!alive(pid));
    for (int i = 0; i < 100 && !done; ++i) {
      timer.expires_after(std::chrono::milliseconds(1));
      co_await timer.async_wait(boost::asio::use_awaitable);
    }
  });
  CHECK(heard == "signal 9 (Killed)");
}

TEST_CASE("a start that fails says where, and leaves nothing") {
  Files files;
  const auto failure = [](VmConfig config, base::Deadline deadline) {
    std::optional<Error> error;
    run([&]() -> awaitable<void> {
      auto vm = co_await Vm::start(std::move(config), deadline);
      REQUIRE(!vm);
      error = vm.error();
      CHECK(error->code() == ErrorCode::vm_failed);
    });
    return *error;
  };
  const auto says = [](const Error& e, const std::string& text) {
    CAPTURE(e.message());
    CHECK(e.message().find(text) != std::string::npos);
  };

  auto missing = files.config();
  missing.base_image_path = files.dir.path + "/gone";
  auto error = failure(std::move(missing), in_seconds(10));
  CHECK(error.details().stage == "files");
  says(error, files.dir.path + "/gone");

  auto not_qcow2 = files.config();
  not_qcow2.overlay_image_path = files.dir.path + "/scratch";
  error = failure(std::move(not_qcow2), in_seconds(10));
  says(error, "is not an empty qcow2 image");

  auto refused = files.config();
  refused.vcpus = 100000;
  error = failure(std::move(refused), in_seconds(10));
  CHECK(error.details().stage == "qmp");
  says(error, "QEMU has ended: exit code 1");
  says(error, "its last words:");

  if (::geteuid() == 0) {
    ScopedVariable range("ORKESTR_UID_RANGE", "0-10");
    error = failure(files.config(), in_seconds(10));
    CHECK(error.details().stage == "uid");
  }
  {
    // A QEMU that starts and says nothing.
    files.put("silent", "#!/bin/sh\nexec sleep 100\n");
    REQUIRE(::chmod((files.dir.path + "/silent").c_str(), 0755) == 0);
    auto silent = files.config();
    silent.qemu.path = files.dir.path + "/silent";
    error = failure(std::move(silent), in_ms(300));
    CHECK(error.details().stage == "qmp");
    says(error, "QMP greeting: QEMU did not answer in time");
  }
}

TEST_CASE("QEMU is found, and known by its version") {
  CHECK(parse_qemu_version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\n") == "7.2.22");
  CHECK(parse_qemu_version("QEMU emulator version 10.0.2\n") == "10.0.2");
  for (const char* other : {"", "qemu-img version 7.2.22", "QEMU emulator version ", "QEMU emulator version .2"}) {
    CHECK(parse_qemu_version(other).empty());
  }
  QemuBuild build;
  build.version = "7.2.22";
  CHECK(build.series() == "7.2");
  CHECK_FALSE(build.maps_read_only());
  build.version = "8.2.0";
  CHECK(build.maps_read_only());
  build.version = "10.0.2";
  CHECK(build.series() == "10.0");
  CHECK(build.maps_read_only());

  Files files;
  const std::string cache = files.dir.path + "/qemu.json";
  auto first = identify_qemu(cache);
  REQUIRE(first);
  CHECK(first->version.find('.') != std::string::npos);
  auto remembered = identify_qemu(cache);
  REQUIRE(remembered);
  CHECK(remembered->version == first->version);
  const auto fails = [](const std::string& with) {
    auto found = identify_qemu("");
    REQUIRE_FALSE(found);
    CHECK(found.error().details().stage == "qemu");
    CHECK_MESSAGE(found.error().message().find(with) != std::string::npos, found.error().message());
  };
  {
    ScopedVariable qemu("ORKESTR_QEMU", "/nonexistent");
    fails("ORKESTR_QEMU is \"/nonexistent\"");
  }
  {
    ScopedVariable path("PATH", "/nonexistent:relative");
    fails("apt-get install qemu-system-x86");
  }
  {
    ScopedVariable qemu("ORKESTR_QEMU", "/bin/true");
    fails("/bin/true --version says");
  }
}

TEST_CASE("a sandbox's disk is a copy with no name, of an overlay that is empty") {
  Files files;
  auto disk = make_scratch_overlay(files.dir.path, files.dir.path + "/overlay");
  REQUIRE(disk);
  struct stat s {};
  REQUIRE(::fstat(disk->get(), &s) == 0);
  CHECK(s.st_nlink == 0);
  CHECK((s.st_mode & 0777) == 0600);
  auto original = base::read_file(files.dir.path + "/overlay");
  REQUIRE(original);
  std::string copy(static_cast<std::size_t>(s.st_size), '\0');
  REQUIRE(::pread(disk->get(), copy.data(), copy.size(), 0) == s.st_size);
  CHECK(copy == *original);

  auto grown = *original;
  grown.resize(5U << 20U);
  files.put("grown", grown);
  CHECK(!make_scratch_overlay(files.dir.path, files.dir.path + "/grown"));
  CHECK(!make_scratch_overlay(files.dir.path, files.dir.path + "/gone"));
}

TEST_CASE("a larger disk is a longer header: qemu-img agrees and finds nothing wrong") {
  Files files;
  const std::string original = files.dir.path + "/empty.qcow2";
  REQUIRE(std::system(("qemu-img create -q -f qcow2 " + original + " 8G").c_str()) == 0);
  auto open = [&](std::uint64_t bytes) { return make_scratch_overlay(files.dir.path, original, bytes); };
  for (const std::uint64_t gib : {8U, 9U, 64U, 128U}) {
    auto disk = open(gib << 30U);
    REQUIRE_MESSAGE(disk, (disk ? "" : disk.error().message()));
    const std::string path = fmt::format("/proc/{}/fd/{}", ::getpid(), disk->get());
    const auto check = fmt::format(
        "qemu-img info -f qcow2 {0} | grep -q '({1} bytes)' && qemu-img check -q -f qcow2 {0}", path, gib << 30U);
    CHECK(std::system(check.c_str()) == 0);
    // What is written at its very end is there.
    const auto write = fmt::format("qemu-io -f qcow2 -c 'write -P 7 {0} 512' -c 'read -P 7 {0} 512' {1} > /dev/null",
                                   (gib << 30U) - 512, path);
    CHECK(std::system(write.c_str()) == 0);
  }
  auto damaged = *base::read_file(original);
  damaged[23] = 0;
  files.put("damaged", damaged);
  auto disk = make_scratch_overlay(files.dir.path, files.dir.path + "/damaged", std::uint64_t{9} << 30U);
  REQUIRE_FALSE(disk);
  CHECK(disk.error().message().find("clusters of 2^0 bytes") != std::string::npos);
  for (const std::uint64_t bytes :
       {std::uint64_t{4} << 30U, std::uint64_t{129} << 30U, (std::uint64_t{8} << 30U) + 1}) {
    disk = open(bytes);
    REQUIRE_FALSE(disk);
    CHECK(disk.error().message().find(fmt::format("a disk of {} bytes cannot be made", bytes)) != std::string::npos);
  }
}
