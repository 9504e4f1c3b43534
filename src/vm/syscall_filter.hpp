// A seccomp filter of our own around QEMU: what no machine of ours asks of the kernel is refused with EPERM.
//
// It closes what Landlock leaves open to whoever runs under a person's own uid: sockets, signals, the mode of files.
// It is a list of what is denied, not of what is allowed, so that another QEMU or C library does not die of it; QEMU's
// own filter (-sandbox) comes on top.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include <array>
#include <cstddef>

namespace orkestr::vm {

struct SyscallFilter {
  static constexpr std::size_t kRoom = 1024;  // the kernel's own limit is 4096
  std::array<sock_filter, kRoom> code{};
  unsigned short size = 0;
};

// For the process `self`, which keeps its number through execve: signals and limits for itself stay possible.
// Async-signal-safe, so that a child can build it after fork.
SyscallFilter build_syscall_filter(pid_t self) noexcept;

// For the caller and all that it starts, for good. Async-signal-safe. 0 or an errno. Needs no_new_privs.
int enter_syscall_filter(const SyscallFilter& filter) noexcept;

}  // namespace orkestr::vm
