// Each step of the jail, seen from inside by a shell that reports through descriptor 3.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "base/system.hpp"
#include "vm/jail.hpp"
#include "vm_test_support.hpp"

using namespace orkestr;
using namespace orkestr::vm;
using namespace orkestr::vm::test;

namespace {

constexpr uid_t kTestUid = 765000;
bool root() { return ::geteuid() == 0; }

JailConfig shell(const std::string& script) {
  JailConfig c;
  c.argv = {"/bin/sh", "-c", script};
  c.read_paths = {"/proc"};
  if (root()) c.uid = kTestUid;
  return c;
}

// What the script writes to descriptor 3.
std::string report_of(JailConfig config) {
  auto pipe = base::make_pipe();
  REQUIRE(pipe);
  config.fds.insert(config.fds.begin(), {pipe->second.get(), 3});
  auto process = start_jailed(config);
  REQUIRE_MESSAGE(process, process.error().message());
  pipe->second.reset();
  return read_to_end(pipe->first.get());
}
std::string report_of(const std::string& script) { return report_of(shell(script)); }

// The value of "Name:\t…" in /proc/PID/status.
std::string field(const std::string& status, const std::string& name) {
  const auto at = status.find("\n" + name + ":");
  if (at == std::string::npos) return "(missing)";
  const auto start = status.find_first_not_of(" \t", at + name.size() + 2);
  const auto end = status.find('\n', at + 1);
  return start < end ? status.substr(start, status.find_last_not_of(" \t", end - 1) + 1 - start) : "";
}

// Runs `body` in a forked child, which then ends at once; its exit code.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(body());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// What the script says to 3, in the jail, when its parent has done this before.
std::string output_after(const std::function<bool()>& before, const std::string& script) {
  auto pipe = base::make_pipe();
  REQUIRE(pipe);
  CHECK(in_child([&] {
          if (!before()) return 2;
          auto config = shell(script);
          config.fds = {{pipe->second.get(), 3}};
          auto process = start_jailed(config);
          if (!process) return 3;
          while (!process->try_reap()) ::usleep(1000);
          return 0;
        }) == 0);
  pipe->second.reset();
  return read_to_end(pipe->first.get());
}

}  // namespace

TEST_CASE("it gets the descriptors named, and no other") {
  // Left open and inheritable on purpose, some at numbers the jail itself uses.
  for (int fd : {3, 4, 5, 40, 64, 65, 200}) {
    if (::fcntl(fd, F_GETFD) < 0) ::dup2(STDERR_FILENO, fd);
  }
  CHECK(report_of("i=0; while [ $i -lt 300 ]; do [ -e /proc/$$/fd/$i ] && l=$l,$i; i=$((i+1)); done; echo $l >&3") ==
        ",0,1,2,3\n");
  for (int fd : {40, 64, 65, 200}) ::close(fd);
}

TEST_CASE("descriptors end up at their numbers, even where they swap places") {
  auto a = base::make_pipe(), b = base::make_pipe();
  REQUIRE(a);
  REQUIRE(b);
  // Ours are low numbers that are also wanted by others.
  auto config = shell("cat <&4 >&3; cat <&5 >&3");
  REQUIRE(base::write_all(a->second.get(), "A"));
  REQUIRE(base::write_all(b->second.get(), "B"));
  config.fds = {{b->first.get(), 4}, {a->first.get(), 5}};
  a->second.reset();
  b->second.reset();
  CHECK(report_of(config) == "BA");
}

TEST_CASE("its environment is what was given") {
  CHECK(report_of("cat /proc/$$/environ >&3; true").empty());
  auto config = shell("cat /proc/$$/environ >&3; true");
  config.env = {"ORKESTR_TEST=1"};
  ::setenv("ORKESTR_SECRET", "do not inherit", 1);
  CHECK(report_of(config) == std::string("ORKESTR_TEST=1\0", 15));
  ::unsetenv("ORKESTR_SECRET");
}

