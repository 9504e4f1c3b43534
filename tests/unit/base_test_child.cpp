// Child processes. The children are /bin/sh: what they see is asked of /proc.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/child.hpp"
#include "base/file.hpp"
#include "base/system.hpp"
#include "base_test_support.hpp"

using namespace orkestr;
using namespace orkestr::base;
using orkestr::base_test::in_child;
using orkestr::base_test::must;
using orkestr::base_test::TempDir;
using namespace std::chrono_literals;

namespace {

ChildOptions shell(const std::string& script) {
  ChildOptions options;
  options.argv = {"sh", "-c", script};
  return options;
}

std::string output_of(ChildOptions options) {
  auto result = must(run_child(std::move(options), Deadline::after(20s)));
  CHECK_MESSAGE(result.status.success(), result.status.to_string() << ": " << result.output);
  return result.output;
}

bool alive(pid_t pid) { return ::kill(pid, 0) == 0; }

// A process that was killed but whose parent (init, or nobody here) does not reap it counts as gone.
bool gone(pid_t pid) {
  for (int i = 0; i < 200; ++i) {
    auto stat = read_file("/proc/" + std::to_string(pid) + "/stat");
    if (!stat || stat->find(") Z ") != std::string::npos) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

std::chrono::milliseconds since(Deadline::Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Deadline::Clock::now() - start);
}

UniqueFd file_with(const TempDir& dir, const std::string& name, const std::string& content) {
  must(write_file_atomic(dir / name, content));
  return must(open_at(AT_FDCWD, dir / name, O_RDONLY));
}

pid_t read_pid(const std::string& path) {
  for (int i = 0; i < 500; ++i) {
    auto text = read_file(path);
    if (text && text->find('\n') != std::string::npos) return std::atoi(text->c_str());
    std::this_thread::sleep_for(10ms);
  }
  FAIL("no pid in " << path);
  return -1;
}

}  // namespace

TEST_CASE("exit status: code, signal, text") {
  auto status = [](const std::string& script) {
    auto child = must(Child::start(shell(script)));
    return *must(child.wait(Deadline::after(20s)));
  };
  CHECK(status("exit 0").success());
  CHECK(status("exit 3").code == 3);
  CHECK(status("exit 3").to_string() == "exit code 3");
  auto killed = status("kill -9 $$");
  CHECK(killed.signal == 9);
  CHECK_FALSE(killed.success());
  CHECK(killed.to_string() == "signal 9 (Killed)");
  CHECK(ExitStatus{-1, 0}.to_string() == "unknown exit status");
  CHECK_FALSE(ExitStatus{-1, 0}.success());
}

TEST_CASE("start: what cannot be started is said at once") {
  ChildOptions options;
  CHECK(Child::start(options).error().code() == ErrorCode::invalid_argument);
  options.argv = {"no-such-program-7f3a"};
  auto error = Child::start(options).error();
  CHECK(error.code() == ErrorCode::file_not_found);
  CHECK(error.message() == "start no-such-program-7f3a: No such file or directory (not on PATH: is it installed?)");
  options.argv = {"/no/such/program"};
  CHECK(Child::start(options).error().message() == "start /no/such/program: No such file or directory");
  options.argv = {"/etc/passwd"};
  CHECK(Child::start(options).error().code() == ErrorCode::not_permitted);
  options.argv = {"true"};
  options.cwd = "/no/such/directory";
  CHECK(Child::start(options).error().message() ==
        "start true in directory /no/such/directory: No such file or directory");
}

TEST_CASE("environment: inherited, overridden, or exactly what is named") {
  ::setenv("ORKESTR_TEST_A", "outer", 1);
  ::setenv("ORKESTR_TEST_B", "outer", 1);
  auto options = shell("echo $ORKESTR_TEST_A/$ORKESTR_TEST_B; env | grep -c ORKESTR_TEST_A=");
  options.env = {"ORKESTR_TEST_A=inner"};
  CHECK(output_of(options) == "inner/outer\n1\n");
  ChildOptions bare;
  bare.argv = {"/usr/bin/env"};
  bare.env = {"ONLY=this one"};
  bare.inherit_env = false;
  CHECK(output_of(bare) == "ONLY=this one\n");
  ::unsetenv("ORKESTR_TEST_A");
  ::unsetenv("ORKESTR_TEST_B");
}

TEST_CASE("directory, session, group") {
  TempDir dir;
  auto options = shell("pwd");
  options.cwd = dir.path();
  CHECK(output_of(options) == dir.path() + "\n");

  auto ids = [](bool session, bool group) {
    // Fields of /proc/self/stat after the name: state, ppid, pgrp, session.
    ChildOptions o = shell("set -- $(sed 's/.*) //' /proc/$$/stat); echo $$ $3 $4 >&7");
    auto [read_end, write_end] = must(make_pipe());
    o.fds = {{write_end.get(), 7}};
    o.new_session = session;
    o.new_process_group = group;
    auto child = must(Child::start(o));
    write_end.reset();
    char buffer[64] = {};
    REQUIRE(::read(read_end.get(), buffer, sizeof buffer - 1) > 0);
    must(child.wait(Deadline::after(20s)));
    long pid = 0, pgrp = 0, sid = 0;
    REQUIRE(std::sscanf(buffer, "%ld %ld %ld", &pid, &pgrp, &sid) == 3);
    return std::vector<bool>{pgrp == pid, sid == pid};
  };
  CHECK(ids(false, false) == std::vector<bool>{false, false});
  CHECK(ids(false, true) == std::vector<bool>{true, false});
  CHECK(ids(true, false) == std::vector<bool>{true, true});
  CHECK(ids(true, true) == std::vector<bool>{true, true});
}

TEST_CASE("descriptors: exactly those that are named, the standard ones are /dev/null") {
  auto leak = UniqueFd(::dup(STDERR_FILENO));  // neither close-on-exec nor named
  auto high = UniqueFd(::fcntl(STDERR_FILENO, F_DUPFD, 200));
  auto [read_end, write_end] = must(make_pipe());
  ChildOptions options;
  options.argv = {"find",    "/proc/self/fd", "-type",           "l",      "-printf",
                  "%f=%l\n", "-fprintf",      "/proc/self/fd/9", "%f=%l\n"};
  options.fds = {{write_end.get(), 9}};
  auto child = must(Child::start(options));
  write_end.reset();
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(read_end.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(n));
  CHECK(must(child.wait(Deadline::after(20s)))->success());
  CHECK(text.find("0=/dev/null\n") == 0);
  CHECK(text.find("\n1=/dev/null\n") != std::string::npos);
  CHECK(text.find("\n2=/dev/null\n") != std::string::npos);
  CHECK(text.find("\n9=pipe:") != std::string::npos);
  // Whatever else it has it opened itself: never what we had open. The test's stderr is no longer anywhere.
  for (int fd = 10; fd <= 300; ++fd) CHECK(text.find("\n" + std::to_string(fd) + "=") == std::string::npos);
  auto ours = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(leak.get())).string();
  if (ours != "/dev/null") CHECK(text.find("=" + ours + "\n") == std::string::npos);
}

