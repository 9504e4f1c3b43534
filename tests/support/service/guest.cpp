#include "support/service/guest.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <utility>

extern char** environ;

namespace orkestr::testing {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Never the machine's own /proc/sysrq-trigger, nor anything to write on its disks. Its root lies over a /tmp that it
// does not see otherwise. It ends with its standard input, hence with the service, however that ends.
constexpr const char* kSetUp = R"(
read -r self rest < /proc/self/stat
root=/tmp
mount -t tmpfs -o size=$1m,mode=755 tmpfs "$root" || exit 1
for name in bin sbin lib lib32 lib64 libx32; do
  if [ -L /$name ]; then cp -P /$name "$root/$name"; elif [ -d /$name ]; then mkdir "$root/$name"; mount --rbind /$name "$root/$name" || exit 1; fi
done
for name in usr etc dev; do
  mkdir "$root/$name"; mount --rbind /$name "$root/$name" || exit 1
done
for name in usr etc; do mount -o remount,bind,ro "$root/$name" 2>/dev/null; done
mkdir -p "$root/proc" "$root/tmp" "$root/workspace" "$root/persist" "$root/root" "$root/run" "$root/var/tmp"
chmod 1777 "$root/tmp"
mount -t proc proc "$root/proc" || exit 1
if [ -e "$root/proc/sysrq-trigger" ]; then mount --bind /dev/null "$root/proc/sysrq-trigger" || exit 1; fi
echo "ready $self"
cd "$root" && exec chroot "$root" /bin/bash -c 'trap "" TERM INT HUP; : & read -r' >/dev/null 2>&1
)";

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

struct Report {
  char what;  // 'p' pid, 'c' errno of chdir, 'x' wait status
  int value;
};

void report(int fd, char what, int value) {
  const Report one{what, value};
  static_cast<void>(!::write(fd, &one, sizeof one));
}

}  // namespace

