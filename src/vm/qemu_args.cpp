#include "vm/qemu_args.hpp"

#include <fmt/format.h>

#include <string_view>

namespace orkestr::vm {
namespace {

using Args = std::vector<std::string>;

void add(Args& args, std::initializer_list<std::string> more) { args.insert(args.end(), more); }

// fdset numbers; they only name the file in the -blockdev that follows.
enum FdSet : int { kBaseSet = 1, kScratchSet = 2, kOverlaySet = 3, kLayerSet = 4 };

enum class Access { read_only, read_write };

// The protocol layer of a disk. locking=on: a second writer of an overlay is refused, readers share.
void add_file(Args& args, std::string_view node, int fd, FdSet set, Access access) {
  add(args, {"-add-fd", fmt::format("fd={},set={}", fd, static_cast<int>(set))});
  add(args, {"-blockdev",
             fmt::format("driver=file,node-name={},filename=/dev/fdset/{},read-only={},auto-read-only=off,locking=on,"
                         "aio=threads,discard=unmap,cache.direct=off,cache.no-flush=off",
                         node, static_cast<int>(set), access == Access::read_only ? "on" : "off")});
}

void add_base_disk(Args& args) {
  add_file(args, "base-f", kBaseFd, kBaseSet, Access::read_only);
  add(args, {"-blockdev", "driver=raw,node-name=base,file=base-f,read-only=on"});
  add(args, {"-device", "virtio-blk-device,id=d-base,drive=base,serial=base"});
}

// Formats are explicit everywhere: a guest that writes a qcow2 header into its raw disk must not have it believed.
void add_scratch_disk(Args& args, bool layered) {
  add_file(args, "L0-f", kScratchFd, kScratchSet, Access::read_only);
  add(args, {"-blockdev", "driver=raw,node-name=L0,file=L0-f,read-only=on"});
  if (layered) {
    add_file(args, "L1-f", kLayerFd, kLayerSet, Access::read_only);
    add(args, {"-blockdev", "driver=qcow2,node-name=L1,file=L1-f,backing=L0,read-only=on"});
  }
  add_file(args, "top-f", kOverlayFd, kOverlaySet, Access::read_write);
  add(args, {"-blockdev", fmt::format("driver=qcow2,node-name=top,file=top-f,backing={},read-only=off,discard=unmap",
                                      layered ? "L1" : "L0")});
  add(args, {"-device", "virtio-blk-device,id=d-scratch,drive=top,serial=scratch"});
}

void add_machine(Args& args, const MachineConfig& m) {
  const bool tcg = m.accelerator == Accelerator::Kind::tcg;
  const int memory_mb = round_memory_mb(m.memory_mb);
  // acpi=on: Debian's kernel finds virtio-mmio and further CPUs only there. pit and pic: no boot without them under
  // TCG.
  add(args,
      {"-M",
       "microvm,acpi=on,pit=on,pic=on,rtc=on,x-option-roms=off,isa-serial=on,suppress-vmdesc=on,memory-backend=m"});
  // Below 32 MiB of translations Python starts three times slower; the default cap is 1 GiB a sandbox.
  add(args, {"-accel", tcg ? "tcg,thread=multi,tb-size=64" : "kvm"});
  // rep movsb is slow when translated: without erms the guest's memcpy takes another path, twice as fast. With smap
  // each access to a user's memory ends a translated block.
  add(args, {"-cpu", tcg ? "max,-erms,-smap" : "host"});
  add(args, {"-smp", std::to_string(m.vcpus)});
  add(args, {"-m", std::to_string(memory_mb)});
  // Private in every case: what the guest writes are anonymous pages of this QEMU, which is how they are found again.
  add(args,
      {"-object", fmt::format("memory-backend-file,id=m,size={}M,mem-path=/proc/self/fd/{},share=off{}", memory_mb,
                              static_cast<int>(kMemoryFd), m.read_only_memory ? ",readonly=on,rom=off" : "")});
  // Saved are the devices alone, without the parts of a migration stream that name QEMU's build or what it was doing.
  add(args, {"-global", "migration.send-configuration=off", "-global", "migration.store-global-state=off"});
}

void add_start(Args& args, const MachineConfig& m) {
  if (m.start_from == StartFrom::saved_state) return add(args, {"-incoming", "defer"});
  // Not /dev/fdset: QEMU 7.2 reads these two with fopen(3).
  add(args, {"-kernel", fmt::format("/proc/self/fd/{}", static_cast<int>(kKernelFd))});
  add(args, {"-initrd", fmt::format("/proc/self/fd/{}", static_cast<int>(kInitrdFd))});
  add(args, {"-append", kernel_args(m)});
}

}  // namespace

int round_memory_mb(int memory_mb) { return (memory_mb + 127) / 128 * 128; }

std::string kernel_args(const MachineConfig& m) {
  // A panic ends the VM at once (-no-reboot), with its text on the console; nothing below "critical" is printed before.
  std::string line = "console=ttyS0 quiet loglevel=3 panic=-1 reboot=t";
  // Devices that are not there, and self-tests.
  line += " i8042.noaux i8042.nomux i8042.dumbkbd net.ifnames=0 cryptomgr.notests swiotlb=noforce audit=0 apparmor=0";
  line += " random.trust_cpu=on rcupdate.rcu_expedited=1 nowatchdog transparent_hugepage=never init_on_alloc=0";
  // Bookkeeping that nobody reads here, on the way of every command: groups of sessions for the scheduler, pressure
  // stall times, the kernel's own memory by cgroup, and the security modules that without policy only look. (Landlock
  // stays, for programs that confine themselves.)
  line += " noautogroup psi=0 cgroup.memory=nokmem,nosocket lsm=landlock";
  if (m.accelerator == Accelerator::Kind::tcg) {
    // Measuring the TSC against an emulated timer hangs half of the boots on a loaded machine.
    if (m.tsc_khz > 0) line += fmt::format(" tsc_early_khz={}", m.tsc_khz);
    line += " tsc=reliable no_timer_check noreplace-smp no5lvl";
    // What protects against speculation protects nothing in translated code, which leaks differently if at all; and
    // addresses that repeat keep the translation cache warm.
    line += " mitigations=off hardened_usercopy=off randomize_kstack_offset=off norandmaps";
    // Then the first pages of the stack and the data of the dynamic linker lie 128 MiB apart, in the same slot of
    // QEMU's cache of addresses whatever its size, and Python, which asks the linker where its thread's variables are,
    // misses it at each turn. A gap of 56 pages more makes it 10 to 17 % faster.
    line += " stack_guard_gap=30776";
  }
  if (!m.extra_kernel_args.empty()) line += " " + m.extra_kernel_args;
  return line;
}

std::vector<std::string> qemu_args(const MachineConfig& m) {
  Args args = {m.qemu, "-name", m.sandbox_id};
  add_machine(args, m);
  add(args, {"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S"});
  add(args, {"-global", "virtio-mmio.force-legacy=false"});
  add(args, {"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"});

  add(args,
      {"-chardev", fmt::format("socket,id=qmp,fd={}", static_cast<int>(kQmpFd)), "-mon", "chardev=qmp,mode=control"});
  add(args,
      {"-chardev", fmt::format("socket,id=console,fd={}", static_cast<int>(kConsoleFd)), "-serial", "chardev:console"});
  // Port 0 is reserved for a console, so the agent's is /dev/vport0p1; two ports instead of 31 spare the guest 58
  // queues.
  add(args, {"-chardev", fmt::format("socket,id=agent,fd={}", static_cast<int>(kAgentFd))});
  add(args, {"-device", "virtio-serial-device,max_ports=2", "-device", "virtserialport,chardev=agent,name=agent"});

  add_base_disk(args);
  add_scratch_disk(args, m.layered);
  add_start(args, m);
  return args;
}

}  // namespace orkestr::vm