TEST_CASE("descriptors: targets that are other entries' sources") {
  TempDir dir;
  auto one = file_with(dir, "one", "one");
  auto two = file_with(dir, "two", "two");
  auto three = file_with(dir, "three", "three");
  // Numbers that are surely free for the children to mix up.
  UniqueFd a(::fcntl(one.get(), F_DUPFD_CLOEXEC, 50));
  UniqueFd b(::fcntl(two.get(), F_DUPFD_CLOEXEC, 50));
  UniqueFd c(::fcntl(three.get(), F_DUPFD_CLOEXEC, 50));
  auto read_back = [](const std::vector<std::pair<int, int>>& fds, const std::vector<int>& order) {
    // Through /proc: the shell's redirections know single digits only, and the offset is shared.
    std::string script;
    for (int fd : order) script += "cat /proc/$$/fd/" + std::to_string(fd) + "; echo; ";
    auto options = shell(script);
    options.fds = fds;
    return output_of(options);
  };
  CHECK(read_back({{a.get(), b.get()}, {b.get(), a.get()}}, {a.get(), b.get()}) == "two\none\n");  // a swap
  CHECK(read_back({{a.get(), b.get()}, {b.get(), c.get()}, {c.get(), a.get()}}, {a.get(), b.get(), c.get()}) ==
        "three\none\ntwo\n");                                                          // a cycle
  CHECK(read_back({{a.get(), a.get()}}, {a.get()}) == "one\n");                        // itself, though close-on-exec
  CHECK(read_back({{a.get(), b.get()}, {a.get(), 5}}, {b.get(), 5}) == "one\none\n");  // one source, two targets
  CHECK(read_back({{a.get(), 1023}, {b.get(), 3}}, {1023, 3}) == "one\ntwo\n");
  // The lowest numbers, where a descriptor made meanwhile would land.
  std::vector<std::pair<int, int>> low;
  std::vector<int> order;
  std::string expected;
  for (int fd = 14; fd >= 3; --fd) {
    low.emplace_back(fd % 3 == 0 ? a.get() : fd % 3 == 1 ? b.get() : c.get(), fd);
    order.push_back(fd);
    expected += fd % 3 == 0 ? "one\n" : fd % 3 == 1 ? "two\n" : "three\n";
  }
  CHECK(read_back(low, order) == expected);
  CHECK(read_back({{a.get(), 0}}, {0}) == "one\n");
}

