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
  auto session = std::make_shared<LocalSession>(loop, shared->links, std::move(link));
  slot = session;
  return session;
}

Result<std::shared_ptr<Launch>> LocalBackend::prepare(CreateOptions options, Completion<OpenedSandbox> done) {
  ORKESTR_TRY(const auto places, base::find_places());
  ORKESTR_TRY(const auto libexec, find_libexec());
  wire::StartRequest request;
  ORKESTR_TRY(request.accelerator, forced_accelerator());
  ORKESTR_TRY(const auto files, image::open_template(places.cache_search, options.template_name,
                                                     libexec + "/orkestr-agent", places.cache_dir));
  ORKESTR_TRY(request.sandboxes_dir, registry::prepare_state_directory(places.state_dir));
  const std::string stamps = places.state_dir + "/stamps";
  ORKESTR_CHECK(image::verify_template(files, stamps));
  const registry::Record record = new_record(options, files);
  request.record = record.to_json();
  request.kernel = files.kernel;
  request.initrd = files.initrd;
  request.base_image = files.base_image;
  request.scratch_image = files.scratch_image;
  request.scratch_overlay = files.scratch_overlay;
  request.stamp_dir = stamps;
  request.uid_lock_file = places.state_dir + "/uids";
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

Result<OpenedSandbox> LocalBackend::open_existing(const std::string& sandbox_id) {
  ORKESTR_TRY(const auto directory, sandboxes_directory());
  ORKESTR_TRY(const auto entry, registry::inspect(directory, sandbox_id));
  ORKESTR_TRY(auto info, to_info(entry.record));
  auto link = std::make_shared<Link>(*loop_, shared_->ledger, directory, sandbox_id);
  return OpenedSandbox{std::move(info), session_for(shared_, loop_, std::move(link))};
}

CancelFunction LocalBackend::get(std::string sandbox_id, Completion<OpenedSandbox> done) {
  done(open_existing(sandbox_id));
  return [] {};
}

CancelFunction LocalBackend::list(ListOptions options, Completion<std::vector<SandboxInfo>> done) {
  done(list_now(options));
  return [] {};
}

void LocalBackend::shut_down() {
  std::vector<std::weak_ptr<Launch>> launches;
  {
    std::lock_guard lock(shared_->mutex);
    launches.swap(shared_->launches);
  }
  const Error reason(ErrorCode::cancelled, "the client was closed");
  for (const auto& weak : launches) {
    if (auto launch = weak.lock()) launch->shut_down(reason);
  }
  for (const auto& link : shared_->links->take_all()) link->shut_down(reason);
}

}  // namespace orkestr::local
