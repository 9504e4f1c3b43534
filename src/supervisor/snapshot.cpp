// The snapshot of a template: a machine of the asked-for size that has booted and run what a first command needs, saved
// once and copied ever after.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "supervisor/failpoint.hpp"
#include "supervisor/log.hpp"
#include "supervisor/sandbox.hpp"
#include "vm/snapshot_key.hpp"

namespace orkestr::supervisor {
namespace {

namespace asio = boost::asio;
using asio::awaitable;

constexpr auto kQuietly = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kOtherMakerWithin{150};
constexpr std::chrono::milliseconds kLockPoll{20};
constexpr std::chrono::minutes kWarmUpWithin{2};
constexpr std::chrono::seconds kQmpWithin{30};
// What the last command left to the guest's kernel (memory to free, timers to rearm) is done before the guest is saved,
// not again after each restore.
constexpr std::chrono::seconds kIdleBefore{1};

// What the guest runs before it is saved, so that a first command finds its programs and libraries in memory: measured
// under emulation, the first start of Python takes two thirds of the time it takes cold, and the second one here takes
// along what only a second start touches. No process of it is left when the guest is saved.
constexpr const char* kWarmUp = R"(
warm() { command -v "$1" >/dev/null && for i in 1 2; do "$@" >/dev/null 2>&1; done; }
warm true; warm ls /workspace; warm cat /etc/hostname
warm python3 -c 'import json, os, subprocess, sys; print(1)'
warm node -e 'console.log(1)'
sync
)";

}  // namespace

std::string Sandbox::snapshot_key() const {
  vm::SnapshotParts parts;
  parts.machine.qemu = qemu_.path;
  parts.machine.accelerator = accelerator_.kind;
  parts.machine.tsc_khz = accelerator_.tsc_khz;
  parts.machine.vcpus = vcpus();
  parts.machine.memory_mb = static_cast<int>(record_.memory_mb);
  parts.machine.read_only_memory = qemu_.maps_read_only();
  parts.qemu = qemu_;
  parts.processor = vm::processor_features();
  parts.template_digest = record_.template_digest;
  parts.initramfs = request_.initrd.substr(request_.initrd.rfind('/') + 1);
  parts.preparation = kWarmUp;
  parts.disk_bytes = static_cast<std::uint64_t>(record_.disk_mb) << 20U;
  return vm::snapshot_key(std::move(parts));
}

vm::SnapshotStore Sandbox::snapshot_store() const {
  return {request_.cache_search, request_.cache_dir, request_.stamp_dir, request_.snapshot_cache_mb << 20U};
}

awaitable<Result<vm::SnapshotFiles>> Sandbox::find_or_make_snapshot() {
  const std::string key = snapshot_key();
  const auto store = snapshot_store();
  const auto deadline = base::Deadline::after(kOtherMakerWithin);
  asio::steady_timer pause(io_);
  bool told = false;
  while (true) {
    std::string note;
    auto found = store.find(key, note);
    if (!note.empty()) log_info(note);
    if (!note.empty() && events_) (void)events_->append("snapshot_damaged", {{"reason", note}});
    if (!found) co_return found.error();
    if (*found) co_return std::move(**found);
    auto lock = store.try_lock(key);
    if (!lock) co_return lock.error();
    if (*lock) {
      // Whoever had it before may just have finished.
      found = store.find(key, note);
      if (found && *found) co_return std::move(**found);
      co_return co_await make_snapshot(key);
    }
    if (!std::exchange(told, true)) progress("snapshot", "another process makes the snapshot of this template");
    if (ending_) co_return Error(ErrorCode::cancelled, "the sandbox was ended while it started");
    if (deadline.expired()) {
      co_return Error(ErrorCode::vm_failed,
                      fmt::format("another process did not finish the snapshot of template {} within {} s",
                                  record_.template_name, kOtherMakerWithin.count()));
    }
    pause.expires_after(kLockPoll);
    co_await pause.async_wait(kQuietly);
  }
}