TEST_CASE("descriptors: mistakes are refused, by name") {
  auto options = shell("true");
  options.fds = {{0, 5}, {1, 5}};
  CHECK(Child::start(options).error().code() == ErrorCode::invalid_argument);
  options.fds = {{0, 1024}};
  CHECK(Child::start(options).error().code() == ErrorCode::invalid_argument);
  options.fds = {{0, -1}};
  CHECK(Child::start(options).error().code() == ErrorCode::invalid_argument);
  options.fds = {{987, 5}};
  CHECK(Child::start(options).error().message() == "pass descriptor 987 to a child as 5: Bad file descriptor");
  CHECK(in_child([&] {  // more than the process may open: refused, not silently left out
    rlimit few{64, 64};
    options.fds = {{0, 200}};
    return ::setrlimit(RLIMIT_NOFILE, &few) == 0 && !Child::start(options).ok();
  }));
}

TEST_CASE("signals: nothing is blocked or ignored in the child") {
  sigset_t block, old;
  ::sigfillset(&block);
  ::pthread_sigmask(SIG_SETMASK, &block, &old);
  auto was_pipe = ::signal(SIGPIPE, SIG_IGN);
  auto was_hup = ::signal(SIGHUP, SIG_IGN);
  ChildOptions options;
  options.argv = {"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"};
  auto text = output_of(options);
  ::signal(SIGPIPE, was_pipe);
  ::signal(SIGHUP, was_hup);
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  // 32 and 33 are glibc's own; its posix_spawn ignores them.
  bool none_ignored = text == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n" ||
                      text == "SigBlk:\t0000000000000000\nSigIgn:\t0000000180000000\n";
  CHECK_MESSAGE(none_ignored, text);
}

TEST_CASE("wait: the deadline, then the end; the answer stays") {
  auto child = must(Child::start(shell("sleep 0.3; exit 4")));
  CHECK(child.exit_fd() >= 0);
  auto start = Deadline::Clock::now();
  CHECK_FALSE(must(child.wait(Deadline::after(50ms))).has_value());
  CHECK(since(start) >= 50ms);
  CHECK(since(start) < 250ms);
  CHECK_FALSE(must(child.wait(Deadline::after(0s))).has_value());
  CHECK(must(child.wait(Deadline::never()))->code == 4);
  CHECK(must(child.wait(Deadline::after(0s)))->code == 4);
  CHECK_FALSE(child);
  CHECK(child.pid() == -1);
  child.kill(SIGKILL);  // nobody there: must not hit process group 1 or anything else
  CHECK_FALSE(Child().wait(Deadline::after(0s)).ok());
}

