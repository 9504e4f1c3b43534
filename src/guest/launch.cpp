#include "guest/launch.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <string_view>

#include "base/system.hpp"

namespace orkestr::guest {
namespace {

enum class Step { session, descriptors, terminal, user, directory, execute };

// All that the child needs, made before it exists: between clone and execve it may neither allocate nor lock.
struct Plan {
  const LaunchRequest* request;
  char* const* argv;
  char* const* envp;
  const char* const* programs;  // candidates, null-terminated
  Step step = Step::session;    // where the child is; after the clone: where it failed
  int failure = 0;              // errno, 0 when it runs
};

// What systemd gives a service: programs that use select(2) stay safe, those that need more raise it themselves.
constexpr rlimit kFileLimit{1024, 524288};

// No instrumentation: it runs on a stack that no sanitizer knows, in memory borrowed from its parent.
#define ORKESTR_BARE __attribute__((noinline, no_sanitize("address", "undefined", "thread"), no_stack_protector))

ORKESTR_BARE int fail(Plan* plan) {
  plan->failure = errno;
  return 127;
}

// Raw calls: glibc's would ask every thread of this memory to change as well, and the agent is one of them.
ORKESTR_BARE bool become(const LaunchRequest& request) {
  return ::syscall(SYS_setgroups, request.groups.size(), request.groups.data()) == 0 &&
         ::syscall(SYS_setresgid, request.gid, request.gid, request.gid) == 0 &&
         ::syscall(SYS_setresuid, request.uid, request.uid, request.uid) == 0;
}

ORKESTR_BARE int child_main(Plan* plan) {
  const LaunchRequest& request = *plan->request;
  std::uint64_t no_signals = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, nullptr, sizeof no_signals);
  if (::setsid() < 0) return fail(plan);
  plan->step = Step::descriptors;
  for (int i = 0; i < 3; ++i) {
    if (::dup2(request.standard[i], i) < 0) return fail(plan);
  }
  plan->step = Step::terminal;
  if (request.terminal && ::ioctl(0, TIOCSCTTY, 0) != 0) return fail(plan);
  if (request.is_init) ::syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &kFileLimit, nullptr);
  plan->step = Step::user;
  if (request.switch_user && !become(request)) return fail(plan);
  plan->step = Step::directory;
  if (::chdir(request.cwd.c_str()) != 0) return fail(plan);
  plan->step = Step::execute;
  int result = ENOENT;
  for (const char* const* program = plan->programs; *program != nullptr; ++program) {
    ::syscall(SYS_execve, *program, plan->argv, plan->envp);
    // As execvp(3): a candidate that may not be executed is remembered, one that is not there is passed over.
    if (errno == EACCES) result = EACCES;
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) {
      result = errno;
      break;
    }
  }
  errno = result;
  return fail(plan);
}

// clone3 with a stack of the child's own: with the caller's, the child's calls would overwrite the frames its parent
// returns to. There is no glibc wrapper, and vfork(2) cannot start a child in a cgroup.
ORKESTR_BARE long clone_and_run(clone_args* args, Plan* plan) {
#if !defined(__x86_64__)
#error "guest agent: x86-64 only"
#endif
  long result;
  register int (*entry)(Plan*) __asm__("r8") = &child_main;
  register Plan* argument __asm__("r9") = plan;
  __asm__ volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r9, %%rdi\n\t"
      "call *%%r8\n\t"
      "mov %%eax, %%edi\n\t"
      "mov %[exit], %%eax\n\t"
      "syscall\n\t"
      "hlt\n"
      "1:"
      : "=a"(result)
      : "0"(SYS_clone3), "D"(args), "S"(sizeof *args), "r"(entry), "r"(argument), [exit] "i"(SYS_exit)
      : "rcx", "r11", "memory", "cc");
  return result;
}

std::string_view path_of(const std::vector<std::string>& env) {
  std::string_view path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (std::string_view entry : env) {
    if (entry.substr(0, 5) == "PATH=") path = entry.substr(5);
  }
  return path;
}

