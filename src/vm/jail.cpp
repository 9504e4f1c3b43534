#include "vm/jail.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "base/child.hpp"
#include "base/deadline.hpp"
#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "vm/landlock.hpp"
#include "vm/syscall_filter.hpp"
#include "vm/vm_error.hpp"

namespace orkestr::vm {
namespace {

constexpr auto kExecWithin = std::chrono::seconds(10);
constexpr int kOomScore = 800;  // of 1000
constexpr std::string_view kOomScoreText = "800";
constexpr int kFirstSpareFd = 64;  // while descriptors are put in place, the originals wait from here on

// All the child needs, laid out before fork: between fork and execve nothing may allocate.
struct Plan {
  std::vector<char*> argv;
  std::vector<char*> env;
  std::vector<std::pair<int, int>> fds;  // {ours, theirs}, with 0, 1, 2
  std::vector<int> spare;                // scratch space of the descriptor step, one a descriptor
  std::optional<uid_t> uid;
  std::vector<gid_t> groups;
  pid_t parent = 0;
  int ruleset_fd = -1;
  int report_fd = -1;
  int last_fd = 2;
};

int errno_of(long rc) { return rc < 0 ? errno : 0; }
constexpr int kNotAsked = -1;

// A limit is only ever lowered: raising one needs CAP_SYS_RESOURCE, which containers drop.
int limit(__rlimit_resource resource, rlim_t value) {
  rlimit now{};
  if (::getrlimit(resource, &now) != 0) return errno;
  const rlim_t hard = std::min(now.rlim_max, value);
  const rlimit want{hard, hard};
  return errno_of(::setrlimit(resource, &want));
}

// ---- the steps, in the child: 0, an errno, or kNotAsked ----

int own_session(Plan&) { return errno_of(::setsid()); }

int default_signals(Plan&) {
  for (int s = 1; s < NSIG; ++s) {
    if (s != SIGKILL && s != SIGSTOP) ::signal(s, SIG_DFL);  // refused for the C library's own two, which are unused
  }
  sigset_t none;
  ::sigemptyset(&none);
  return errno_of(::sigprocmask(SIG_SETMASK, &none, nullptr));
}

int private_umask(Plan&) {
  ::umask(0077);
  return 0;
}

// Guests may be promised more memory than there is. Whoever must go then is a QEMU, not its supervisor, which says so,
// nor anything else of this user. Never lowered: a machine's owner may have set it higher.
int oom_score(Plan&) {
  const int fd = ::open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
  if (fd < 0) return errno;
  char now[16] = {};
  int error = errno_of(::read(fd, now, sizeof now - 1));
  if (error == 0 && ::atoi(now) < kOomScore) {
    error = errno_of(::pwrite(fd, kOomScoreText.data(), kOomScoreText.size(), 0));
  }
  ::close(fd);
  return error;
}

int root_directory(Plan&) { return errno_of(::chdir("/")); }

// Root only. Others would need a user namespace, which many containers and distributions deny them and which opens more
// of the kernel for a moment; what these two shut off, the syscall filter denies by its calls.
int network_namespace(Plan& p) { return p.uid ? errno_of(::unshare(CLONE_NEWNET)) : kNotAsked; }
int ipc_namespace(Plan& p) { return p.uid ? errno_of(::unshare(CLONE_NEWIPC)) : kNotAsked; }

int own_groups(Plan& p) { return p.uid ? errno_of(::setgroups(p.groups.size(), p.groups.data())) : kNotAsked; }
int own_gid(Plan& p) { return p.uid ? errno_of(::setresgid(*p.uid, *p.uid, *p.uid)) : kNotAsked; }
int own_uid(Plan& p) { return p.uid ? errno_of(::setresuid(*p.uid, *p.uid, *p.uid)) : kNotAsked; }

int no_core(Plan&) { return limit(RLIMIT_CORE, 0); }
int few_files(Plan&) { return limit(RLIMIT_NOFILE, 1024); }
int no_locked_memory(Plan&) { return limit(RLIMIT_MEMLOCK, 0); }
int no_message_queues(Plan&) { return limit(RLIMIT_MSGQUEUE, 0); }
// Threads count per uid, so the limit has a meaning only where the uid is QEMU's alone.
int few_threads(Plan& p) { return p.uid ? limit(RLIMIT_NPROC, 512) : kNotAsked; }

int no_new_privs(Plan&) { return errno_of(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); }

// After the uid change, which clears it. A parent that died before this line is noticed by the new parent's pid.
int parent_death_signal(Plan& p) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return errno;
  if (::getppid() != p.parent) ::_exit(125);
  return 0;
}

int landlock(Plan& p) { return p.ruleset_fd < 0 ? kNotAsked : enter_landlock(p.ruleset_fd); }

// First everything out of the way of the numbers wanted, then into place. The report's own end becomes the one after
// the last.
int descriptors(Plan& p) {
  for (std::size_t i = 0; i < p.fds.size(); ++i) {
    p.spare[i] = ::fcntl(p.fds[i].first, F_DUPFD_CLOEXEC, kFirstSpareFd);
    if (p.spare[i] < 0) return errno;
  }
  const int report = ::fcntl(p.report_fd, F_DUPFD_CLOEXEC, kFirstSpareFd);
  if (report < 0) return errno;
  p.report_fd = report;
  for (std::size_t i = 0; i < p.fds.size(); ++i) {
    if (::dup2(p.spare[i], p.fds[i].second) < 0) return errno;
  }
  if (::dup3(report, p.last_fd + 1, O_CLOEXEC) < 0) return errno;
  p.report_fd = p.last_fd + 1;
  return errno_of(::close_range(static_cast<unsigned>(p.last_fd + 2), UINT_MAX, 0));
}

int syscall_filter(Plan&) { return enter_syscall_filter(build_syscall_filter(::getpid())); }

int execute(Plan& p) {
  ::execve(p.argv[0], p.argv.data(), p.env.data());
  return errno;
}

enum class Need { required, best_effort };

struct Step {
  const char* name;
  int (*run)(Plan&);
  Need need;
};

// The jail. The order matters where a comment says so.
constexpr Step kSteps[] = {
    {"own session", own_session, Need::required},
    {"default signals", default_signals, Need::required},
    {"umask 077", private_umask, Need::required},
    {"root directory", root_directory, Need::required},
    {"oom score", oom_score, Need::best_effort},  // a uid change makes the file root's
    {"network namespace", network_namespace, Need::best_effort},
    {"ipc namespace", ipc_namespace, Need::best_effort},
    {"own groups", own_groups, Need::required},
    {"own gid", own_gid, Need::required},
    {"own uid", own_uid, Need::required},  // takes the capabilities away
    {"no core", no_core, Need::required},
    {"few files", few_files, Need::required},
    {"no locked memory", no_locked_memory, Need::required},
    {"no message queues", no_message_queues, Need::required},
    {"few threads", few_threads, Need::required},  // counts for the uid of now
    {"no_new_privs", no_new_privs, Need::required},
    {"parent-death signal", parent_death_signal, Need::required},  // a uid change clears it
    {"landlock", landlock, Need::best_effort},                     // needs no_new_privs
    {"descriptors", descriptors, Need::required},                  // closes all else, so late
    {"syscall filter", syscall_filter, Need::required},            // denies what steps above do; needs no_new_privs
    {"execve", execute, Need::required},
};
constexpr std::size_t kStepCount = std::size(kSteps);

// One record a step through the pipe; execve, when it works, sends none and closes it.
struct Record {
  int step;
  int error;
};

[[noreturn]] void run_steps(Plan& plan) {
  for (std::size_t i = 0; i < kStepCount; ++i) {
    const Record r{static_cast<int>(i), kSteps[i].run(plan)};
    if (::write(plan.report_fd, &r, sizeof r) != sizeof r) ::_exit(126);
    if (r.error > 0 && kSteps[i].need == Need::required) ::_exit(126);
  }
  ::_exit(126);
}

// ---- the parent's side ----

std::string real_path(const std::string& path) {
  std::array<char, PATH_MAX> real{};
  return ::realpath(path.c_str(), real.data()) == nullptr ? "" : real.data();
}

bool holds(const std::string& directory, const std::string& path) {
  return path == directory || path.starts_with(directory == "/" ? directory : directory + "/");
}

// Libraries and data of the program: the system's, and what belongs to it where it was installed elsewhere
// (/opt/qemu/bin/…). Of a program in ~/bin that must not be the home, nor anything else a person keeps there.
std::vector<std::string> program_paths(const std::string& program, const std::string& private_directory) {
  std::vector<std::string> paths = {"/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/urandom"};
  const std::string real = real_path(program);
  if (real.empty()) return paths;
  paths.push_back(real);
  const std::string directory = real.substr(0, real.rfind('/'));
  if (!directory.ends_with("/bin")) return paths;
  const std::string prefix = directory.substr(0, directory.size() - std::strlen("/bin"));
  const char* home = ::getenv("HOME");
  for (const char* part : {"/lib", "/lib32", "/lib64", "/libexec", "/share/qemu"}) {
    const std::string tree = real_path(prefix + part);
    if (tree.empty() || holds(tree, real_path(private_directory)) || holds(tree, real_path(home ? home : ""))) continue;
    paths.push_back(tree);
  }
  return paths;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (const auto& t : texts) out.push_back(const_cast<char*>(t.c_str()));
  out.push_back(nullptr);
  return out;
}

Result<void> check(const JailConfig& config) {
  const auto bad = [](std::string why) { return Error(ErrorCode::internal, "jail: " + std::move(why)); };
  if (config.argv.empty() || !config.argv[0].starts_with('/')) return bad("the program's path is not absolute");
  if (config.uid && ::geteuid() != 0) return bad("a uid of its own needs root");
  std::vector<int> theirs;
  for (const auto& fd : config.fds) theirs.push_back(fd.second);
  std::sort(theirs.begin(), theirs.end());
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    if (theirs[i] != static_cast<int>(i) + 3) return bad("descriptor numbers have a hole");
  }
  if (theirs.size() + 3 >= kFirstSpareFd) return bad("too many descriptors");
  return {};
}