TEST_CASE("credentials, privileges, signals") {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t blocked, before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &blocked, &before);
  auto config = shell("exec cat /proc/self/status >&3");
  if (root()) config.groups = {765001};
  const auto status = report_of(config);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::signal(SIGPIPE, SIG_DFL);

  CHECK(field(status, "NoNewPrivs") == "1");
  CHECK(field(status, "Seccomp") == "2");
  CHECK(field(status, "SigIgn") == "0000000000000000");
  CHECK(field(status, "SigBlk") == "0000000000000000");
  CHECK(field(status, "Umask") == "0077");
  if (!root()) return;
  CHECK(field(status, "Uid") == "765000\t765000\t765000\t765000");
  CHECK(field(status, "Gid") == "765000\t765000\t765000\t765000");
  CHECK(field(status, "Groups") == "765001");
  for (const char* set : {"CapPrm", "CapEff", "CapInh", "CapAmb"}) CHECK(field(status, set) == "0000000000000000");
}

TEST_CASE("limits are lowered, and never raised") {
  const auto has = [](const std::string& limits, const std::string& name, const std::string& value) {
    const auto at = limits.find(name);
    REQUIRE(at != std::string::npos);
    std::string line = limits.substr(at + name.size(), limits.find('\n', at) - at - name.size());
    CAPTURE(name);
    CAPTURE(line);
    CHECK(line.substr(line.find_first_not_of(' ')).find(value + " ") == 0);
    CHECK(line.find(value, line.find(value) + 1) != std::string::npos);  // the hard limit too
  };
  const auto limits = report_of("cat /proc/$$/limits >&3; true");
  has(limits, "Max core file size", "0");
  has(limits, "Max locked memory", "0");
  has(limits, "Max msgqueue size", "0");
  if (root()) has(limits, "Max processes", "512");

  CHECK(output_after(
            [] {
              const rlimit low{300, 300};
              return ::setrlimit(RLIMIT_NOFILE, &low) == 0;
            },
            "ulimit -Hn >&3") == "300\n");
}

TEST_CASE("a session of its own, in /, with nothing on 0 and 1") {
  const auto text = report_of("read -r a b c d e f rest < /proc/$$/stat; [ $a = $f ] && echo session >&3; pwd >&3");
  CHECK(text == "session\n/\n");
  CHECK(report_of("a=$(readlink /proc/$$/fd/0); b=$(readlink /proc/$$/fd/1); echo $a $b >&3") ==
        "/dev/null /dev/null\n");
}

TEST_CASE("its stderr is ours to read") {
  auto process = start_jailed(shell("echo oops >&2; exit 7"));
  REQUIRE(process);
  CHECK(read_to_end(process->stderr_fd.get()) == "oops\n");
  std::optional<std::string> exit;
  for (int i = 0; i < 5000 && !exit; ++i) {
    exit = process->try_reap();
    ::usleep(1000);
  }
  CHECK(exit == "exit code 7");
  CHECK(process->pid == -1);
}

TEST_CASE("it dies with its parent, although the uid change clears that wish") {
  auto pipe = base::make_pipe();
  REQUIRE(pipe);
  const int how = in_child([&] {
    auto config = shell("echo ready >&3; read -r never <&4");
    auto block = base::make_pipe();
    config.fds = {{pipe->second.get(), 3}, {block->first.get(), 4}};
    auto process = start_jailed(config);
    if (!process) return 2;
    ::fcntl(block->second.get(), F_SETFD, 0);
    ::kill(::getpid(), SIGKILL);
    return 3;
  });
  CHECK(how == 128 + SIGKILL);
  pipe->second.reset();
  // The end of file is the jailed shell's death: nobody else holds the pipe.
  const auto text = read_to_end(pipe->first.get());
  CHECK((text.empty() || text == "ready\n"));
}