std::vector<std::string> candidates_of(const LaunchRequest& request) {
  const std::string& name = request.argv.front();
  if (name.empty() || name.find('/') != std::string::npos) return {name};
  std::vector<std::string> candidates;
  std::string_view rest = path_of(request.env);
  while (true) {
    const std::size_t colon = rest.find(':');
    const std::string_view dir = rest.substr(0, colon);
    candidates.push_back(dir.empty() ? name : fmt::format("{}/{}", dir, name));
    if (colon == std::string_view::npos) return candidates;
    rest.remove_prefix(colon + 1);
  }
}

std::vector<char*> pointers_to(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

Error execute_error(const LaunchRequest& request, int err) {
  const std::string& name = request.argv.front();
  const bool searched = name.find('/') == std::string::npos;
  switch (err) {
    case ENOENT:
      if (searched) {
        return Error(ErrorCode::file_not_found,
                     fmt::format("cannot run '{}': no such program on PATH ({})", name, path_of(request.env)));
      }
      if (::access(name.c_str(), F_OK) == 0) {
        return Error(ErrorCode::file_not_found,
                     fmt::format("cannot run '{}': the file is there, but the interpreter or dynamic loader it "
                                 "names is not",
                                 name));
      }
      return Error(ErrorCode::file_not_found, fmt::format("cannot run '{}': no such file", name));
    case ENOEXEC:
      return Error(ErrorCode::invalid_argument,
                   fmt::format("cannot run '{}': neither a program of this machine nor a script with a #! line", name));
    case E2BIG:
      return Error(ErrorCode::invalid_argument,
                   fmt::format("cannot run '{}': arguments and environment are too long together", name));
    case EACCES:
      return Error(ErrorCode::not_permitted,
                   fmt::format("cannot run '{}': not executable, or a directory on the way may not be entered", name));
    default:
      return base::errno_error(fmt::format("cannot run '{}'", name), err);
  }
}

Error explain(const LaunchRequest& request, const Plan& plan) {
  switch (plan.step) {
    case Step::session:
      return base::errno_error("setsid", plan.failure);
    case Step::descriptors:
      return base::errno_error("dup2 of the command's standard descriptors", plan.failure);
    case Step::terminal:
      return base::errno_error("take the terminal as the controlling one", plan.failure);
    case Step::user:
      return base::errno_error(fmt::format("cannot run as user {} group {}", request.uid, request.gid), plan.failure);
    case Step::directory:
      return base::errno_error(fmt::format("cannot run in directory '{}'", request.cwd), plan.failure);
    case Step::execute:
      break;
  }
  return execute_error(request, plan.failure);
}

alignas(64) char g_child_stack[64U << 10U];  // one child at a time: the parent waits until it has executed

}  // namespace

Result<pid_t> launch(const LaunchRequest& request) {
  const std::vector<std::string> programs = candidates_of(request);
  const std::vector<char*> argv = pointers_to(request.argv);
  const std::vector<char*> envp = pointers_to(request.env);
  const std::vector<char*> candidates = pointers_to(programs);
  Plan plan{&request, argv.data(), envp.data(), candidates.data()};

  clone_args args{};
  args.flags = CLONE_VM | CLONE_VFORK;
  args.exit_signal = SIGCHLD;
  args.stack = reinterpret_cast<std::uint64_t>(g_child_stack);
  args.stack_size = sizeof g_child_stack;
  if (request.cgroup_fd >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<std::uint64_t>(request.cgroup_fd);
  }
  const long pid = clone_and_run(&args, &plan);
  if (pid < 0) return base::errno_error(fmt::format("clone3 for '{}'", request.argv.front()), static_cast<int>(-pid));
  if (plan.failure != 0) return explain(request, plan);  // the failed child is reaped like any orphan
  return static_cast<pid_t>(pid);
}

}  // namespace orkestr::guest
