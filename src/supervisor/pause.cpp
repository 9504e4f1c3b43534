// Freezing a sandbox to disk and bringing it back. The files are described in registry/pause.hpp.
//
// At every instant there is either the running sandbox or the complete pause: the files of a pause appear under their
// final name all at once, and until then a failure lets the guest go on; they are removed only when the resumed guest
// has its identity, and until then it works on a copy of its disk.
#include "registry/pause.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cmath>

#include "base/checksum.hpp"
#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "registry/kept_files.hpp"
#include "supervisor/failpoint.hpp"
#include "supervisor/log.hpp"
#include "supervisor/masking.hpp"
#include "supervisor/sandbox.hpp"
#include "vm/snapshot_key.hpp"

namespace orkestr::supervisor {
namespace {

namespace asio = boost::asio;
using asio::awaitable;

constexpr auto kQuietly = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kFreezeWithin{10};
constexpr std::chrono::seconds kQmpWithin{30};
// A sandbox that cannot be paused when its time is over: how long until the next attempt, and how many.
constexpr std::chrono::seconds kNextAttempt{60};
constexpr int kAttempts = 10;

constexpr const char* kDevices = "devices";
constexpr off_t kDevicesRoom = 1 << 20;  // they take a sixth of it
constexpr const char* kPages = "pages";
constexpr const char* kDisk = "disk.qcow2";
// As Vm::shared_files() has them.
constexpr std::array<const char*, 4> kSharedNames = {"base.erofs", "scratch.raw", "memory", "layer.qcow2"};
constexpr std::size_t kMemoryIndex = 2;

Result<registry::PauseManifest::Shared> look_at(const std::string& path) {
  struct stat s {};
  if (::stat(path.c_str(), &s) != 0) return base::errno_error("stat " + path, errno);
  return registry::PauseManifest::Shared{s.st_size, std::int64_t{s.st_mtim.tv_sec} * 1'000'000'000 + s.st_mtim.tv_nsec};
}

// A name for the sandbox's disk, which has none; a copy once a pause has failed, because a file gets its first name
// only once.
Result<void> link_or_copy(int fd, const std::string& path) {
  const std::string self = fmt::format("/proc/self/fd/{}", fd);
  if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0) return {};
  ORKESTR_TRY(const auto copy, base::open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0444));
  ORKESTR_CHECK(base::copy_file_contents(fd, copy.get()));
  // Whatever the umask: QEMU may have a uid of its own. A link is on disk already, this is not.
  if (::fchmod(copy.get(), 0444) != 0 || ::fsync(copy.get()) != 0) return base::errno_error("copy to " + path, errno);
  return {};
}

Result<void> sync_path(const std::string& path, int flags = O_RDONLY) {
  ORKESTR_TRY(const auto file, base::open_at(AT_FDCWD, path, flags));
  if (::fsync(file.get()) != 0) return base::errno_error("sync " + path, errno);
  return {};
}

Result<std::string> checksum_of(const std::string& path) {
  ORKESTR_TRY(const auto file, base::open_at(AT_FDCWD, path, O_RDONLY));
  return base::checksum_sparse_file(file.get());
}

Error incompatible(std::string message) { return {ErrorCode::snapshot_incompatible, std::move(message)}; }

std::string series_of(const std::string& version) {
  vm::QemuBuild build;
  build.version = version;
  return build.series();
}

// Whether a state of that machine can go on in this one. The files are kept whatever the answer.
Result<void> check_host(const registry::PauseManifest& saved, const vm::QemuBuild& qemu,
                        const vm::Accelerator& accelerator) {
  const auto refuse = [&](std::string_view what, std::string_view then, std::string_view now) {
    return incompatible(
        fmt::format("sandbox {} was paused on {} {} and cannot be resumed on {}: that takes {} {} again. Its "
                    "files are kept",
                    saved.id, what, then, now, what, then));
  };
  if (series_of(saved.qemu_version) != qemu.series()) return refuse("QEMU", saved.qemu_version, qemu.version);
  if (saved.accelerator != accelerator.name) return refuse("accelerator", saved.accelerator, accelerator.name);
  if (saved.machine_revision != vm::kMachineRevision) {
    return refuse("machine revision", std::to_string(saved.machine_revision), std::to_string(vm::kMachineRevision));
  }
  if (accelerator.kind == vm::Accelerator::Kind::kvm && saved.processor != vm::processor_features()) {
    return refuse("a processor with the features", saved.processor, vm::processor_features());
  }
  return {};
}

// A file that others use too is as it was, if nobody wrote to it since.
Result<void> check_shared(const registry::PauseManifest& saved, const std::string& directory) {
  for (const auto& [name, file] : saved.shared) {
    const std::string path = directory + "/" + name;
    const auto now = look_at(path);
    if (!now) return incompatible(fmt::format("sandbox {}: {}", saved.id, now.error().message()));
    if (*now == file) continue;
    return incompatible(
        fmt::format("sandbox {}: {} was changed since it was paused ({} bytes then, {} now); what it holds "
                    "cannot be trusted",
                    saved.id, path, file.size, now->size));
  }
  return {};
}

Result<void> check_file(const registry::PauseManifest& saved, const std::string& path, int fd,
                        const std::string& checksum) {
  ORKESTR_TRY(const std::string actual, base::checksum_sparse_file(fd));
  if (actual == checksum) return {};
  return incompatible(
      fmt::format("sandbox {}: {} is damaged: its checksum is {} instead of {}", saved.id, path, actual, checksum));
}

// One of its files; without it there is nothing to resume.
Result<base::UniqueFd> open_saved(const registry::PauseManifest& saved, const std::string& path) {
  auto file = base::open_at(AT_FDCWD, path, O_RDONLY);
  if (!file) return incompatible(fmt::format("sandbox {}: {}", saved.id, file.error().message()));
  return file;
}

}  // namespace

