// The command line of QEMU, as a pure function of the machine. Golden files in tests/golden/qemu_args show it whole.
//
// Every file and socket reaches QEMU as an inherited descriptor with a fixed number, so the line is the same for every
// sandbox of a template but for its name, and QEMU's uid needs no path.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vm/accel.hpp"

namespace orkestr::vm {

// Descriptors of the process that runs QEMU. They follow 0, 1 and 2 without a hole.
enum QemuFd : int {
  kQmpFd = 3,
  kAgentFd = 4,
  kConsoleFd = 5,
  kKernelFd = 6,
  kInitrdFd = 7,
  kBaseFd = 8,
  kScratchFd = 9,
  kOverlayFd = 10,
  kLockFd = 11,  // not on the command line: held, never used
};

struct MachineConfig {
  std::string qemu = "qemu-system-x86_64";  // becomes argv[0]
  std::string sandbox_id;
  Accelerator::Kind accelerator = Accelerator::Kind::tcg;
  std::int64_t tsc_khz = 0;  // 0: the guest's kernel measures it itself
  int vcpus = 1;
  int memory_mb = 1024;
  std::string extra_kernel_args;
};

// Memory comes in steps of 128 MiB, so that few sizes need a template snapshot of their own.
int round_memory_mb(int memory_mb);

// The kernel's command line.
std::string kernel_args(const MachineConfig& machine);

// A cold boot: stopped (-S) until `cont`.
std::vector<std::string> qemu_args(const MachineConfig& machine);

}  // namespace orkestr::vm
