#include "vm/syscall_filter.hpp"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace orkestr::vm {
namespace {

// Debian 12's headers end at 450.
constexpr unsigned kSysFchmodat2 = 452;
constexpr unsigned kSysMseal = 462;

enum class If {
  always,
  equal,         // (argument & mask) == value
  any_bit,       // (argument & mask) != 0
  other_process  // the argument is a pid, and neither 0 nor our own
};

struct Rule {
  unsigned call;
  If when = If::always;
  unsigned argument = 0;
  std::uint32_t mask = UINT32_MAX;
  std::uint32_t value = 0;
  int error = EPERM;
};

constexpr Rule equal(unsigned call, unsigned argument, std::uint32_t value) {
  return {call, If::equal, argument, UINT32_MAX, value};
}
constexpr Rule other_process(unsigned call) { return {call, If::other_process}; }
// As on a kernel that does not have it: the C library then takes the call before, whose arguments can be seen.
constexpr Rule missing(unsigned call) { return {call, If::always, 0, UINT32_MAX, 0, ENOSYS}; }

// Truncates what may only be read, where Landlock does not know truncation (before ABI 3).
constexpr Rule truncating_read(unsigned call, unsigned argument) {
  return {call, If::equal, argument, O_ACCMODE | O_TRUNC, O_RDONLY | O_TRUNC};
}

constexpr std::uint32_t kNewNamespace =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

// Only the low half of an argument is looked at: all of these are 32 bits wide in the kernel.
constexpr Rule kRules[] = {
    // Those that are often made and allowed come first: for all others the kernel (since 5.11) knows the answer from
    // the number alone and runs no filter.
    equal(SYS_ioctl, 1, FIOSETOWN),  // signals to the owner of a descriptor
    equal(SYS_ioctl, 1, SIOCSPGRP),
    equal(SYS_ioctl, 1, TIOCSTI),
    equal(SYS_ioctl, 1, FS_IOC_SETFLAGS),
    equal(SYS_ioctl, 1, FS_IOC_FSSETXATTR),
    other_process(SYS_tgkill),
    equal(SYS_fcntl, 1, F_SETOWN),
    equal(SYS_fcntl, 1, F_SETOWN_EX),
    truncating_read(SYS_openat, 2),
    truncating_read(SYS_open, 1),
    missing(SYS_openat2),
    {SYS_clone, If::any_bit, 0, kNewNamespace},
    missing(SYS_clone3),

    // Other processes of the same user. (fork and execve are QEMU's own filter's to deny: what starts QEMU may be a
    // script.)
    other_process(SYS_kill),
    {SYS_tkill},
    other_process(SYS_rt_sigqueueinfo),
    other_process(SYS_rt_tgsigqueueinfo),
    {SYS_pidfd_open},
    {SYS_pidfd_getfd},
    {SYS_pidfd_send_signal},
    other_process(SYS_prlimit64),
    {SYS_setpriority},
    {SYS_ioprio_set},
    {SYS_sched_setparam},
    {SYS_sched_setscheduler},
    {SYS_sched_setaffinity},
    {SYS_sched_setattr},
    {SYS_ptrace},
    {SYS_process_vm_readv},
    {SYS_process_vm_writev},
    {SYS_process_madvise},
    {SYS_process_mrelease},
    {SYS_move_pages},
    {SYS_migrate_pages},
    {SYS_kcmp},
    // Outliving the supervisor, and hiding from its look at what QEMU holds.
    equal(SYS_prctl, 0, PR_SET_PDEATHSIG),
    equal(SYS_prctl, 0, PR_SET_DUMPABLE),
    equal(SYS_prctl, 0, PR_SET_PTRACER),

    // Sockets: those that QEMU has are inherited and connected. A pair of datagram sockets would reach any address.
    {SYS_socket},
    {SYS_socketpair},
    {SYS_connect},
    {SYS_bind},
    {SYS_listen},
    {SYS_accept},
    {SYS_accept4},

    // Files, as far as Landlock does not know it, or is not there.
    {SYS_chmod},
    {SYS_fchmod},
    {SYS_fchmodat},
    {kSysFchmodat2},
    {SYS_chown},
    {SYS_fchown},
    {SYS_lchown},
    {SYS_fchownat},
    {SYS_truncate},
    {SYS_creat},
    {SYS_rename},
    {SYS_renameat},
    {SYS_renameat2},
    {SYS_unlink},
    {SYS_unlinkat},
    {SYS_rmdir},
    {SYS_link},
    {SYS_linkat},
    {SYS_symlink},
    {SYS_symlinkat},
    {SYS_mkdir},
    {SYS_mkdirat},
    {SYS_mknod},
    {SYS_mknodat},
    {SYS_utime},
    {SYS_utimes},
    {SYS_futimesat},
    {SYS_utimensat},
    {SYS_setxattr},
    {SYS_lsetxattr},
    {SYS_fsetxattr},
    {SYS_removexattr},
    {SYS_lremovexattr},
    {SYS_fremovexattr},
    {SYS_name_to_handle_at},
    {SYS_open_by_handle_at},
    {SYS_fanotify_init},

    // Shared memory, semaphores and queues of other processes.
    {SYS_shmget},
    {SYS_shmat},
    {SYS_shmctl},
    {SYS_semget},
    {SYS_semop},
    {SYS_semtimedop},
    {SYS_semctl},
    {SYS_msgget},
    {SYS_msgsnd},
    {SYS_msgrcv},
    {SYS_msgctl},
    {SYS_mq_open},
    {SYS_mq_unlink},

    // Namespaces and mounts.
    {SYS_unshare},
    {SYS_setns},
    {SYS_mount},
    {SYS_umount2},
    {SYS_pivot_root},
    {SYS_chroot},
    {SYS_open_tree},
    {SYS_move_mount},
    {SYS_fsopen},
    {SYS_fsconfig},
    {SYS_fsmount},
    {SYS_fspick},
    {SYS_mount_setattr},

    // Large and young parts of the kernel that no machine of ours uses. (QEMU has epoll where it has no io_uring.)
    {SYS_io_uring_setup},
    {SYS_io_uring_enter},
    {SYS_io_uring_register},
    {SYS_bpf},
    {SYS_userfaultfd},
    {SYS_perf_event_open},
    {SYS_add_key},
    {SYS_request_key},
    {SYS_keyctl},
    {SYS_memfd_secret},
};

constexpr std::size_t kFrame = 7;    // before and after the rules
constexpr std::size_t kPerRule = 6;  // at most
static_assert(kFrame + kPerRule * std::size(kRules) <= SyscallFilter::kRoom);

constexpr std::uint32_t answer(int error) { return SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error); }