// Where a failed step has a likely cause, what to do about it.
std::string_view hint(std::string_view step, int error) {
  const bool unmapped = error == EINVAL && (step == "own gid" || step == "own uid");
  return unmapped
             ? " (this user namespace does not map it: set ORKESTR_UID_RANGE to uids that /proc/self/uid_map names)"
             : "";
}

// What a step that was not asked for, or failed harmlessly, says in the report.
std::string why_not(const std::string& step, int error, const std::string& no_landlock) {
  if (step == "landlock") {
    return (error > 0 ? std::strerror(error) : no_landlock) + "; it can open every file that its user can";
  }
  if (error > 0) return std::strerror(error);
  return ::geteuid() == 0 ? "no uid was given" : "not started by root";
}

std::string applied_detail(const std::string& step, const JailConfig& config, int landlock_abi) {
  if (step == "own uid" || step == "own gid") return std::to_string(*config.uid);
  if (step == "own groups") return config.groups.empty() ? "none" : fmt::format("{}", fmt::join(config.groups, ","));
  if (step == "oom score") return fmt::format("at least {}", kOomScore);
  // What early versions lack (truncation, TCP, signals, abstract sockets), the syscall filter denies; stat() nothing.
  if (step == "landlock") {
    return fmt::format("ABI {}; it can still see whether a file exists, its size and times", landlock_abi);
  }
  return "";
}