// --- pause

void Sandbox::on_pause(Request from) {
  if (!running_ || ending_) {
    const char* why = ending_ ? "is ending" : "is starting or resuming";
    return relay_.answer_error(from.client, from.id,
                               Error(ErrorCode::not_ready, fmt::format("sandbox {} {}", record_.id, why)));
  }
  pausers_.push_back(from);
  if (!pausing_) spawn(pause());
}

awaitable<void> Sandbox::pause() {
  pausing_ = true;
  const auto began = std::chrono::steady_clock::now();
  if (last_resort_)
    last_resort_->arm(base::boot_clock_ms() + 20 * kLastResortMs + record_.transfer_time().count() * 1000);
  const auto saved = co_await save_pause();
  pausing_ = false;
  if (ending_) co_return;  // it answers them
  const auto took =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count();
  if (!saved) {
    if (last_resort_) last_resort_->arm(base::boot_clock_ms() + record_.timeout_seconds * 1000 + kLastResortMs);
    log_info("pause failed: " + saved.error().message());
    (void)events_->append(
        "pause_failed",
        {{"reason", std::string_view(saved.error().message()).substr(0, kMaxLoggedBytes)}, {"duration_ms", took}});
    const Error error = saved.error().with_context(fmt::format("pause sandbox {} (it runs on)", record_.id));
    for (const Request& pauser : std::exchange(pausers_, {})) relay_.answer_error(pauser.client, pauser.id, error);
    co_return;
  }
  (void)events_->append("paused", {{"duration_ms", took}});
  record_.status = "paused";
  for (const Request& pauser : std::exchange(pausers_, {})) answer_record(pauser);
  end("paused", fmt::format("sandbox {} was paused; resume it to go on (its commands do, too, and are then among its "
                            "background commands)",
                            record_.id));
}

awaitable<void> Sandbox::pause_at_timeout() {
  if (!pausing_) co_await pause();
  if (ending_) co_return;
  if (++failed_pauses_ >= kAttempts) {
    co_return end("failed", "its time was over and it could not be paused; its events say why");
  }
  // A little more time, which is not its life span: that is what a later resume gives it.
  if (auto set = set_clock(kNextAttempt.count()); !set) log_info(set.error().message());
}

awaitable<Result<void>> Sandbox::save_pause() {
  if (request_.max_snapshots > 0 && registry::count_paused(request_.sandboxes_dir) >= request_.max_snapshots) {
    co_return Error(
        ErrorCode::snapshot_cap_reached,
        fmt::format("{} sandboxes are paused on this machine, as many as may be; resume or terminate some, or "
                    "raise ORKESTR_MAX_SNAPSHOTS",
                    request_.max_snapshots));
  }
  auto ours = directory_->begin_transition();
  if (!ours) co_return ours.error();
  if (!*ours) co_return Error(ErrorCode::not_ready, "another process holds the sandbox");
  const std::string draft = directory_->path() + "/" + registry::kPauseDraftDirectory;
  auto saved = co_await relay_.freeze(base::Deadline::after(kFreezeWithin));
  if (saved) {
    saved = co_await write_pause(draft);
    if (!saved && !ending_) {
      // First of all: it may be what filled the disk, and the guest wants to write there.
      (void)base::remove_tree(draft);
      disk_stopped_ = false;
      if (auto runs = co_await vm_->cont(base::Deadline::after(kQmpWithin)); !runs && !disk_stopped_) {
        end("failed", "it could neither be paused nor go on: " + runs.error().message());
      }
      relay_.thaw();
    }
  }
  if (!saved && !ending_) (void)directory_->end_transition();
  co_return saved;
}

