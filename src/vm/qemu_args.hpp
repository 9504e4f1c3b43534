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
  kMemoryFd = 6,
  kBaseFd = 7,
  kScratchFd = 8,
  kOverlayFd = 9,
  // From here on by how the guest begins; behind them come those that are not on the command line.
  kKernelFd = 10,  // boot
  kInitrdFd = 11,
  kDevicesFd = 10,  // saved state: named by `migrate-incoming`
  kLayerFd = 11,    // where the snapshot has a disk of its own
};

// The machine as the guest sees it: what a saved guest's devices must find again. It counts up when a device is added,
// moved or taken away; what an older one looked like stays in qemu_args(), for sandboxes that were paused on it.
constexpr int kMachineRevision = 1;

// Where the guest begins: at its kernel, or where it was saved.
enum class StartFrom { boot, saved_state };

struct MachineConfig {
  std::string qemu = "qemu-system-x86_64";  // becomes argv[0]
  std::string sandbox_id;
  Accelerator::Kind accelerator = Accelerator::Kind::tcg;
  std::int64_t tsc_khz = 0;  // 0: the guest's kernel measures it itself
  int vcpus = 1;
  int memory_mb = 1024;
  std::string extra_kernel_args;
  StartFrom start_from = StartFrom::boot;
  bool layered = false;  // the disk has a layer between the template's scratch image and the sandbox's own overlay
  // QEMU since 8.2 maps a read-only file privately (rom=off). An older one opens it for writing, unless the preload
  // (vm/preload) makes it think better of that.
  bool read_only_memory = false;
};

// Memory comes in steps of 128 MiB, so that few sizes need a template snapshot of their own.
int round_memory_mb(int memory_mb);

// The kernel's command line.
std::string kernel_args(const MachineConfig& machine);

// Stopped (-S) until `cont`; from saved state, once that was loaded by `migrate-incoming`.
std::vector<std::string> qemu_args(const MachineConfig& machine);

}  // namespace orkestr::vm
