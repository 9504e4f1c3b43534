// One running QEMU: started, spoken to, ended.
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
#include <string>

#include "base/deadline.hpp"
#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"
#include "vm/accel.hpp"
#include "vm/jail.hpp"
#include "vm/qmp.hpp"

namespace orkestr::vm {

struct VmConfig {
  std::string sandbox_id;  // the only thing of ours that QEMU's command line shows
  Accelerator accelerator;
  int vcpus = 1;
  double cpu_limit = 0;  // CPUs that QEMU may use in all, by a cgroup where one can be had; 0: no limit
  int memory_mb = 1024;  // rounded up to a multiple of 128

  // Shared by all sandboxes of a template: opened read-only here, checked to be read-only in QEMU before the guest
  // runs. Under an own uid kernel and initrd must be readable by others (0444).
  std::string kernel_path;
  std::string initrd_path;
  std::string base_image_path;     // erofs; disk serial "base"
  std::string scratch_image_path;  // raw; the lower layer of disk "scratch"

  std::string overlay_image_path;  // a ready-made empty qcow2 over the scratch image; copied
  std::string disk_directory;      // where the copy lives, without a name
  std::uint64_t disk_bytes = 0;    // size of disk "scratch" as the guest sees it; 0: that of the image

  int lock_fd = -1;           // inherited by QEMU on purpose, -1: none. Stays the caller's
  std::string uid_lock_path;  // lock file of the sandbox uids; used (and made) when root
  std::string extra_kernel_args;

  // Called within start(), once QEMU's process is there, with what kills it: start() then fails soon. May be called at
  // any time later, to no effect once the Vm is gone.
  std::function<void(std::function<void()> kill)> on_process;
};

class Vm {
 public:
  // Returns when QEMU runs the guest and answers on QMP. The guest's agent comes seconds later, on the agent channel.
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