class Writer {
 public:
  explicit Writer(SyscallFilter& filter) : filter_(filter) {}

  void load(std::size_t offset) { add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)); }
  void load_argument(unsigned n) { load(offsetof(seccomp_data, args) + std::size_t{8} * n); }
  void mask(std::uint32_t bits) { add(BPF_ALU | BPF_AND | BPF_K, bits); }
  void ret(std::uint32_t value) { add(BPF_RET | BPF_K, value); }
  // How many instructions are skipped when it holds, and when it does not.
  void if_equal(std::uint32_t value, unsigned yes, unsigned no) { jump(BPF_JEQ, value, yes, no); }
  void if_above(std::uint32_t value, unsigned yes, unsigned no) { jump(BPF_JGT, value, yes, no); }

 private:
  void jump(unsigned test, std::uint32_t value, unsigned yes, unsigned no) {
    add(BPF_JMP | BPF_K | test, value, yes, no);
  }
  void add(unsigned code, std::uint32_t k, unsigned yes = 0, unsigned no = 0) {
    filter_.code[filter_.size++] = {static_cast<unsigned short>(code), static_cast<unsigned char>(yes),
                                    static_cast<unsigned char>(no), k};
  }
  SyscallFilter& filter_;
};

// Before and after it the accumulator holds the call's number, which one call's further rules need again.
void add_rule(Writer& w, const Rule& rule, pid_t self) {
  switch (rule.when) {
    case If::always:
      w.if_equal(rule.call, 0, 1);
      w.ret(answer(rule.error));
      return;
    case If::equal:
    case If::any_bit: {
      const bool equal = rule.when == If::equal;
      w.if_equal(rule.call, 0, 5);
      w.load_argument(rule.argument);
      w.mask(rule.mask);
      w.if_equal(equal ? rule.value : 0, equal ? 0 : 1, equal ? 1 : 0);
      w.ret(answer(rule.error));
      break;
    }
    case If::other_process:
      w.if_equal(rule.call, 0, 5);
      w.load_argument(rule.argument);
      w.if_equal(0, 2, 0);
      w.if_equal(static_cast<std::uint32_t>(self), 1, 0);
      w.ret(answer(rule.error));
      break;
  }
  w.load(offsetof(seccomp_data, nr));
}

}  // namespace

SyscallFilter build_syscall_filter(pid_t self) noexcept {
  SyscallFilter filter;
  Writer w(filter);
  w.load(offsetof(seccomp_data, arch));
  w.if_equal(AUDIT_ARCH_X86_64, 1, 0);
  w.ret(answer(EPERM));  // int 0x80: calls with other numbers
  w.load(offsetof(seccomp_data, nr));
  // What was added to Linux after this list was written, as on a kernel without it; and the calls of x32.
  w.if_above(kSysMseal, 0, 1);
  w.ret(answer(ENOSYS));
  for (const Rule& rule : kRules) add_rule(w, rule, self);
  w.ret(SECCOMP_RET_ALLOW);
  return filter;
}

int enter_syscall_filter(const SyscallFilter& filter) noexcept {
  sock_fprog program{};
  program.len = filter.size;
  program.filter = const_cast<sock_filter*>(filter.code.data());  // which the kernel copies
  return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0 ? 0 : errno;
}

}  // namespace orkestr::vm