TEST_CASE("kill: a child that ignores SIGTERM dies of SIGKILL") {
  TempDir dir;
  auto options = shell("trap '' TERM; echo $$ > " + (dir / "pid") + "; while :; do sleep 0.05; done");
  auto child = must(Child::start(options));
  CHECK(read_pid(dir / "pid") == child.pid());
  child.kill(SIGTERM);
  CHECK_FALSE(must(child.wait(Deadline::after(200ms))).has_value());
  child.kill(SIGKILL);
  CHECK(must(child.wait(Deadline::after(20s)))->signal == SIGKILL);
}

TEST_CASE("destructor: kills and reaps, the whole group where there is one") {
  TempDir dir;
  pid_t leader = -1;
  pid_t grandchild = -1;
  {
    auto options = shell("trap '' TERM; sleep 60 & echo $! > " + (dir / "pid") + "; wait; wait");
    options.new_process_group = true;
    auto child = must(Child::start(options));
    leader = child.pid();
    grandchild = read_pid(dir / "pid");
    CHECK(alive(grandchild));
  }
  CHECK_FALSE(alive(leader));  // not even a zombie
  CHECK(gone(grandchild));
}

TEST_CASE("move and release") {
  auto first = must(Child::start(shell("sleep 60")));
  pid_t first_pid = first.pid();
  auto second = must(Child::start(shell("exit 5")));
  first = std::move(second);  // what it held is killed and reaped
  CHECK_FALSE(alive(first_pid));
  CHECK_FALSE(second);
  CHECK(must(first.wait(Deadline::after(20s)))->code == 5);
  Child third = std::move(first);
  CHECK(must(third.wait(Deadline::after(0s)))->code == 5);

  pid_t released = -1;
  {
    auto child = must(Child::start(shell("sleep 0.2; exit 6")));
    released = child.release();
    CHECK_FALSE(child);
    CHECK_FALSE(child.wait(Deadline::after(0s)).ok());
  }
  int status = 0;
  CHECK(::waitpid(released, &status, 0) == released);
  CHECK(WEXITSTATUS(status) == 6);
}

TEST_CASE("a number that may be another's by now is not signalled") {
  auto was = ::signal(SIGCHLD, SIG_IGN);  // the kernel reaps: the leader's number is free as soon as it has ended
  TempDir dir;
  auto options = shell("sleep 30 & echo $! > pid; exit 0");
  options.cwd = dir.path();
  options.new_process_group = true;
  pid_t descendant = 0;
  {
    auto child = must(Child::start(options));
    const pid_t leader = child.pid();
    CHECK(gone(leader));
    descendant = std::stoi(must(read_file(dir.path() + "/pid")));
    child.kill(SIGKILL);
  }
  ::signal(SIGCHLD, was);
  std::this_thread::sleep_for(50ms);  // a signal would have ended it by now
  const auto stat = read_file("/proc/" + std::to_string(descendant) + "/stat");
  CHECK((stat && stat->find(") Z ") == std::string::npos));
  ::kill(descendant, SIGKILL);
}

