#include "local/local_backend.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/id.hpp"
#include "base/places.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "image/store.hpp"
#include "local/capacity.hpp"
#include "local/resume.hpp"
#include "local/supervisor_path.hpp"

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

Result<std::string> forced_accelerator() {
  const char* forced = std::getenv("ORKESTR_ACCEL");
  const std::string value = forced != nullptr ? forced : "";
  if (value.empty() || value == "kvm" || value == "tcg") return value;
  return Error(ErrorCode::invalid_argument,
               fmt::format("ORKESTR_ACCEL is '{}'; allowed are kvm, tcg, or unset", value));
}

bool matches(const registry::Record& record, const ListOptions& options) {
  if (options.status && record.status != to_string(*options.status)) return false;
  return std::all_of(options.metadata.begin(), options.metadata.end(), [&](const auto& wanted) {
    const auto found = record.metadata.find(wanted.first);
    return found != record.metadata.end() && found->second == wanted.second;
  });
}

Result<std::string> sandboxes_directory() {
  ORKESTR_TRY(const auto places, base::find_places());
  return registry::prepare_state_directory(places.state_dir);
}

Result<std::vector<SandboxInfo>> list_now(const ListOptions& options) {
  ORKESTR_TRY(const auto directory, sandboxes_directory());
  ORKESTR_TRY(const auto entries, registry::scan(directory));
  (void)registry::forget_old(directory, base::wall_clock_ms());  // a full disk must not stand in the way of looking
  std::vector<SandboxInfo> found;
  for (const auto& entry : entries) {
    if (options.max_results && found.size() >= *options.max_results) break;
    if (!matches(entry.record, options)) continue;
    // A record of a later version with a status we do not know must not hide all the others.
    if (auto info = to_info(entry.record)) found.push_back(std::move(*info));
  }
  return found;
}

// What a supervisor is told about where things are, whatever it is started for.
wire::StartRequest start_request(const base::Places& places, const CapacitySettings& settings) {
  constexpr std::uint64_t kDefaultSnapshotCacheMb = 8192;
  wire::StartRequest request;
  request.stamp_dir = places.state_dir + "/stamps";
  request.uid_lock_file = places.state_dir + "/uids";
  request.max_snapshots = static_cast<std::uint64_t>(settings.max_snapshots);
  request.snapshot_cache_mb = kDefaultSnapshotCacheMb;
  const char* snapshots = std::getenv("ORKESTR_SNAPSHOTS");
  if (snapshots != nullptr && std::string_view(snapshots) == "off") return request;
  request.cache_dir = places.cache_dir;
  request.cache_search = places.cache_search;
  return request;
}

Result<CapacitySettings> admit(const std::string& sandboxes_dir, std::int64_t memory_mb) {
  ORKESTR_TRY(const auto settings, read_capacity_settings());
  ORKESTR_TRY(const int running, registry::count_alive(sandboxes_dir));
  ORKESTR_CHECK(check_capacity(running, memory_mb, settings, read_host_figures()));
  return settings;
}

template <class T>
void prune(std::vector<std::weak_ptr<T>>& list) {
  std::erase_if(list, [](const auto& weak) { return weak.expired(); });
}

}  // namespace

LocalBackend::LocalBackend(std::shared_ptr<IoLoop> loop)
    : loop_(std::move(loop)), shared_(std::make_shared<Shared>()) {}

std::shared_ptr<LocalSession> LocalBackend::session_for(const std::shared_ptr<Shared>& shared,
                                                        const std::shared_ptr<IoLoop>& loop,
                                                        std::shared_ptr<Link> link) {
  std::lock_guard lock(shared->mutex);
  std::erase_if(shared->sessions, [](const auto& entry) { return entry.second.expired(); });
  auto& slot = shared->sessions[link->sandboxes_dir() + "/" + link->id()];
  if (auto existing = slot.lock()) return existing;
  link->on_paused([weak = std::weak_ptr<Shared>(shared), weak_loop = std::weak_ptr<IoLoop>(loop),
                   id = link->id()](Completion<void> done) {
    const auto its_shared = weak.lock();
    const auto its_loop = weak_loop.lock();
    if (!its_shared || !its_loop) return done(Error(ErrorCode::cancelled, "the client was closed"));
    begin_resume(its_shared, its_loop, id, [done = std::move(done)](const Result<registry::Record>& record) {
      done(record ? Result<void>() : Result<void>(record.error()));
    });
  });
  auto session = std::make_shared<LocalSession>(loop, shared->links, std::move(link));
  slot = session;
  return session;
}