// Reads records until execve closes the pipe. A record of execve means that it failed.
Result<std::vector<Record>> read_records(int fd) {
  std::vector<Record> records;
  const auto deadline = base::Deadline::after(kExecWithin);
  while (records.size() <= kStepCount) {
    pollfd p{fd, POLLIN, 0};
    const int ready = ::poll(&p, 1, deadline.poll_timeout_ms());
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) return vm_error("jail", "the program was not started within 10 s: is its disk slow?");
    Record r{};
    const ssize_t n = ::read(fd, &r, sizeof r);  // records are far below PIPE_BUF: whole or not at all
    if (n < 0 && errno == EINTR) continue;
    if (n != sizeof r) break;
    records.push_back(r);
  }
  return records;
}

}  // namespace

const JailReport::Step* JailReport::find(std::string_view name) const {
  const auto it = std::find_if(steps.begin(), steps.end(), [&](const Step& s) { return s.name == name; });
  return it == steps.end() ? nullptr : &*it;
}

std::string JailReport::to_string() const {
  std::string out;
  for (const auto& s : steps) {
    if (!out.empty()) out += "; ";
    out += s.name;
    if (!s.applied) out += ": not applied";
    if (!s.detail.empty()) out += ": " + s.detail;
  }
  return out;
}

Result<UidRange> parse_uid_range(std::string_view text) {
  if (text.empty()) return UidRange{};
  UidRange range{0, 0};
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, range.first);
  const bool dash = first.ec == std::errc() && first.ptr != end && *first.ptr == '-';
  const auto last = dash ? std::from_chars(first.ptr + 1, end, range.last) : first;
  constexpr uid_t kLowest = 1000, kHighest = 1U << 31U;
  if (dash && last.ec == std::errc() && last.ptr == end && kLowest <= range.first && range.first <= range.last &&
      range.last < kHighest) {
    return range;
  }
  return Error(ErrorCode::invalid_argument,
               fmt::format("ORKESTR_UID_RANGE is \"{}\"; it must be FIRST-LAST with {} <= FIRST <= LAST < {}, such as "
                           "700000-765535, and belong to nobody else",
                           text, kLowest, kHighest));
}

Result<UidLease> UidLease::acquire(const std::string& lock_path, UidRange range) {
  ORKESTR_TRY(auto file, base::open_at(AT_FDCWD, lock_path, O_RDWR | O_CREAT, 0600));
  // Each starts at its own place, so that many starts at once do not try the same locks.
  const std::uint64_t count = std::uint64_t{range.last} - range.first + 1;
  const auto offset = static_cast<std::uint64_t>(::getpid()) % count;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto uid = static_cast<uid_t>(range.first + (offset + i) % count);
    ORKESTR_TRY(const bool taken, base::try_lock_byte(file.get(), uid, base::LockKind::write));
    if (taken) return UidLease(std::move(file), uid);
  }
  return vm_error(
      "uid",
      fmt::format("all {} uids of {}-{} are in use by running sandboxes; set ORKESTR_UID_RANGE to a larger range",
                  count, range.first, range.last));
}