TEST_CASE("the syscall filter knows its own process") {
  // (kill is a builtin of the shell: no child that it could be about.)
  const auto text = report_of("kill -0 $$ && echo itself >&3; kill -0 $PPID 2>/dev/null || echo not its parent >&3");
  CHECK(text == "itself\nnot its parent\n");
  auto config = shell("kill -0 $PPID 2>/dev/null && echo its parent >&3; kill -0 -1 2>/dev/null && echo all >&3");
  config.uid.reset();  // with nothing but the filter between them
  config.landlock = false;
  CHECK(report_of(config).empty());
}

TEST_CASE("destruction kills and reaps") {
  auto pipe = base::make_pipe();
  REQUIRE(pipe);
  pid_t pid = 0;
  {
    auto config = shell("echo ready >&3; while :; do sleep 100; done");
    config.fds = {{pipe->second.get(), 3}};
    auto process = start_jailed(config);
    REQUIRE(process);
    pid = process->pid;
    CHECK(::kill(pid, 0) == 0);
  }
  CHECK(::kill(pid, 0) == -1);
  CHECK(errno == ESRCH);
}

TEST_CASE("Landlock leaves what was named, where the kernel has it") {
  TemporaryDirectory dir;
  const std::string secret = dir.path + "/secret", shared = dir.path + "/shared";
  REQUIRE(base::write_file_atomic(secret, "secret", 0644));
  REQUIRE(base::write_file_atomic(shared, "shared", 0444));
  REQUIRE(::chmod(dir.path.c_str(), 0777) == 0);
  auto fd = base::open_at(AT_FDCWD, shared, O_RDONLY);
  REQUIRE(fd);

  const std::string script = fmt::format(
      "{{ cat {0}/secret || echo denied; cat /proc/self/fd/4 || echo denied; echo; echo x > {0}/new || echo denied; "
      "ls {0} || echo denied; }} >&3 2>/dev/null",
      dir.path);
  auto config = shell(script);
  config.fds = {{fd->get(), 4}};
  config.read_fds = {fd->get()};
  {
    auto probe = start_jailed(shell("true"));
    REQUIRE(probe);
    const auto* step = probe->report.find("landlock");
    REQUIRE(step);
    if (!step->applied) {
      MESSAGE("no Landlock here: " << step->detail);
      CHECK(step->detail.find("it can open every file that its user can") != std::string::npos);
      return;
    }
    CHECK(step->detail.find("; it can still see whether a file exists") != std::string::npos);
  }
  CHECK(report_of(config) == "denied\nshared\ndenied\ndenied\n");
  config.landlock = false;
  CHECK(report_of(config) == "secretshared\nnew\nsecret\nshared\n");
}

TEST_CASE("of the place where the program is installed, its libraries and data can be read, and nothing else") {
  TemporaryDirectory dir;
  const auto put = [&](const std::string& name, mode_t mode = 0644) {
    const std::string path = dir.path + "/" + name;
    REQUIRE(base::make_directories(path.substr(0, path.rfind('/')), 0755));
    REQUIRE(base::write_file_atomic(path, name == "bin/sh" ? *base::read_file("/bin/sh") : name, mode));
  };
  put("bin/sh", 0755);
  for (const char* name : {"lib/a", "lib64/b", "libexec/c", "share/qemu/d", "share/e", "bin/f", "library/g", ".h"}) {
    put(name);
  }
  const std::string script = fmt::format(
      "cd {}; for f in lib/a lib64/b libexec/c share/qemu/d share/e bin/f library/g .h; do cat $f > /dev/null && "
      "echo $f >&3; done 2>/dev/null",
      dir.path);
  auto config = shell(script);
  config.argv[0] = dir.path + "/bin/sh";
  if (auto probe = start_jailed(shell("true")); !probe || !probe->report.find("landlock")->applied) return;
  CHECK(report_of(config) == "lib/a\nlib64/b\nlibexec/c\nshare/qemu/d\n");

  config.private_directory = dir.path + "/lib/state/sandbox";
  REQUIRE(base::make_directories(config.private_directory, 0755));
  REQUIRE(base::make_directories(dir.path + "/libexec/home", 0755));
  const ScopedVariable home("HOME", dir.path + "/libexec/home");
  CHECK(report_of(config) == "lib64/b\nshare/qemu/d\n");
}

