#include "base/child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <set>
#include <thread>

#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::base {
namespace {

using std::chrono::milliseconds;

constexpr int kMaxChildFd = 1023;
constexpr milliseconds kReapLimit{
    5000};  // a process in an uninterruptible sleep outlives SIGKILL: then it stays a zombie
constexpr milliseconds kFirstPollPause{1};     // only on kernels without pidfd_open
constexpr milliseconds kLongestPollPause{20};  //

std::vector<std::string> make_environment(const ChildOptions& options) {
  auto name_of = [](std::string_view entry) { return entry.substr(0, entry.find('=')); };
  std::vector<std::string> result;
  if (options.inherit_env && environ != nullptr) {
    std::set<std::string_view> overridden;
    for (const auto& entry : options.env) overridden.insert(name_of(entry));
    for (char** entry = environ; *entry != nullptr; ++entry) {
      if (overridden.count(name_of(*entry)) == 0) result.emplace_back(*entry);
    }
  }
  result.insert(result.end(), options.env.begin(), options.env.end());
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (auto& string : strings) result.push_back(string.data());
  result.push_back(nullptr);
  return result;
}

class SpawnActions {
 public:
  SpawnActions() { ::posix_spawn_file_actions_init(&actions_); }
  ~SpawnActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

  // An action that could not be recorded (no memory, a number over the limit of open files) would silently be left out.
  void record(int err) {
    if (error_ == 0) error_ = err;
  }
  int error() const { return error_; }

 private:
  int error_ = 0;
  posix_spawn_file_actions_t actions_;
};

class SpawnAttributes {
 public:
  explicit SpawnAttributes(const ChildOptions& options) {
    ::posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    // The embedder's ignored signals and this thread's mask are its own affair.
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    if (options.new_session) {
      flags |= POSIX_SPAWN_SETSID;  // and with it a group
    } else if (options.new_process_group) {
      flags |= POSIX_SPAWN_SETPGROUP;
    }
    ::posix_spawnattr_setflags(&attributes_, static_cast<short>(flags));
  }
  ~SpawnAttributes() { ::posix_spawnattr_destroy(&attributes_); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

// Records the actions that leave the child with exactly `wanted` and 0 to 2. The sources are first copied above every
// target, so that targets cannot overwrite sources that are still needed ({5→3, 3→5}); the copies must live until the
// spawn.
Result<std::vector<UniqueFd>> plan_descriptors(const std::vector<std::pair<int, int>>& wanted, SpawnActions& actions) {
  std::set<int> targets;
  int highest = STDERR_FILENO;
  for (auto [ours, theirs] : wanted) {
    if (theirs < 0 || theirs > kMaxChildFd || !targets.insert(theirs).second) {
      return Error(
          ErrorCode::invalid_argument,
          fmt::format("child descriptor {} (from {}): targets are 0 to {}, each once", theirs, ours, kMaxChildFd));
    }
    highest = std::max(highest, theirs);
  }
  std::vector<UniqueFd> copies;
  for (auto [ours, theirs] : wanted) {
    UniqueFd copy(::fcntl(ours, F_DUPFD_CLOEXEC, highest + 1));
    if (!copy) return errno_error(fmt::format("pass descriptor {} to a child as {}", ours, theirs), errno);
    copies.push_back(std::move(copy));
  }
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    actions.record(::posix_spawn_file_actions_adddup2(actions.get(), copies[i].get(), wanted[i].second));
  }
  for (int fd = 0; fd <= highest; ++fd) {
    if (targets.count(fd) != 0) continue;
    if (fd > STDERR_FILENO) {
      actions.record(::posix_spawn_file_actions_addclose(actions.get(), fd));
    } else {
      actions.record(::posix_spawn_file_actions_addopen(actions.get(), fd, "/dev/null", O_RDWR, 0));
    }
  }
  actions.record(::posix_spawn_file_actions_addclosefrom_np(actions.get(), highest + 1));
  return copies;
}

Error spawn_error(const ChildOptions& options, int err) {
  struct stat info {};
  if (!options.cwd.empty() && (::stat(options.cwd.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))) {
    return errno_error(fmt::format("start {} in directory {}", options.argv[0], options.cwd), err);
  }
  auto error = errno_error(fmt::format("start {}", options.argv[0]), err);
  if (err != ENOENT) return error;
  bool searched = options.argv[0].find('/') == std::string::npos;
  return Error(error.code(), error.message() + (searched ? " (not on PATH: is it installed?)" : ""));
}

}  // namespace

std::string ExitStatus::to_string() const {
  if (signal == 0) return code < 0 ? "unknown exit status" : fmt::format("exit code {}", code);
  const char* name = ::sigdescr_np(signal);
  return name != nullptr ? fmt::format("signal {} ({})", signal, name) : fmt::format("signal {}", signal);
}

Result<Child> Child::start(const ChildOptions& options) {
  if (options.argv.empty()) return Error(ErrorCode::invalid_argument, "start a child: argv is empty");
  SpawnActions actions;
  SpawnAttributes attributes(options);
  ORKESTR_TRY(auto copies, plan_descriptors(options.fds, actions));
  if (!options.cwd.empty()) {
    actions.record(::posix_spawn_file_actions_addchdir_np(actions.get(), options.cwd.c_str()));
  }
  if (actions.error() != 0)
    return errno_error(fmt::format("start {}: prepare its descriptors", options.argv[0]), actions.error());
  auto arguments = options.argv;
  auto environment = make_environment(options);
  pid_t pid = -1;
  int err = ::posix_spawnp(&pid, arguments[0].c_str(), actions.get(), attributes.get(), pointers(arguments).data(),
                           pointers(environment).data());
  if (err != 0) return spawn_error(options, err);
  Child child;
  child.pid_ = pid;
  child.owner_ = ::getpid();
  child.group_ = options.new_session || options.new_process_group;
  // Fails on kernels before 5.3, and when the embedder ignores SIGCHLD and the child is gone already: wait() copes with
  // both.
  child.pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  return child;
}

Child::~Child() {
  // In a forked copy of the embedder the child is not ours to end.
  if (pid_ <= 0 || owner_ != ::getpid()) return;
  kill(SIGKILL);
  (void)wait(Deadline::after(kReapLimit)).ok();
}

Child::Child(Child&& other) noexcept { *this = std::move(other); }

Child& Child::operator=(Child&& other) noexcept {
  if (this == &other) return *this;
  Child dying;
  std::swap(dying.pid_, pid_);
  std::swap(dying.owner_, owner_);
  std::swap(dying.group_, group_);
  std::swap(dying.pidfd_, pidfd_);
  pid_ = std::exchange(other.pid_, -1);
  owner_ = other.owner_;
  group_ = other.group_;
  pidfd_ = std::move(other.pidfd_);
  status_ = std::exchange(other.status_, std::nullopt);
  return *this;
}

// Nothing while it runs.
std::optional<ExitStatus> Child::poll_status() {
  siginfo_t info{};
  constexpr auto kPidfd = static_cast<idtype_t>(3);  // P_PIDFD, which older headers lack
  int result;
  do {
    result = pidfd_ ? ::waitid(kPidfd, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG)
                    : ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG);
  } while (result != 0 && errno == EINTR);
  ExitStatus status;
  if (result != 0) {
    // Someone else took the status. With a pidfd the process itself tells whether it is gone.
    if (pidfd_) {
      pollfd ended{pidfd_.get(), POLLIN, 0};
      if (::poll(&ended, 1, 0) == 0) return std::nullopt;
    }
    status.code = -1;
  } else if (info.si_pid == 0) {
    return std::nullopt;
  } else if (info.si_code == CLD_EXITED) {
    status.code = info.si_status;
  } else {
    status.signal = info.si_status;
  }
  pid_ = -1;
  pidfd_.reset();
  status_ = status;
  return status;
}

