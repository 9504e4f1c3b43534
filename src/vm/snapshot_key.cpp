#include "vm/snapshot_key.hpp"

#include <cpuid.h>
#include <fmt/format.h>

#include "base/sha256.hpp"

namespace orkestr::vm {
namespace {

// Counts up when what is saved, or how, is not what this code understands any more.
constexpr int kSnapshotFormat = 1;

}  // namespace

std::string snapshot_key(SnapshotParts parts) {
  parts.machine.sandbox_id = "template";
  std::string text =
      fmt::format("format {}\nmachine {}\nqemu {} {}\nprocessor {}\ntemplate {}\ninitramfs {}\ndisk {}\n",
                  kSnapshotFormat, kMachineRevision, parts.qemu.version, parts.qemu.identity, parts.processor,
                  parts.template_digest, parts.initramfs, parts.disk_bytes);
  for (const auto& argument : qemu_args(parts.machine)) text += argument + "\n";
  text += parts.preparation;
  return base::sha256_hex(text);
}

std::string processor_features() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  std::string text;
  __cpuid(0, a, b, c, d);
  text += fmt::format("{:08x}{:08x}{:08x}", b, c, d);
  __cpuid(1, a, b, c, d);
  text += fmt::format(" {:08x} {:08x} {:08x}", a, c & ~(1U << 27U), d);  // OSXSAVE is the kernel's, not the processor's
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) text += fmt::format(" {:08x} {:08x} {:08x}", b, c, d);
  __cpuid(0x80000001U, a, b, c, d);
  text += fmt::format(" {:08x} {:08x}", c, d);
  return text;
}

}  // namespace orkestr::vm
