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
#include "local/prepare.hpp"
#include "local/resume.hpp"
#include "local/supervisor_path.hpp"

namespace orkestr::local {
namespace {

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
    : loop_(std::move(loop)), shared_(std::make_shared<Shared>(loop_)) {}

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

Completion<Launch::Made> LocalBackend::when_made(Completion<OpenedSandbox> done, std::optional<PoolOrder> to_fill) {
  return [shared = shared_, loop = loop_, done = std::move(done),
          to_fill = std::move(to_fill)](Result<Launch::Made> made) {
    const bool wanted = made || (made.error().code() != ErrorCode::cancelled &&
                                 made.error().code() != ErrorCode::template_build_failed);
    auto info = made ? to_info(made->record) : Result<SandboxInfo>(made.error());
    if (info) {
      done(OpenedSandbox{std::move(*info), session_for(shared, loop, std::move(made->link))});
    } else {
      done(info.error());
    }
    // Only now: whoever waits for the sandbox does not wait for the next one.
    if (to_fill && wanted) shared->pool->fill(*to_fill);
  };
}

// The way without the pool begins in the caller's thread.
Result<LocalBackend::Making> LocalBackend::prepare(const CreateOptions& options, Completion<OpenedSandbox> done) {
  ORKESTR_TRY(auto prepared, prepare_sandbox(options));
  ORKESTR_CHECK(admit(prepared.request.sandboxes_dir, prepared.record.memory_mb));
  auto view = look_into_pool(prepared);
  auto finished = when_made(std::move(done), view ? std::optional(view->order) : std::nullopt);
  Making making;
  // (A member of the pool would not verify the template.)
  if (view && !view->ready.empty() && !prepared.unverified()) {
    making.claim =
        std::make_shared<Claim>(*loop_, shared_->ledger, std::move(*view), std::move(prepared), std::move(finished));
    return making;
  }
  ORKESTR_TRY(auto supervisor, start_supervisor(prepared.libexec + "/orkestr-supervisor"));
  const auto extra_time = prepared.extra_time();
  making.launch = std::make_shared<Launch>(*loop_, shared_->ledger, std::move(supervisor), std::move(prepared.request),
                                           prepared.record.id, std::move(finished));
  making.launch->be_patient(extra_time);
  return making;
}

CancelFunction LocalBackend::create(CreateOptions options, Completion<OpenedSandbox> done) {
  auto shared_done = std::make_shared<Completion<OpenedSandbox>>(std::move(done));
  auto making = prepare(options, [shared_done](Result<OpenedSandbox> opened) { (*shared_done)(std::move(opened)); });
  if (!making) {
    (*shared_done)(making.error());
    return [] {};
  }
  {
    std::lock_guard lock(shared_->mutex);
    prune(shared_->launches);
    prune(shared_->claims);
    if (making->launch) shared_->launches.push_back(making->launch);
    if (making->claim) shared_->claims.push_back(making->claim);
  }
  if (!loop_->post([making = *making] { making.launch ? making.launch->begin() : making.claim->begin(); })) {
    (*shared_done)(Error(ErrorCode::not_ready,
                         "create sandbox: the client was closed, or its thread could not start; open another one"));
    return [] {};
  }
  return [launch = std::weak_ptr<Launch>(making->launch), claim = std::weak_ptr<Claim>(making->claim)] {
    if (auto pending = launch.lock()) pending->cancel();
    if (auto pending = claim.lock()) pending->cancel();
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
  ORKESTR_TRY(auto request, start_request(places, settings));
  request.purpose = "resume";
  request.sandboxes_dir = sandboxes_dir;
  request.accelerator = accelerator;
  entry.record.metadata.clear();
  request.record = entry.record.to_json();
  ORKESTR_TRY(auto supervisor, start_supervisor(libexec + "/orkestr-supervisor"));
  auto launch = std::make_shared<Launch>(loop, shared->ledger, std::move(supervisor), std::move(request), sandbox_id,
                                         std::move(made));
  launch->be_patient(entry.record.transfer_time());
  return launch;
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
  std::vector<std::weak_ptr<Claim>> claims;
  std::vector<std::weak_ptr<Resume>> resumes;
  {
    std::lock_guard lock(shared_->mutex);
    launches.swap(shared_->launches);
    claims.swap(shared_->claims);
    resumes.swap(shared_->resumes);
  }
  const Error reason(ErrorCode::cancelled, "the client was closed");
  for (const auto& weak : launches) {
    if (auto launch = weak.lock()) launch->shut_down(reason);
  }
  for (const auto& weak : claims) {
    if (auto claim = weak.lock()) claim->shut_down(reason);
  }
  shared_->pool->shut_down();
  for (const auto& weak : resumes) {
    if (auto resume = weak.lock()) resume->shut_down(reason);
  }
  for (const auto& link : shared_->links->take_all()) link->shut_down(reason);
}

}  // namespace orkestr::local