Guest::Guest(std::string id, std::map<std::string, std::string> env, std::uint64_t disk_mb)
    : id_(std::move(id)), env_(std::move(env)) {
  std::array<int, 2> out{}, life{};
  if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(life.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  const std::string disk = std::to_string(disk_mb);
  std::array<const char*, 13> argv = {
      "unshare", "--user", "--map-root-user", "--mount",    "--pid", "--fork", "--kill-child", "bash",
      "-c",      kSetUp,   "set-up",          disk.c_str(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, life[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const int failed =
      ::posix_spawnp(&keeper_, "unshare", &actions, &attributes, const_cast<char* const*>(argv.data()), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  ::close(out[1]);
  ::close(life[0]);
  life_ = life[1];
  std::string said;
  std::array<char, 256> piece{};
  while (failed == 0 && said.find('\n') == std::string::npos) {
    const ssize_t count = ::read(out[0], piece.data(), piece.size());
    if (count <= 0) break;
    said.append(piece.data(), static_cast<std::size_t>(count));
  }
  ::close(out[0]);
  if (said.compare(0, 6, "ready ") != 0) {
    throw std::runtime_error("the test service cannot make namespaces (unshare --user --mount --pid)");
  }
  first_ = std::stoi(said.substr(6));
  root_ = "/proc/" + std::to_string(first_) + "/root";
  // Its `exec chroot` is a moment away.
  for (int i = 0; i < 500 && ::access((root_ + "/workspace").c_str(), F_OK) != 0; ++i) ::usleep(1000);
}

Guest::~Guest() { end(); }

void Guest::end() {
  std::vector<std::thread> drains;
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(ended_, true)) return;
    drains.swap(drains_);
  }
  ::kill(first_, SIGKILL);  // and with it everything in its namespace
  ::kill(keeper_, SIGKILL);
  ::waitpid(keeper_, nullptr, 0);
  for (auto& thread : drains) thread.join();
  ::close(life_);
}

// Forked from a process of many threads: only what is safe there, until exec.
int Guest::start(const GuestCommand& command, const std::string& mark, int out, int err, int status) const {
  std::vector<std::string> variables = {"HOME=/root",
                                        "LANG=C.UTF-8",
                                        "USER=root",
                                        "SHELL=/bin/bash",
                                        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                        "ORKESTR_TEST_SANDBOX=" + id_,
                                        "ORKESTR_TEST_COMMAND=" + mark};
  for (const auto& [name, value] : env_) variables.push_back(name + "=" + value);
  for (const auto& [name, value] : command.env) variables.push_back(name + "=" + value);
  std::vector<char*> environment;
  for (auto& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);
  const std::array<const char*, 4> argv = {"bash", "-c", command.line.c_str(), nullptr};
  const std::string spaces = "/proc/" + std::to_string(first_) + "/ns/";
  std::array<int, 3> spaces_fds{};
  const std::array<const char*, 3> names = {"user", "mnt", "pid"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    spaces_fds[i] = ::open((spaces + names[i]).c_str(), O_RDONLY | O_CLOEXEC);
  }
  const int root = ::open(root_.c_str(), O_PATH | O_CLOEXEC);
  // The process in the middle executes nothing, so it must let go of what other threads have open: their pipes would
  // not end before it does.
  std::array<int, 10> sorted = {0, 1, 2, out, err, status, spaces_fds[0], spaces_fds[1], spaces_fds[2], root};
  std::sort(sorted.begin(), sorted.end());
  const pid_t middle = ::fork();
  if (middle == 0) {
    for (std::size_t i = 0; i < sorted.size(); ++i) {
      const auto first = static_cast<unsigned>(sorted[i]) + 1;
      const auto last = i + 1 < sorted.size() ? static_cast<unsigned>(sorted[i + 1]) : 0U;
      if (last == 0) {
        ::close_range(first, ~0U, 0);
      } else if (last > first) {
        ::close_range(first, last - 1, 0);
      }
    }
    for (const int fd : spaces_fds) {
      if (::setns(fd, 0) != 0) ::_exit(1);
    }
    if (::fchdir(root) != 0 || ::chroot(".") != 0) ::_exit(1);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::setsid();
      sigset_t none;
      sigemptyset(&none);
      ::sigprocmask(SIG_SETMASK, &none, nullptr);
      for (int number = 1; number < 32; ++number) ::signal(number, SIG_DFL);
      if (::chdir(command.cwd.c_str()) != 0) {
        report(status, 'c', errno);
        ::_exit(0);
      }
      report(status, 'p', ::getpid());
      const int nothing = ::open("/dev/null", O_RDONLY);
      ::dup2(nothing, 0);
      ::dup2(out, 1);
      ::dup2(err, 2);
      ::close_range(3, ~0U, 0);
      ::execve("/bin/bash", const_cast<char* const*>(argv.data()), environment.data());
      ::_exit(127);
    }
    ::close(out);
    ::close(err);
    int how = 0;
    if (pid < 0 || ::waitpid(pid, &how, 0) != pid) ::_exit(1);
    report(status, 'x', how);
    ::_exit(0);
  }
  for (const int fd : spaces_fds) ::close(fd);
  ::close(root);
  return middle;
}

GuestEnd Guest::run(const GuestCommand& command, const std::function<void(int)>& started,
                    const std::function<void(bool, std::string_view)>& output, const std::function<bool()>& stop) {
  const std::string mark = id_ + "/" + std::to_string(++commands_);
  const auto begin = Clock::now();
  std::array<int, 2> out{}, err{}, status{};
  if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0 ||
      ::pipe2(status.data(), O_CLOEXEC) != 0) {
    throw std::runtime_error("pipe");
  }
  const int middle = start(command, mark, out[1], command.merged ? out[1] : err[1], status[1]);
  ::close(out[1]);
  ::close(err[1]);
  ::close(status[1]);
  GuestEnd end;
  std::array<pollfd, 3> waits = {pollfd{out[0], POLLIN, 0}, pollfd{err[0], POLLIN, 0}, pollfd{status[0], POLLIN, 0}};
  std::vector<char> piece(64U << 10U);
  std::optional<Clock::time_point> exited;
  while (true) {
    const bool output_over = waits[0].fd < 0 && waits[1].fd < 0;
    if (waits[2].fd < 0 && (output_over || Clock::now() - exited.value_or(begin) > milliseconds(100))) break;
    const int ready = ::poll(waits.data(), waits.size(), waits[2].fd < 0 ? 10 : 20);
    if (ready == 0) {
      const bool late = command.timeout.count() > 0 && Clock::now() - begin > command.timeout;
      if (waits[2].fd >= 0 && !end.timed_out && !end.stopped && (late || stop())) {
        (late ? end.timed_out : end.stopped) = true;
        end_tree(mark);
      }
      continue;
    }
    if (command.timeout.count() > 0 && waits[2].fd >= 0 && !end.timed_out && Clock::now() - begin > command.timeout) {
      end.timed_out = true;
      end_tree(mark);
    }
    if (waits[2].revents != 0) {
      Report one{};
      const ssize_t count = ::read(waits[2].fd, &one, sizeof one);
      if (count == sizeof one && one.what == 'p') {
        started(one.value);
      } else if (count == sizeof one && one.what == 'c') {
        end.cwd_error = one.value;
      } else if (count == sizeof one && one.what == 'x') {
        exited = Clock::now();
        end.exit_code = WIFEXITED(one.value) ? WEXITSTATUS(one.value) : 0;
        end.signal = WIFSIGNALED(one.value) ? WTERMSIG(one.value) : 0;
      } else {
        if (!exited) end.signal = SIGKILL;  // the whole guest is gone
        exited = exited.value_or(Clock::now());
        ::close(std::exchange(waits[2].fd, -1));
      }
    }
    for (std::size_t i = 0; i < 2; ++i) {
      if (waits[i].revents == 0) continue;
      const ssize_t count = ::read(waits[i].fd, piece.data(), piece.size());
      if (count > 0) {
        output(i == 0, {piece.data(), static_cast<std::size_t>(count)});
      } else {
        ::close(std::exchange(waits[i].fd, -1));
      }
    }
  }
  end.duration = std::chrono::duration_cast<std::chrono::microseconds>(*exited - begin);
  ::waitpid(middle, nullptr, 0);
  // What the command left running may go on writing.
  for (std::size_t i = 0; i < 2; ++i) {
    if (waits[i].fd >= 0) drain(waits[i].fd);
  }
  return end;
}

void Guest::drain(int fd) {
  std::lock_guard lock(mutex_);
  if (ended_) {
    ::close(fd);
    return;
  }
  drains_.emplace_back([fd] {
    std::array<char, 4096> piece{};
    while (::read(fd, piece.data(), piece.size()) > 0) continue;
    ::close(fd);
  });
}

std::vector<int> Guest::processes(const std::string& mark) const {
  const std::string wanted = mark.empty() ? "ORKESTR_TEST_SANDBOX=" + id_ : "ORKESTR_TEST_COMMAND=" + mark;
  std::vector<int> found;
  DIR* proc = ::opendir("/proc");
  while (const dirent* entry = ::readdir(proc)) {
    const int pid = ::atoi(entry->d_name);
    if (pid <= 0) continue;
    const std::string environment = '\0' + read_file("/proc/" + std::string(entry->d_name) + "/environ");
    if (environment.find('\0' + wanted + '\0') != std::string::npos) found.push_back(pid);
  }
  ::closedir(proc);
  return found;
}

void Guest::signal_all(const std::string& mark, int signal) const {
  for (const int pid : processes(mark)) ::kill(pid, signal);
}

// SIGTERM, two seconds, SIGKILL until none is left.
void Guest::end_tree(const std::string& mark) const {
  signal_all(mark, SIGTERM);
  for (int i = 0; i < 40 && !processes(mark).empty(); ++i) ::usleep(50'000);
  for (int i = 0; i < 100 && !processes(mark).empty(); ++i) {
    signal_all(mark, SIGKILL);
    ::usleep(10'000);
  }
}

GuestUsage Guest::usage() const {
  GuestUsage usage;
  usage.memory_bytes = 20'000'000;  // what a kernel of its own would take
  const double tick = 1.0 / static_cast<double>(::sysconf(_SC_CLK_TCK));
  for (const int pid : processes({})) {
    const std::string directory = "/proc/" + std::to_string(pid);
    std::istringstream memory(read_file(directory + "/statm"));
    std::uint64_t pages = 0, resident = 0;
    if (memory >> pages >> resident) usage.memory_bytes += resident * 4096;
    const std::string line = read_file(directory + "/stat");
    std::istringstream times(line.substr(std::min(line.rfind(')') + 2, line.size())));
    std::string skipped;
    for (int i = 0; i < 11; ++i) times >> skipped;
    double user = 0, system = 0;
    if (times >> user >> system) usage.cpu_seconds += (user + system) * tick;
  }
  return usage;
}

void Guest::freeze() { signal_all({}, SIGSTOP); }
void Guest::thaw() { signal_all({}, SIGCONT); }

}  // namespace orkestr::testing