awaitable<Result<void>> Sandbox::write_pause(const std::string& draft) {
  const auto ended = [&] { return Error(ErrorCode::not_ready, fmt::format("sandbox {} was ended", record_.id)); };
  const auto path = [&](const char* name) { return draft + "/" + name; };
  const std::string final_name = directory_->path() + "/" + registry::kPauseDirectory;
  for (const auto& rest : {draft, final_name}) {
    if (auto gone = base::remove_tree(rest); !gone) co_return gone;
  }
  if (auto made = base::make_directories(draft, 0700); !made) co_return made;

  registry::PauseManifest manifest;
  const auto& shared = vm_->shared_files();
  for (std::size_t i = 0; i < shared.size(); ++i) {
    if (i == kMemoryIndex && record_.started_from == "boot") continue;  // zeros, which need no file
    auto linked = registry::link_or_keep(shared[i].fd.get(), request_.sandboxes_dir + "/..", path(kSharedNames[i]));
    if (!linked) co_return linked;
    auto seen = look_at(path(kSharedNames[i]));
    if (!seen) co_return seen.error();
    manifest.shared[kSharedNames[i]] = *seen;
  }
  if (auto passed = failpoint("pause.links"); !passed) co_return passed;

  const auto within = base::Deadline::after(kQmpWithin);
  if (auto stopped = co_await vm_->stop(within); !stopped) co_return stopped;
  if (ending_) co_return ended();
  // Only now: it may be a copy.
  if (auto linked = link_or_copy(vm_->disk_fd(), path(kDisk)); !linked) co_return linked;
  if (auto passed = failpoint("pause.stopped"); !passed) co_return passed;
  {
    auto devices = base::open_at(AT_FDCWD, path(kDevices), O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (!devices) co_return devices.error();
    // Of a full disk QEMU says no more than that there was an error.
    if (::fallocate(devices->get(), FALLOC_FL_KEEP_SIZE, 0, kDevicesRoom) != 0 && errno == ENOSPC) {
      co_return base::errno_error(std::string("write ") + kDevices, errno);
    }
    if (auto done = co_await vm_->save_devices(devices->get(), within); !done) co_return done;
    if (ending_) co_return ended();
    struct stat s {};
    if (::fstat(devices->get(), &s) != 0 || ::ftruncate(devices->get(), s.st_size) != 0) {
      co_return base::errno_error(std::string("write ") + kDevices, errno);
    }
  }
  if (auto passed = failpoint("pause.devices"); !passed) co_return passed;

  // From here to the rename nothing waits for anybody.
  auto guest = vm_->memory();
  if (!guest) co_return guest.error();
  auto runs = vm::find_private_pages(*guest);
  if (!runs) co_return runs.error();
  auto pages = base::open_at(AT_FDCWD, path(kPages), O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!pages) co_return pages.error();
  auto written = vm::save_pages(*guest, *runs, pages->get());
  if (!written) co_return written.error();
  ::sync_file_range(pages->get(), 0, 0, SYNC_FILE_RANGE_WRITE);  // the disk begins while the rest is done
  if (auto passed = failpoint("pause.pages"); !passed) co_return passed;

  auto devices_sum = checksum_of(path(kDevices));
  if (!devices_sum) co_return devices_sum.error();
  auto disk_sum = base::checksum_sparse_file(vm_->disk_fd());
  if (!disk_sum) co_return disk_sum.error();
  manifest.id = record_.id;
  manifest.qemu_version = vm_->qmp().qemu_version();
  manifest.accelerator = accelerator_.name;
  manifest.processor = vm::processor_features();
  manifest.machine_revision = vm::kMachineRevision;
  manifest.vcpus = vcpus();
  manifest.memory_mb = record_.memory_mb;
  manifest.tsc_khz = accelerator_.tsc_khz;
  manifest.devices_checksum = *devices_sum;
  manifest.pages_checksum = written->checksum;
  manifest.disk_checksum = *disk_sum;
  manifest.env = request_.env;
  manifest.paused_at_ms = base::wall_clock_ms();
  record_.paused_expires_at_ms =
      record_.paused_ttl_seconds > 0 ? manifest.paused_at_ms + record_.paused_ttl_seconds * 1000 : 0;
  for (const char* name : {kDevices, kPages, kDisk}) {
    if (auto synced = sync_path(path(name)); !synced) co_return synced;
  }
  // (Flushes the directory as well.)
  auto done = base::write_file_atomic(path(registry::kPauseManifestFile), manifest.to_json() + "\n", 0600);
  if (!done) co_return done;
  if (auto synced = sync_path(draft, O_RDONLY | O_DIRECTORY); !synced) co_return synced;
  if (auto passed = failpoint("pause.manifest"); !passed) co_return passed;
  if (::rename(draft.c_str(), final_name.c_str()) != 0) {
    co_return base::errno_error(fmt::format("rename {} to {}", draft, final_name), errno);
  }
  // Paused, whatever happens now; only whether a power cut is survived is decided by this.
  if (auto synced = sync_path(directory_->path(), O_RDONLY | O_DIRECTORY); !synced) log_info(synced.error().message());
  (void)failpoint("pause.named");
  co_return Result<void>();
}

// --- resume

awaitable<Result<void>> Sandbox::resume() {
  const std::string directory = directory_->path() + "/" + registry::kPauseDirectory;
  const auto path = [&](const std::string& name) { return directory + "/" + name; };
  auto manifest = registry::read_pause_manifest(directory_->dir_fd(), record_.id);
  if (!manifest) co_return manifest.error();
  if (auto fits = check_host(*manifest, qemu_, accelerator_); !fits) co_return fits;
  if (auto same = check_shared(*manifest, directory); !same) co_return same;
  {
    auto pages = open_saved(*manifest, path(kPages));
    if (!pages) co_return pages.error();
    auto devices = open_saved(*manifest, path(kDevices));
    if (!devices) co_return devices.error();
    auto good = check_file(*manifest, path(kDevices), devices->get(), manifest->devices_checksum);
    if (!good) co_return good;
  }
  if (auto passed = failpoint("resume.claimed"); !passed) co_return passed;

  // The more it holds, the longer: from here to the guest's first word.
  if (last_resort_) last_resort_->arm(base::boot_clock_ms() + kLastResortMs + start_within().count());

  // The guest works on a copy: until it is up and said so, the pause must stay as it is.
  auto disk = base::make_unnamed_file(directory_->path());
  if (!disk) co_return disk.error();
  {
    auto saved = open_saved(*manifest, path(kDisk));
    if (!saved) co_return saved.error();
    if (auto copied = base::copy_file_contents(saved->get(), disk->get()); !copied) co_return copied;
    auto good = check_file(*manifest, path(kDisk), disk->get(), manifest->disk_checksum);
    if (!good) co_return good;
  }
  if (auto passed = failpoint("resume.disk"); !passed) co_return passed;

  progress("boot", fmt::format("resuming the virtual machine ({})", accelerator_.name));
  request_.env = manifest->env;
  request_.base_image = path(kSharedNames[0]);
  request_.scratch_image = path(kSharedNames[1]);
  vm::VmConfig config = vm_config();
  config.vcpus = static_cast<int>(manifest->vcpus);
  config.memory_mb = static_cast<int>(manifest->memory_mb);
  config.accelerator.tsc_khz = manifest->tsc_khz;
  config.disk = std::move(*disk);
  config.saved.emplace();
  config.saved->devices_path = path(kDevices);
  if (manifest->has("memory")) config.saved->memory_path = path("memory");
  if (manifest->has("layer.qcow2")) config.saved->layer_path = path("layer.qcow2");
  config.saved->pages_path = path(kPages);
  config.saved->pages_checksum = manifest->pages_checksum;
  auto pages = base::open_at(AT_FDCWD, path(kPages), O_RDWR);
  if (!pages) co_return pages.error();
  loaded_pages_ = std::move(*pages);
  bool worth_a_retry = false;
  if (auto up = co_await start_vm(std::move(config), worth_a_retry); !up) co_return up;
  auto known = co_await give_identity(request_.env, true);
  if (!known) co_return known;
  if (record_.started_from != "boot") record_.started_from = "pause";
  co_return failpoint("resume.running");
}

// Removing the name of a large file that nobody holds open takes milliseconds for every 16 MiB, and who resumes waits:
// so it is held, and made shorter when they have their answer.
awaitable<void> Sandbox::free_pages(base::UniqueFd file) {
  constexpr off_t kPiece = off_t{16} << 20U;
  asio::steady_timer pause(io_, std::chrono::seconds(1));
  struct stat s {};
  if (::fstat(file.get(), &s) != 0 || s.st_nlink != 0) co_return;
  for (off_t size = s.st_size; size > 0 && !ending_;) {
    co_await pause.async_wait(kQuietly);
    size = std::max<off_t>(0, size - kPiece);
    if (::ftruncate(file.get(), size) != 0) co_return;
    pause.expires_after(std::chrono::milliseconds(20));
  }
}

}  // namespace orkestr::supervisor