awaitable<Result<vm::SnapshotFiles>> Sandbox::make_snapshot(const std::string& key) {
  progress("snapshot", fmt::format("making the snapshot of template {} ({} vCPU, {} MB), once", record_.template_name,
                                   vcpus(), record_.memory_mb));
  const auto store = snapshot_store();
  auto draft = store.begin(key);
  if (!draft) co_return draft.error();
  vm::VmConfig config = vm_config();
  config.sandbox_id = "template";
  config.disk_directory = draft->files.directory;
  config.cpu_limit = 0;
  bool worth_a_retry = false;
  auto up = co_await start_vm(std::move(config), worth_a_retry);
  if (!up && worth_a_retry && !ending_) {  // an emulated boot that stalls is worth a second one
    config = vm_config();
    config.sandbox_id = "template";
    config.disk_directory = draft->files.directory;
    config.cpu_limit = 0;
    up = co_await start_vm(std::move(config), worth_a_retry);
  }
  if (up) up = co_await give_identity({}, false);
  if (up) up = failpoint("snapshot.booted");
  if (up) up = co_await save_snapshot(draft->files);
  vm_.reset();
  if (!up) co_return up.error();
  vm::SnapshotOf of{record_.template_name, record_.template_digest, vcpus(), static_cast<int>(record_.memory_mb)};
  auto published = store.publish(std::move(*draft), key, of);
  if (!published) co_return published.error();
  if (auto passed = failpoint("snapshot.named"); !passed) co_return passed.error();
  if (events_) (void)events_->append("snapshot_made", {{"template", record_.template_name}});
  co_return published;
}

awaitable<Result<void>> Sandbox::save_snapshot(const vm::SnapshotFiles& files) {
  progress("snapshot", "running what a first command needs");
  wire::ExecRequest warm_up;
  warm_up.argv = {"/bin/bash", "-c", kWarmUp};
  warm_up.timeout_ms = static_cast<std::uint64_t>(std::chrono::milliseconds(kWarmUpWithin).count());
  // A template without a shell is as good a template.
  auto warmed = co_await relay_.run(std::move(warm_up), base::Deadline::after(kWarmUpWithin + kQmpWithin));
  if (!warmed && !relay_.guest_established()) co_return warmed.error();
  if (ending_) co_return Error(ErrorCode::cancelled, "the sandbox was ended while it started");
  if (auto still = co_await relay_.freeze(base::Deadline::after(kQmpWithin)); !still) co_return still;

  asio::steady_timer idle(io_, kIdleBefore);
  co_await idle.async_wait(kQuietly);
  const auto within = base::Deadline::after(kQmpWithin);
  if (auto done = co_await vm_->stop(within); !done) co_return done;
  if (auto passed = failpoint("snapshot.stopped"); !passed) co_return passed;
  auto devices = base::open_at(AT_FDCWD, files.devices, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!devices) co_return devices.error();
  if (auto done = co_await vm_->save_devices(devices->get(), within); !done) co_return done;
  if (auto passed = failpoint("snapshot.devices"); !passed) co_return passed;

  auto guest = vm_->memory();
  if (!guest) co_return guest.error();
  auto pages = vm::find_private_pages(*guest);
  if (!pages) co_return pages.error();
  auto memory = base::open_at(AT_FDCWD, files.memory, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!memory) co_return memory.error();
  if (auto done = vm::save_in_place(*guest, *pages, memory->get()); !done) co_return done;
  if (auto passed = failpoint("snapshot.memory"); !passed) co_return passed;

  auto layer = base::open_at(AT_FDCWD, files.layer, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!layer) co_return layer.error();
  if (auto done = base::copy_file_contents(vm_->disk_fd(), layer->get()); !done) co_return done;
  co_return failpoint("snapshot.layer");
}

}  // namespace orkestr::supervisor
