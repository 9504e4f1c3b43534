// One running QEMU: started, spoken to, stopped, saved, ended.
//
// A Vm owns its QEMU process. Destroying it kills and reaps; nothing of the VM has a name on disk, so nothing else is
// left. Single-threaded: create, use and destroy it on the thread of one io_context, and fork nothing else meanwhile:
// the parent-death signal belongs to the thread that started it. Awaitables of a Vm hold what they need: they may
// outlive it and then end with an error.
//
// Every error of start() is vm_failed with details(): `stage` (the step that failed) and `console_tail`; the end of
// QEMU's stderr is in the message.
#pragma once

#include <sys/types.h>

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.hpp"
#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"
#include "vm/accel.hpp"
#include "vm/guest_memory.hpp"
#include "vm/jail.hpp"
#include "vm/qemu_binary.hpp"
#include "vm/qmp.hpp"
#include "vm/shared_files.hpp"

namespace orkestr::vm {

struct VmConfig {
  std::string sandbox_id;  // the only thing of ours that QEMU's command line shows
  Accelerator accelerator;
  int vcpus = 1;
  double cpu_limit = 0;  // CPUs that QEMU may use in all, by a cgroup where one can be had; 0: no limit
  int memory_mb = 1024;  // rounded up to a multiple of 128

  QemuBuild qemu;
  std::string preload_path;  // orkestr-ro.so, for a QEMU that needs it (vm/preload)

  // Shared by all sandboxes of a template: opened read-only here, checked to be read-only in QEMU before the guest
  // runs. Under an own uid they must be readable by others (0444).
  std::string kernel_path;  // to boot, as the next
  std::string initrd_path;
  std::string base_image_path;     // erofs; disk serial "base"
  std::string scratch_image_path;  // raw; the lower layer of disk "scratch"

  // Instead of booting: goes on where a guest was saved, with the same machine.
  struct SavedState {
    std::string devices_path;  // what save_devices() wrote
    std::string memory_path;   // shared; empty: all zeros
    std::string layer_path;    // shared; the disk's layer above the scratch image; empty: none
    std::string pages_path;    // what save_pages() wrote, over that memory; empty: none
    std::string pages_checksum;
  };
  std::optional<SavedState> saved;

  base::UniqueFd disk;             // the sandbox's own layer, a qcow2; none: a copy of
  std::string overlay_image_path;  // a ready-made empty one
  std::string disk_directory;      // where the copy lives, without a name
  std::uint64_t disk_bytes = 0;    // size of disk "scratch" as the guest sees it; 0: that of the image

  bool run = true;  // false: the guest stays stopped until cont()

  int lock_fd = -1;           // inherited by QEMU on purpose, -1: none. Stays the caller's
  std::string uid_lock_path;  // lock file of the sandbox uids; used (and made) when root
  std::string extra_kernel_args;

  // Called within start(), once QEMU's process is there, with what kills it: start() then fails soon. May be called at
  // any time later, to no effect once the Vm is gone.
  std::function<void(std::function<void()> kill)> on_process;

  // Called each time QEMU has stopped the guest because its disk could not be written, which is when the host's is
  // full; with the reason. Nothing is lost: cont() has QEMU write it once more.
  std::function<void(std::string reason)> on_disk_stop;
};

class Vm {
 public:
  // Returns when QEMU runs the guest and answers on QMP. The agent of a booting guest comes seconds later, on the agent
  // channel.
  static boost::asio::awaitable<Result<std::unique_ptr<Vm>>> start(VmConfig config, base::Deadline deadline);
  ~Vm();
  Vm(const Vm&) = delete;
  Vm& operator=(const Vm&) = delete;

  // Our end of the virtio-serial port "agent" (/dev/vport0p1): a non-blocking unix stream socket. Once; afterwards it
  // is empty.
  base::UniqueFd take_agent_channel();

  pid_t pid() const;
  // CPU time QEMU has used so far; after its end, what it had used. A boot that stalls uses none, or all of it.
  std::int64_t cpu_time_ms() const;
  // The last 4 KiB the guest wrote to its serial console, control characters replaced. Written by the guest: believe
  // nothing.
  std::string console_tail() const;
  // The last 8 KiB of QEMU's stderr.
  std::string stderr_tail() const;
  // Why there is no `cpu_limit`; empty when there is, or none was asked for.
  const std::string& no_share_reason() const;
  const JailReport& jail_report() const;
  Qmp& qmp();

  // Stops the guest's CPUs and has all that it wrote in the disk's file; lets them go on.
  boost::asio::awaitable<Result<void>> stop(base::Deadline deadline);
  boost::asio::awaitable<Result<void>> cont(base::Deadline deadline);
  // Of a stopped guest: writes its devices to an empty file that is open for writing only. The guest may go on
  // afterwards.
  boost::asio::awaitable<Result<void>> save_devices(int fd, base::Deadline deadline);
  // Of a stopped guest.
  Result<GuestMemory> memory() const;
  // The disk's own layer, as long as this Vm lives; and the files below and around it, in the order base image, scratch
  // image, memory (an unnamed one of zeros when there was none), layer (where there is one).
  int disk_fd() const;
  const std::vector<SharedFile>& shared_files() const;
  // Has QEMU hold a copy of this descriptor until its end.
  boost::asio::awaitable<Result<void>> hold(std::string name, int fd, base::Deadline deadline);

  // Waits until QEMU has ended and is reaped: "exit code 0", "signal 9 (Killed)". May be awaited by several at once.
  boost::asio::awaitable<std::string> wait_exit();
  bool exited() const;
  // SIGKILL. No effect after the end.
  void kill();
  // Asks QEMU to quit, kills it at the deadline; returns when it is reaped. An error only when even SIGKILL did not end
  // it.
  boost::asio::awaitable<Result<void>> quit(base::Deadline deadline);

 private:
  struct State;
  explicit Vm(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace orkestr::vm