Result<std::shared_ptr<Launch>> LocalBackend::prepare(CreateOptions options, Completion<OpenedSandbox> done) {
  ORKESTR_TRY(const auto places, base::find_places());
  ORKESTR_TRY(const auto libexec, find_libexec());
  ORKESTR_TRY(const auto accelerator, forced_accelerator());
  ORKESTR_TRY(const auto files, image::open_template(places.cache_search, options.template_name,
                                                     libexec + "/orkestr-agent", places.cache_dir));
  ORKESTR_TRY(const auto sandboxes_dir, registry::prepare_state_directory(places.state_dir));
  ORKESTR_TRY(const auto settings, admit(sandboxes_dir, machine_of(options).memory_mb));
  auto request = start_request(places, settings);
  request.sandboxes_dir = sandboxes_dir;
  request.accelerator = accelerator;
  ORKESTR_CHECK(image::verify_template(files, request.stamp_dir));
  const registry::Record record = new_record(options, files);
  request.record = record.to_json();
  request.kernel = files.kernel;
  request.initrd = files.initrd;
  request.base_image = files.base_image;
  request.scratch_image = files.scratch_image;
  request.scratch_overlay = files.scratch_overlay;
  request.env.assign(options.env.begin(), options.env.end());
  ORKESTR_TRY(auto supervisor, start_supervisor(libexec + "/orkestr-supervisor"));
  auto finished = [shared = shared_, loop = loop_, done = std::move(done)](Result<Launch::Made> made) {
    if (!made) return done(made.error());
    auto info = to_info(made->record);
    if (!info) return done(info.error());
    done(OpenedSandbox{std::move(*info), session_for(shared, loop, std::move(made->link))});
  };
  return std::make_shared<Launch>(*loop_, shared_->ledger, std::move(supervisor), std::move(request), record.id,
                                  std::move(finished));
}

CancelFunction LocalBackend::create(CreateOptions options, Completion<OpenedSandbox> done) {
  auto shared_done = std::make_shared<Completion<OpenedSandbox>>(std::move(done));
  auto launch =
      prepare(std::move(options), [shared_done](Result<OpenedSandbox> opened) { (*shared_done)(std::move(opened)); });
  if (!launch) {
    (*shared_done)(launch.error());
    return [] {};
  }
  {
    std::lock_guard lock(shared_->mutex);
    prune(shared_->launches);
    shared_->launches.push_back(*launch);
  }
  if (!loop_->post([launch = *launch] { launch->begin(); })) {
    (*shared_done)(Error(ErrorCode::not_ready,
                         "create sandbox: the client was closed, or its thread could not start; open another one"));
    return [] {};
  }
  return [weak = std::weak_ptr<Launch>(*launch)] {
    if (auto pending = weak.lock()) pending->cancel();
  };
}

Result<OpenedSandbox> LocalBackend::open_existing(const std::shared_ptr<Shared>& shared,
                                                  const std::shared_ptr<IoLoop>& loop, const std::string& sandbox_id) {
  ORKESTR_TRY(const auto directory, sandboxes_directory());
  ORKESTR_TRY(const auto entry, registry::inspect(directory, sandbox_id));
  ORKESTR_TRY(auto info, to_info(entry.record));
  auto link = std::make_shared<Link>(*loop, shared->ledger, directory, sandbox_id);
  return OpenedSandbox{std::move(info), session_for(shared, loop, std::move(link))};
}