JailedProcess::~JailedProcess() {
  if (pid <= 0) return;
  kill();
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

JailedProcess::JailedProcess(JailedProcess&& other) noexcept
    : pid(std::exchange(other.pid, -1)),
      pidfd(std::move(other.pidfd)),
      stderr_fd(std::move(other.stderr_fd)),
      report(std::move(other.report)) {}

JailedProcess& JailedProcess::operator=(JailedProcess&& other) noexcept {
  std::swap(pid, other.pid);
  std::swap(pidfd, other.pidfd);
  std::swap(stderr_fd, other.stderr_fd);
  std::swap(report, other.report);
  return *this;
}

std::optional<std::string> JailedProcess::try_reap() {
  if (pid <= 0) return std::nullopt;
  int status = 0;
  const pid_t got = ::waitpid(pid, &status, WNOHANG);
  if (got == 0 || (got < 0 && errno == EINTR)) return std::nullopt;
  pid = -1;
  if (got < 0) return "an unknown status (reaped elsewhere)";
  base::ExitStatus exit;
  if (WIFSIGNALED(status)) exit.signal = WTERMSIG(status);
  if (WIFEXITED(status)) exit.code = WEXITSTATUS(status);
  return exit.to_string();
}

void JailedProcess::kill() {
  if (pid > 0 && pidfd)
    ::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
  else if (pid > 0)
    ::kill(pid, SIGKILL);  // ours and not reaped, so the number is still its own
}

Result<JailedProcess> start_jailed(const JailConfig& config) {
  ORKESTR_CHECK(check(config));
  ORKESTR_TRY(auto null, base::open_at(AT_FDCWD, "/dev/null", O_RDWR));
  ORKESTR_TRY(auto err, base::make_pipe());
  ORKESTR_TRY(auto report, base::make_pipe());
  ORKESTR_CHECK(base::set_nonblocking(err.first.get(), true));

  Plan plan;
  plan.argv = pointers(config.argv);
  plan.env = pointers(config.env);
  plan.fds = {{null.get(), 0}, {null.get(), 1}, {err.second.get(), 2}};
  plan.fds.insert(plan.fds.end(), config.fds.begin(), config.fds.end());
  plan.spare.resize(plan.fds.size());
  plan.last_fd = static_cast<int>(plan.fds.size()) - 1;
  plan.uid = config.uid;
  plan.groups = config.groups;
  plan.parent = ::getpid();
  plan.report_fd = report.second.get();

  std::string no_landlock = "switched off";
  LandlockRuleset ruleset;
  if (config.landlock) {
    LandlockRules rules{program_paths(config.argv[0], config.private_directory), config.read_fds, config.write_paths};
    rules.write_paths.push_back("/dev/null");  // QEMU probes OFD locks on it
    rules.read_paths.insert(rules.read_paths.end(), config.read_paths.begin(), config.read_paths.end());
    auto made = make_landlock_ruleset(rules);
    if (made)
      ruleset = std::move(*made);
    else
      no_landlock = made.error().message();
    plan.ruleset_fd = ruleset.fd.get();
  }

  JailedProcess process;
  process.pid = ::fork();
  if (process.pid < 0) return base::errno_error("fork", errno).with_context("start " + config.argv[0]);
  if (process.pid == 0) run_steps(plan);
  process.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  if (!process.pidfd) return base::errno_error("pidfd_open", errno);
  process.stderr_fd = std::move(err.first);
  report.second.reset();

  ORKESTR_TRY(const auto records, read_records(report.first.get()));
  for (const auto& r : records) {
    if (r.step < 0 || r.step >= static_cast<int>(kStepCount)) return Error(ErrorCode::internal, "jail: garbled report");
    const Step& step = kSteps[r.step];
    if (r.error > 0 && step.need == Need::required) {
      return vm_error("jail", fmt::format("start {}: step \"{}\" failed: {}{}", config.argv[0], step.name,
                                          std::strerror(r.error), hint(step.name, r.error)));
    }
    const bool applied = r.error == 0;
    process.report.steps.push_back(
        {step.name, applied,
         applied ? applied_detail(step.name, config, ruleset.abi) : why_not(step.name, r.error, no_landlock)});
  }
  if (records.size() != kStepCount - 1) {
    return vm_error("jail", fmt::format("start {}: the child died after step {} of {}", config.argv[0], records.size(),
                                        kStepCount));
  }
  return process;
}

}  // namespace orkestr::vm
