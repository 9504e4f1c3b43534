// The filter's program, run here as the kernel would; and in a child that has entered it, where the kernel does.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "base/system.hpp"
#include "vm/syscall_filter.hpp"
#include "vm_test_support.hpp"

using namespace orkestr::vm;

namespace {

constexpr pid_t kSelf = 4242;
constexpr long kAllowed = 0;

struct Call {
  long number;
  std::vector<long> arguments;
  long expected;  // kAllowed or an errno
};

// Classic BPF, as far as the filter has it.
std::uint32_t run(const SyscallFilter& filter, const seccomp_data& data) {
  std::uint32_t a = 0;
  for (std::size_t pc = 0; pc < filter.size; ++pc) {
    const sock_filter& in = filter.code[pc];
    switch (in.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        REQUIRE(in.k + sizeof a <= sizeof data);
        std::memcpy(&a, reinterpret_cast<const char*>(&data) + in.k, sizeof a);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= in.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        pc += a == in.k ? in.jt : in.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        pc += a > in.k ? in.jt : in.jf;
        break;
      case BPF_RET | BPF_K:
        return in.k;
      default:
        FAIL("an instruction that no rule makes: ", in.code);
    }
  }
  FAIL("the program has no end");
  return 0;
}

long answer(const Call& call, std::uint32_t arch = AUDIT_ARCH_X86_64) {
  seccomp_data data{};
  data.nr = static_cast<int>(call.number);
  data.arch = arch;
  for (std::size_t i = 0; i < call.arguments.size(); ++i) {
    data.args[i] = static_cast<std::uint64_t>(call.arguments[i]);
  }
  const std::uint32_t got = run(build_syscall_filter(kSelf), data);
  if (got == SECCOMP_RET_ALLOW) return kAllowed;
  REQUIRE((got & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO);
  return static_cast<long>(got & SECCOMP_RET_DATA);
}

}  // namespace

TEST_CASE("syscall filter: what QEMU lives on is allowed") {
  for (const long number : {SYS_read,      SYS_write,         SYS_pread64,     SYS_preadv,
                            SYS_pwritev,   SYS_ppoll,         SYS_futex,       SYS_mmap,
                            SYS_munmap,    SYS_madvise,       SYS_mprotect,    SYS_brk,
                            SYS_recvmsg,   SYS_sendmsg,       SYS_getsockopt,  SYS_getsockname,
                            SYS_eventfd2,  SYS_epoll_create1, SYS_epoll_ctl,   SYS_epoll_wait,
                            SYS_signalfd4, SYS_rt_sigaction,  SYS_ftruncate,   SYS_fallocate,
                            SYS_fdatasync, SYS_lseek,         SYS_close,       SYS_dup,
                            SYS_execve,    SYS_exit_group,    SYS_seccomp,     SYS_set_robust_list,
                            SYS_getpid,    SYS_fork,          SYS_memfd_create}) {
    CAPTURE(number);
    CHECK(answer({number, {}, kAllowed}) == kAllowed);
  }
}

TEST_CASE("syscall filter: where the arguments decide") {
  constexpr long kKvmRun = 0xae80;
  constexpr long kX32 = 0x40000000;
  const Call calls[] = {
      {SYS_ioctl, {5, kKvmRun}, kAllowed},
      {SYS_ioctl, {5, FIOSETOWN}, EPERM},
      {SYS_ioctl, {5, SIOCSPGRP}, EPERM},
      {SYS_ioctl, {5, TIOCSTI}, EPERM},
      {SYS_ioctl, {5, static_cast<long>(FS_IOC_SETFLAGS)}, EPERM},
      {SYS_fcntl, {5, F_OFD_SETLK}, kAllowed},
      {SYS_fcntl, {5, F_DUPFD_CLOEXEC}, kAllowed},
      {SYS_fcntl, {5, F_SETOWN}, EPERM},
      {SYS_fcntl, {5, F_SETOWN_EX}, EPERM},
      {SYS_openat, {AT_FDCWD, 0, O_RDWR | O_CLOEXEC}, kAllowed},
      {SYS_openat, {AT_FDCWD, 0, O_WRONLY | O_CREAT | O_TRUNC}, kAllowed},  // Landlock's to deny, in every version
      {SYS_openat, {AT_FDCWD, 0, O_RDONLY | O_TRUNC}, EPERM},
      {SYS_open, {0, O_RDONLY | O_TRUNC | O_CLOEXEC}, EPERM},
      {SYS_openat2, {}, ENOSYS},
      {SYS_clone, {CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD}, kAllowed},
      {SYS_clone, {CLONE_NEWUSER | SIGCHLD}, EPERM},
      {SYS_clone, {CLONE_NEWNET | SIGCHLD}, EPERM},
      {SYS_clone3, {}, ENOSYS},
      {SYS_tgkill, {kSelf, kSelf + 1, SIGUSR1}, kAllowed},
      {SYS_tgkill, {kSelf + 1, kSelf + 1, SIGUSR1}, EPERM},
      {SYS_tkill, {kSelf, SIGUSR1}, EPERM},  // a thread's number says nothing of its process
      {SYS_kill, {kSelf, SIGTERM}, kAllowed},
      {SYS_kill, {0, SIGTERM}, kAllowed},  // its own group, which own_session() made
      {SYS_kill, {1, SIGTERM}, EPERM},
      {SYS_kill, {-1, SIGKILL}, EPERM},
      {SYS_kill, {-kSelf, SIGKILL}, EPERM},
      {SYS_rt_sigqueueinfo, {1}, EPERM},
      {SYS_prlimit64, {0}, kAllowed},
      {SYS_prlimit64, {kSelf}, kAllowed},
      {SYS_prlimit64, {1}, EPERM},
      {SYS_prctl, {PR_SET_NAME}, kAllowed},
      {SYS_prctl, {PR_SET_TIMERSLACK}, kAllowed},
      {SYS_prctl, {PR_SET_SECCOMP}, kAllowed},
      {SYS_prctl, {PR_SET_PDEATHSIG}, EPERM},
      {SYS_prctl, {PR_SET_DUMPABLE}, EPERM},
      {452, {}, EPERM},     // fchmodat2
      {462, {}, kAllowed},  // mseal
      {463, {}, ENOSYS},    // setxattrat
      {469, {}, ENOSYS},    // file_setattr
      {100000, {}, ENOSYS},
      {-1, {}, ENOSYS},
      {kX32 | SYS_read, {}, ENOSYS},
      {kX32 | SYS_socket, {}, ENOSYS},
  };
  for (const Call& call : calls) {
    CAPTURE(call.number);
    CAPTURE(call.arguments.size());
    CHECK(answer(call) == call.expected);
  }
  // The upper half of an argument cannot hide the lower from it, nor the other way round.
  CHECK(answer({SYS_prctl, {(7L << 32) | PR_SET_PDEATHSIG}, 0}) == EPERM);
  CHECK(answer({SYS_kill, {(1L << 32) | 1}, 0}) == EPERM);
  CHECK(answer({SYS_read, {}, 0}, AUDIT_ARCH_I386) == EPERM);
  CHECK(answer({20, {}, 0}, AUDIT_ARCH_I386) == EPERM);  // its getpid is our writev
}

namespace {

// In a child that has entered the filter: the errno, or 0.
struct Attempt {
  const char* what;
  long (*make)(const std::string& directory);
  long expected;
};

long of(long result) { return result < 0 ? errno : 0; }

void* no_work(void*) { return nullptr; }

long make_thread(const std::string&) {
  pthread_t thread;
  const int error = ::pthread_create(&thread, nullptr, no_work, nullptr);
  if (error == 0) ::pthread_join(thread, nullptr);
  return error;
}

long make_process(const std::string&) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  return of(::waitpid(child, nullptr, 0));
}

// Each would work without the filter, at least for root.
const Attempt kAttempts[] = {
    {"a thread", make_thread, 0},
    {"a process", make_process, 0},
    {"a signal to itself", [](const std::string&) { return of(::kill(::getpid(), 0)); }, 0},
    {"raise", [](const std::string&) { return of(::raise(SIGURG)); }, 0},
    {"its own limit",
     [](const std::string&) {
       rlimit now{};
       return of(::getrlimit(RLIMIT_NOFILE, &now));
     },
     0},
    {"open to read", [](const std::string& d) { return of(::open((d + "/file").c_str(), O_RDONLY)); }, 0},
    {"open to read, truncating",
     [](const std::string& d) { return of(::open((d + "/file").c_str(), O_RDONLY | O_TRUNC)); }, EPERM},
    {"a signal to its parent", [](const std::string&) { return of(::kill(::getppid(), 0)); }, EPERM},
    {"a signal to all", [](const std::string&) { return of(::kill(-1, 0)); }, EPERM},
    {"pidfd", [](const std::string&) { return of(::syscall(SYS_pidfd_open, ::getppid(), 0)); }, EPERM},
    {"its parent's limit",
     [](const std::string&) {
       rlimit now{};
       return of(::prlimit(::getppid(), RLIMIT_NOFILE, nullptr, &now));
     },
     EPERM},
    {"no signal at its parent's death", [](const std::string&) { return of(::prctl(PR_SET_PDEATHSIG, 0)); }, EPERM},
    {"a socket", [](const std::string&) { return of(::socket(AF_UNIX, SOCK_STREAM, 0)); }, EPERM},
    {"a pair of sockets",
     [](const std::string&) {
       int both[2];
       return of(::socketpair(AF_UNIX, SOCK_DGRAM, 0, both));
     },
     EPERM},
    {"chmod", [](const std::string& d) { return of(::chmod((d + "/file").c_str(), 0600)); }, EPERM},
    {"truncate", [](const std::string& d) { return of(::truncate((d + "/file").c_str(), 0)); }, EPERM},
    {"rename", [](const std::string& d) { return of(::rename((d + "/file").c_str(), (d + "/other").c_str())); }, EPERM},
    {"unlink", [](const std::string& d) { return of(::unlink((d + "/file").c_str())); }, EPERM},
    {"mkdir", [](const std::string& d) { return of(::mkdir((d + "/new").c_str(), 0700)); }, EPERM},
    {"a user namespace", [](const std::string&) { return of(::unshare(CLONE_NEWUSER)); }, EPERM},
    {"a process in a user namespace",
     [](const std::string&) { return of(::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)); }, EPERM},
    {"shared memory", [](const std::string&) { return of(::syscall(SYS_shmget, 0, 4096, 0600)); }, EPERM},
    {"io_uring",
     [](const std::string&) {
       char parameters[256] = {};
       return of(::syscall(SYS_io_uring_setup, 1, parameters));
     },
     EPERM},
};

}  // namespace

TEST_CASE("syscall filter: the kernel takes it, and answers as it says") {
  test::TemporaryDirectory dir;
  REQUIRE(orkestr::base::write_file_atomic(dir.path + "/file", "content", 0644));
  auto pipe = orkestr::base::make_pipe();
  REQUIRE(pipe);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const bool entered =
        ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && enter_syscall_filter(build_syscall_filter(::getpid())) == 0;
    for (const Attempt& attempt : kAttempts) {
      const long got = attempt.make(dir.path);
      if (!entered || got != attempt.expected) ::dprintf(pipe->second.get(), "%s: %ld\n", attempt.what, got);
    }
    ::_exit(0);
  }
  pipe->second.reset();
  CHECK(test::read_to_end(pipe->first.get()) == "");
  CHECK(::waitpid(child, nullptr, 0) == child);
  CHECK(*orkestr::base::read_file(dir.path + "/file") == "content");
}