TEST_CASE("an embedder that ignores SIGCHLD, or reaps everything itself") {
  SUBCASE("ignored") {
    auto was = ::signal(SIGCHLD, SIG_IGN);
    auto child = must(Child::start(shell("sleep 0.1; exit 3")));
    auto start = Deadline::Clock::now();
    auto status = child.wait(Deadline::after(20s));
    auto took = since(start);
    auto run = run_child(shell("echo hello"), Deadline::after(20s));
    ::signal(SIGCHLD, was);
    REQUIRE(status.ok());
    REQUIRE(status->has_value());
    CHECK((*status)->code == -1);
    CHECK_FALSE((*status)->success());
    CHECK(took < 10s);
    REQUIRE(run.ok());
    CHECK(run->output == "hello\n");
  }
  SUBCASE("reaped by someone else") {
    auto child = must(Child::start(shell("exit 3")));
    REQUIRE(::waitpid(child.pid(), nullptr, 0) == child.pid());
    CHECK(must(child.wait(Deadline::after(20s)))->code == -1);
  }
  SUBCASE("reaped by someone else, then dropped") {
    auto child = must(Child::start(shell("exit 3")));
    REQUIRE(::waitpid(child.pid(), nullptr, 0) == child.pid());
  }
}

TEST_CASE("a forked copy of the owner does not kill the child") {
  auto child = must(Child::start(shell("sleep 0.5; exit 9")));
  pid_t fork_pid = ::fork();
  if (fork_pid == 0) {
    { Child dropped = std::move(child); }
    ::_exit(0);
  }
  REQUIRE(::waitpid(fork_pid, nullptr, 0) == fork_pid);
  CHECK(must(child.wait(Deadline::after(20s)))->code == 9);
}

TEST_CASE("kernels without pidfds: the same answers, by polling") {
  CHECK(in_child([] {
    base_test::deny_system_calls({SYS_pidfd_open, SYS_pidfd_send_signal});
    auto child = Child::start(shell("sleep 0.2; exit 4"));
    if (!child.ok() || child->exit_fd() != -1) return false;
    auto early = child->wait(Deadline::after(50ms));
    if (!early.ok() || early->has_value()) return false;
    auto status = child->wait(Deadline::never());
    return status.ok() && (*status)->code == 4;
  }));
  CHECK(in_child([] {
    base_test::deny_system_calls({SYS_pidfd_open, SYS_pidfd_send_signal});
    auto child = Child::start(shell("sleep 60"));
    if (!child.ok()) return false;
    child->kill(SIGTERM);
    auto status = child->wait(Deadline::after(20s));
    return status.ok() && status->has_value() && (*status)->signal == SIGTERM;
  }));
  CHECK(in_child([] {
    base_test::deny_system_calls({SYS_pidfd_open, SYS_pidfd_send_signal});
    auto fine = run_child(shell("echo a; sleep 0.1; echo b; exit 2"), Deadline::after(20s));
    auto late = run_child(shell("echo c; sleep 60"), Deadline::after(200ms));
    return fine.ok() && fine->output == "a\nb\n" && fine->status.code == 2 && !late.ok() &&
           late.error().details().console_tail == "c\n";
  }));
}

TEST_CASE("run_child: output, lines, status") {
  std::vector<std::string> lines;
  auto result = must(run_child(shell("echo one; echo two >&2; echo; printf end; exit 3"), Deadline::after(20s),
                               [&](std::string_view line) { lines.emplace_back(line); }));
  CHECK(result.status.code == 3);
  CHECK(result.output == "one\ntwo\n\nend");
  CHECK(lines == std::vector<std::string>{"one", "two", "", "end"});
  CHECK(must(run_child(shell("cat"), Deadline::after(20s))).output.empty());  // stdin is /dev/null
  CHECK(run_child(ChildOptions{}, Deadline::after(1s)).error().code() == ErrorCode::invalid_argument);
}

TEST_CASE("run_child: the caller's own stdout is respected") {
  TempDir dir;
  auto file = must(open_at(AT_FDCWD, dir / "out", O_WRONLY | O_CREAT, 0600));
  auto options = shell("echo to the file; echo to us >&2");
  options.fds = {{file.get(), 1}};
  CHECK(output_of(options) == "to us\n");
  CHECK(must(read_file(dir / "out")) == "to the file\n");
}