// I/O thread.
void LocalBackend::begin_resume(const std::shared_ptr<Shared>& shared, const std::shared_ptr<IoLoop>& loop,
                                const std::string& sandbox_id, Completion<registry::Record> done) {
  auto directory = sandboxes_directory();
  if (!directory) return done(directory.error());
  auto make = [shared, loop, directory = *directory, sandbox_id](Completion<Launch::Made> made) {
    return resume_launch(shared, *loop, directory, sandbox_id, std::move(made));
  };
  auto resume = std::make_shared<Resume>(*loop, *directory, sandbox_id, std::move(make), std::move(done));
  {
    std::lock_guard lock(shared->mutex);
    prune(shared->resumes);
    shared->resumes.push_back(resume);
  }
  resume->begin();
}

Result<std::shared_ptr<Launch>> LocalBackend::resume_launch(const std::shared_ptr<Shared>& shared, IoLoop& loop,
                                                            const std::string& sandboxes_dir,
                                                            const std::string& sandbox_id,
                                                            Completion<Launch::Made> made) {
  ORKESTR_TRY(const auto places, base::find_places());
  ORKESTR_TRY(const auto libexec, find_libexec());
  ORKESTR_TRY(const auto accelerator, forced_accelerator());
  ORKESTR_TRY(auto entry, registry::inspect(sandboxes_dir, sandbox_id));
  ORKESTR_TRY(const auto settings, admit(sandboxes_dir, entry.record.memory_mb));
  auto request = start_request(places, settings);
  request.purpose = "resume";
  request.sandboxes_dir = sandboxes_dir;
  request.accelerator = accelerator;
  entry.record.metadata.clear();
  request.record = entry.record.to_json();
  ORKESTR_TRY(auto supervisor, start_supervisor(libexec + "/orkestr-supervisor"));
  return std::make_shared<Launch>(loop, shared->ledger, std::move(supervisor), std::move(request), sandbox_id,
                                  std::move(made));
}

CancelFunction LocalBackend::resume(std::string sandbox_id, Completion<OpenedSandbox> done) {
  auto shared_done = std::make_shared<Completion<OpenedSandbox>>(std::move(done));
  const bool posted = loop_->post([shared = shared_, loop = loop_, sandbox_id, shared_done] {
    begin_resume(shared, loop, sandbox_id, [shared, loop, sandbox_id, shared_done](Result<registry::Record> record) {
      if (!record) return (*shared_done)(record.error());
      (*shared_done)(open_existing(shared, loop, sandbox_id));
    });
  });
  if (!posted) {
    (*shared_done)(Error(ErrorCode::not_ready,
                         "resume sandbox: the client was closed, or its thread could not start; open another one"));
  }
  return [] {};  // once begun it is seen through
}

CancelFunction LocalBackend::limits(Completion<Limits> done) {
  const auto settings = read_capacity_settings();
  done(settings ? Result<Limits>(local_limits(*settings, read_host_figures())) : Result<Limits>(settings.error()));
  return [] {};
}

CancelFunction LocalBackend::get(std::string sandbox_id, Completion<OpenedSandbox> done) {
  done(open_existing(shared_, loop_, sandbox_id));
  return [] {};
}

CancelFunction LocalBackend::list(ListOptions options, Completion<std::vector<SandboxInfo>> done) {
  done(list_now(options));
  return [] {};
}

void LocalBackend::shut_down() {
  std::vector<std::weak_ptr<Launch>> launches;
  std::vector<std::weak_ptr<Resume>> resumes;
  {
    std::lock_guard lock(shared_->mutex);
    launches.swap(shared_->launches);
    resumes.swap(shared_->resumes);
  }
  const Error reason(ErrorCode::cancelled, "the client was closed");
  for (const auto& weak : launches) {
    if (auto launch = weak.lock()) launch->shut_down(reason);
  }
  for (const auto& weak : resumes) {
    if (auto resume = weak.lock()) resume->shut_down(reason);
  }
  for (const auto& link : shared_->links->take_all()) link->shut_down(reason);
}

}  // namespace orkestr::local
