#include "local/prepare.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/file.hpp"
#include "base/id.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "base/unique_fd.hpp"
#include "image/store.hpp"
#include "local/supervisor_path.hpp"
#include "orkestr/version.hpp"
#include "registry/registry.hpp"

namespace orkestr::local {
namespace {

struct Machine {
  double cpu;
  std::int64_t memory_mb;
};

Machine machine_of(const CreateOptions& options) {
  Machine machine{1, 1024};
  if (options.size == Size::medium) machine = {2, 4096};
  if (options.size == Size::large) machine = {4, 8192};
  if (options.cpu) machine.cpu = *options.cpu;
  if (options.memory_mb) machine.memory_mb = *options.memory_mb;
  return machine;
}

registry::Record new_record(const CreateOptions& options, const image::TemplateFiles& files) {
  const Machine machine = machine_of(options);
  registry::Record record;
  record.id = base::make_sandbox_id();
  record.status = "starting";
  record.template_name = options.template_name;
  record.template_digest = files.digest;
  record.network = to_string(options.network);
  record.cpu = machine.cpu;
  record.memory_mb = machine.memory_mb;
  if (options.disk_mb) record.disk_mb = *options.disk_mb;
  record.auto_resume = options.auto_resume;
  if (options.paused_ttl) record.paused_ttl_seconds = options.paused_ttl->count();
  record.timeout_seconds = options.timeout.count();
  record.on_timeout = to_string(options.on_timeout);
  record.created_at_ms = base::wall_clock_ms();
  record.expires_at_ms = record.created_at_ms + record.timeout_seconds * 1000;
  record.metadata = options.metadata;
  record.version = ORKESTR_VERSION;
  return record;
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

Result<bool> wants_snapshots() {
  const std::string value = variable("ORKESTR_SNAPSHOTS");
  if (value.empty() || value == "on") return true;
  if (value == "off") return false;
  return Error(ErrorCode::invalid_argument,
               fmt::format("ORKESTR_SNAPSHOTS is '{}'; allowed are on, off, or unset for on", value.substr(0, 64)));
}

// By whom it is seen: a supervisor that cannot open it has nowhere to say so. (Its working directory is another one.)
Result<void> check_log() {
  const std::string path = variable("ORKESTR_LOG");
  if (path.empty()) return {};
  const auto refused = [&](std::string_view why) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("ORKESTR_LOG is '{}': {}; name a file that can be written by its absolute path, or unset "
                             "it",
                             path, why));
  };
  if (path.front() != '/') return refused("the path is relative");
  const base::UniqueFd file(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666));
  return file ? Result<void>() : refused(std::strerror(errno));
}

// All that root runs takes uids from one range, whatever ORKESTR_HOME is: so there is one file of locks. Where /run
// cannot be written (a user namespace, a read-only container), each state directory has its own.
std::string uid_lock_file(const base::Places& places) {
  const std::string directory = "/run/orkestr";
  const bool fixed = ::geteuid() == 0 && base::make_directories(directory) &&
                     ::faccessat(AT_FDCWD, directory.c_str(), W_OK, AT_EACCESS) == 0;
  return (fixed ? directory : places.state_dir) + "/uids";
}

}  // namespace

Result<std::string> forced_accelerator() {
  const std::string value = variable("ORKESTR_ACCEL");
  if (value.empty() || value == "kvm" || value == "tcg") return value;
  return Error(ErrorCode::invalid_argument,
               fmt::format("ORKESTR_ACCEL is '{}'; allowed are kvm, tcg, or unset", value));
}

Result<wire::StartRequest> start_request(const base::Places& places, const CapacitySettings& settings) {
  constexpr std::uint64_t kDefaultSnapshotCacheMb = 8192;
  ORKESTR_CHECK(check_log());
  ORKESTR_TRY(const bool snapshots, wants_snapshots());
  wire::StartRequest request;
  request.stamp_dir = places.state_dir + "/stamps";
  request.uid_lock_file = uid_lock_file(places);
  request.max_snapshots = static_cast<std::uint64_t>(settings.max_snapshots);
  request.snapshot_cache_mb = kDefaultSnapshotCacheMb;
  if (!snapshots) return request;
  request.cache_dir = places.cache_dir;
  request.cache_search = places.cache_search;
  return request;
}

Result<Prepared> prepare_sandbox(const CreateOptions& options) {
  Prepared p;
  ORKESTR_TRY(p.places, base::find_places());
  ORKESTR_TRY(p.libexec, find_libexec());
  ORKESTR_TRY(const auto accelerator, forced_accelerator());
  ORKESTR_TRY(p.settings, read_capacity_settings());
  ORKESTR_TRY(p.request, start_request(p.places, p.settings));
  ORKESTR_TRY(p.files, image::open_template(p.places.cache_search, options.template_name, p.libexec + "/orkestr-agent",
                                            p.places.cache_dir));
  const image::TemplateFiles& files = p.files;
  ORKESTR_TRY(const auto sandboxes_dir, registry::prepare_state_directory(p.places.state_dir));
  p.request.sandboxes_dir = sandboxes_dir;
  p.request.accelerator = accelerator;
  if (!image::is_verified(files, p.request.stamp_dir)) {
    p.request.image_sha256 = {files.base_sha256, files.scratch_sha256, files.overlay_sha256, files.kernel_sha256};
  }
  p.record = new_record(options, files);
  p.request.record = p.record.to_json();
  p.request.kernel = files.kernel;
  p.request.initrd = files.initrd;
  p.request.base_image = files.base_image;
  p.request.scratch_image = files.scratch_image;
  p.request.scratch_overlay = files.scratch_overlay;
  p.request.env.assign(options.env.begin(), options.env.end());
  return p;
}

}  // namespace orkestr::local