TEST_CASE("run_child: lines come while it runs, in whatever pieces they were written") {
  std::vector<std::pair<std::string, std::chrono::milliseconds>> lines;
  auto start = Deadline::Clock::now();
  must(run_child(shell("printf he; sleep 0.05; printf 'llo\\nwor'; sleep 0.4; echo ld"), Deadline::after(20s),
                 [&](std::string_view line) { lines.emplace_back(line, since(start)); }));
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].first == "hello");
  CHECK(lines[1].first == "world");
  CHECK(lines[1].second - lines[0].second >= 300ms);
}

TEST_CASE("run_child: the tail of much output, and lines without an end") {
  std::size_t longest = 0;
  std::size_t total = 0;
  auto result = must(run_child(
      shell("head -c 5000000 /dev/zero | tr '\\0' x; echo end"), Deadline::after(20s),
      [&](std::string_view line) {
        longest = std::max(longest, line.size());
        total += line.size();
      },
      1000));
  CHECK(result.output == std::string(996, 'x') + "end\n");
  CHECK(longest == 64U << 10U);
  CHECK(total == 5'000'003);
  CHECK(must(run_child(shell("seq 100000"), Deadline::after(20s), {}, 0)).output.empty());
  std::size_t count = 0;
  auto all = must(run_child(shell("seq 100000"), Deadline::after(20s), [&](std::string_view) { ++count; }));
  CHECK(count == 100000);
  CHECK(all.output.size() == 588895);
}

TEST_CASE("run_child: the deadline ends the whole group, and the error has the output so far") {
  TempDir dir;
  auto start = Deadline::Clock::now();
  auto result = run_child(shell("trap '' TERM; echo started; sleep 60 & echo $! > " + (dir / "pid") + "; wait; wait"),
                          Deadline::after(500ms));
  CHECK(since(start) < 5s);
  REQUIRE_FALSE(result.ok());
  CHECK(result.error().code() == ErrorCode::internal);
  CHECK(result.error().message().rfind("sh: killed with its process group: not done after 0.", 0) == 0);
  CHECK(result.error().details().console_tail == "started\n");
  CHECK(gone(read_pid(dir / "pid")));
}

TEST_CASE("run_child: a flood does not outrun the deadline") {
  auto start = Deadline::Clock::now();
  auto result = run_child(shell("yes"), Deadline::after(300ms), {}, 100);
  CHECK(since(start) < 5s);
  REQUIRE_FALSE(result.ok());
  CHECK(result.error().details().console_tail.size() == 100);
}

TEST_CASE("run_child: a descendant that keeps the pipe does not keep us") {
  TempDir dir;
  auto start = Deadline::Clock::now();
  // It outlives the command: a server that was started is not killed.
  auto result = must(run_child(shell("sleep 30 & echo $! > " + (dir / "pid") + "; echo done"), Deadline::after(20s)));
  CHECK(since(start) < 5s);
  CHECK(since(start) >= 100ms);
  CHECK(result.output == "done\n");
  CHECK(result.status.success());
  pid_t sleeper = read_pid(dir / "pid");
  CHECK(alive(sleeper));
  ::kill(sleeper, SIGKILL);

  // One that floods it cannot keep us either.
  start = Deadline::Clock::now();
  result = must(run_child(shell("yes & echo $! > " + (dir / "pid2")), Deadline::after(20s), {}, 100));
  CHECK(since(start) < 5s);
  sleeper = read_pid(dir / "pid2");
  ::kill(sleeper, SIGKILL);
}

TEST_CASE("run_child: a command that closes its output early is still waited for") {
  auto start = Deadline::Clock::now();
  auto result = must(run_child(shell("exec >&- 2>&-; sleep 0.3; exit 7"), Deadline::after(20s)));
  CHECK(result.status.code == 7);
  CHECK(since(start) >= 300ms);
}

TEST_CASE("children started from many threads do not inherit each other's pipes") {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        ChildOptions options;
        options.argv = {"ls", "/proc/self/fd"};
        auto result = run_child(options, Deadline::after(20s));
        if (!result || result->output != "0\n1\n2\n3\n") ++wrong;  // 3 is the directory that ls reads
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}
