// The name of a template's snapshot: a digest over everything that must be the same when a guest goes on elsewhere than
// where it was saved. Another key, another snapshot; nothing is ever restored that does not match exactly.
#pragma once

#include <cstdint>
#include <string>

#include "vm/qemu_args.hpp"
#include "vm/qemu_binary.hpp"

namespace orkestr::vm {

struct SnapshotParts {
  MachineConfig machine;  // as for booting it: its whole command line counts
  QemuBuild qemu;
  std::string processor;        // processor_features()
  std::string template_digest;  // of base image, scratch disk and kernel
  std::string initramfs;        // a name that stands for its content, the agent in it and its wire generation
  std::string preparation;      // what the guest does before it is saved
  std::uint64_t disk_bytes = 0;
};

// 64 hex digits. Pure.
std::string snapshot_key(SnapshotParts parts);

// The processor of this host as far as guests can see it: vendor, model and feature bits.
std::string processor_features();

}  // namespace orkestr::vm