TEST_CASE("the kernel's OOM killer prefers it to its parent, and never less than somebody has set") {
  const auto own = base::read_file("/proc/self/oom_score_adj", 64);
  REQUIRE(own);
  if (std::atoi(own->c_str()) < 800) CHECK(report_of("cat /proc/$$/oom_score_adj >&3; true") == "800\n");
  CHECK(*base::read_file("/proc/self/oom_score_adj", 64) == *own);
  CHECK(output_after(
            [] {
              base::UniqueFd higher(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
              return base::write_all(higher.get(), "900").ok();
            },
            "cat /proc/$$/oom_score_adj >&3; true") == "900\n");
}

TEST_CASE("what is applied is reported, and what is not says why") {
  auto config = shell("true");
  config.landlock = false;
  auto process = start_jailed(config);
  REQUIRE(process);
  const auto& report = process->report;
  REQUIRE(report.find("no_new_privs"));
  CHECK(report.find("no_new_privs")->applied);
  CHECK(report.find("parent-death signal")->applied);
  CHECK(report.find("syscall filter")->applied);
  CHECK(!report.find("landlock")->applied);
  CHECK(report.find("landlock")->detail == "switched off; it can open every file that its user can");
  CHECK(report.to_string().find("landlock: not applied: switched off") != std::string::npos);
  const auto* uid = report.find("own uid");
  REQUIRE(uid);
  CHECK(uid->applied == root());
  CHECK(uid->detail == (root() ? "765000" : "not started by root"));
  CHECK(report.find("no such step") == nullptr);
}

TEST_CASE("a step that fails is named") {
  auto missing = shell("");
  missing.argv = {"/nonexistent/qemu"};
  auto got = start_jailed(missing);
  REQUIRE(!got);
  CHECK(got.error().code() == ErrorCode::vm_failed);
  CHECK(got.error().details().stage == "jail");
  CHECK(got.error().message().find("start /nonexistent/qemu: step \"execve\" failed: ") == 0);

  auto closed = shell("true");
  closed.fds = {{999, 3}};
  got = start_jailed(closed);
  REQUIRE(!got);
  CHECK(got.error().message().find("step \"descriptors\" failed: Bad file descriptor") != std::string::npos);

  auto hole = shell("true");
  hole.fds = {{0, 4}};
  CHECK(!start_jailed(hole));
  auto relative = shell("");
  relative.argv = {"sh"};
  CHECK(!start_jailed(relative));
}

TEST_CASE("uid ranges") {
  CHECK(parse_uid_range("")->first == 700000);
  CHECK(parse_uid_range("")->last == 765535);
  const auto ok = parse_uid_range("1000-1000");
  REQUIRE(ok);
  CHECK(ok->first == 1000);
  CHECK(ok->last == 1000);
  for (const char* bad : {"0-10", "999-2000", "2000-1999", "2000", "2000-", "-2000", "a-b", "2000-3000x", " 2000-3000",
                          "2000-2147483648", "99999999999-99999999999", "2000--3000"}) {
    CAPTURE(bad);
    const auto got = parse_uid_range(bad);
    REQUIRE(!got);
    CHECK(got.error().code() == ErrorCode::invalid_argument);
    CHECK(got.error().message().find("FIRST-LAST") != std::string::npos);
  }
}

TEST_CASE("a uid belongs to one sandbox at a time") {
  TemporaryDirectory dir;
  const std::string lock = dir.path + "/uids";
  const UidRange two{700000, 700001};
  auto first = UidLease::acquire(lock, two);
  REQUIRE(first);
  {
    auto second = UidLease::acquire(lock, two);
    REQUIRE(second);
    CHECK(first->uid() != second->uid());
    auto third = UidLease::acquire(lock, two);
    REQUIRE(!third);
    CHECK(third.error().message().find("all 2 uids of 700000-700001 are in use") == 0);
  }
  auto again = UidLease::acquire(lock, two);
  REQUIRE(again);
  CHECK(again->uid() != first->uid());
}