Result<std::optional<ExitStatus>> Child::wait(Deadline deadline) {
  if (status_) return status_;
  if (pid_ <= 0) return Error(ErrorCode::internal, "wait for a child: none was started, or it was released");
  auto pause = kFirstPollPause;
  for (;;) {
    if (auto status = poll_status()) return status;
    if (deadline.expired()) return std::optional<ExitStatus>();
    if (pidfd_) {
      pollfd ended{pidfd_.get(), POLLIN, 0};
      if (::poll(&ended, 1, deadline.poll_timeout_ms()) < 0 && errno != EINTR)
        return errno_error("poll a pidfd", errno);
    } else {
      auto left = deadline.remaining().value_or(pause);
      std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(left, pause));
      pause = std::min(2 * pause, kLongestPollPause);
    }
  }
}

// An unreaped child, running or not, keeps its number, and its group's. One that somebody else has reaped does not.
bool Child::keeps_its_number() const {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void Child::kill(int signal) {
  if (pid_ <= 0) return;
  if ((group_ || !pidfd_) && !keeps_its_number()) return;
  if (group_) {
    ::kill(-pid_, signal);
  } else if (!pidfd_ || ::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0) != 0) {
    // Not when the pidfd says that the process is gone: its number may be another's by now.
    if (!pidfd_ || errno == ENOSYS || errno == EPERM) ::kill(pid_, signal);
  }
}

pid_t Child::release() {
  pidfd_.reset();
  return std::exchange(pid_, -1);
}

}  // namespace orkestr::base
