#include "remote/remote_backend.hpp"

#include <fmt/format.h>

#include <set>

#include "base/cancellable.hpp"
#include "base/try.hpp"
#include "remote/answers.hpp"
#include "remote/commands.hpp"
#include "remote/session.hpp"

namespace orkestr::remote {
namespace {

constexpr std::size_t kMaxListed = 1'000'000;
constexpr int kMaxEmptyPages = 100;

// Page after page, until the last, or as many as are wanted, or cancelled.
class Listing : public std::enable_shared_from_this<Listing> {
 public:
  Listing(std::shared_ptr<Api> api, ListOptions options, Completion<std::vector<SandboxInfo>> done)
      : api_(std::move(api)), options_(std::move(options)), done_(std::move(done)) {}

  void next() {
    steps_.step([&] {
      return api_->ask<SandboxPage>(
          list_request(options_, cursor_),
          [self = shared_from_this()](Result<SandboxPage> page) { self->take(std::move(page)); }, decode_page);
    });
  }

  void cancel() { steps_.cancel(); }

 private:
  void take(Result<SandboxPage> page) {
    if (!page) return done_(page.error());
    const std::size_t most = std::min(options_.max_results.value_or(kMaxListed), kMaxListed);
    for (SandboxInfo& info : page->sandboxes) {
      if (all_.size() < most) all_.push_back(std::move(info));
    }
    const bool more = !page->next_cursor.empty() && all_.size() < most;
    if (!more) return done_(std::move(all_));
    // A page may be empty: a filter can leave nothing of it.
    empty_pages_ = page->sandboxes.empty() ? empty_pages_ + 1 : 0;
    if (empty_pages_ == kMaxEmptyPages || !seen_.insert(page->next_cursor).second) {
      return done_(Error(ErrorCode::api,
                         fmt::format("list sandboxes: the service's pages lead nowhere: one names an earlier one as "
                                     "the next, or {} in a row were empty",
                                     kMaxEmptyPages)));
    }
    cursor_ = page->next_cursor;
    next();
  }

  const std::shared_ptr<Api> api_;
  const ListOptions options_;
  const Completion<std::vector<SandboxInfo>> done_;
  std::string cursor_;
  std::set<std::string> seen_;  // cursors
  int empty_pages_ = 0;         // in a row
  std::vector<SandboxInfo> all_;
  base::Cancellable steps_;
};

}  // namespace

Result<std::shared_ptr<RemoteBackend>> RemoteBackend::create(const ClientOptions& options,
                                                             std::shared_ptr<IoLoop> loop) {
  ORKESTR_TRY(auto settings, make_settings(options));
  ORKESTR_TRY(auto http, Http::create(std::move(loop), http_settings_from_environment()));
  return std::shared_ptr<RemoteBackend>(new RemoteBackend(std::make_shared<Api>(std::move(http), std::move(settings))));
}

CancelFunction RemoteBackend::open(ApiRequest request, CallLimits limits, Completion<OpenedSandbox> done) {
  return api_->ask<OpenedSandbox>(
      std::move(request), std::move(done),
      [api = api_](const JsonValue& json, const AnswerContext& context) -> Result<OpenedSandbox> {
        ORKESTR_TRY(auto info, decode_sandbox(json, context));
        auto session = std::make_shared<RemoteSession>(api, info);
        return OpenedSandbox{std::move(info), std::move(session)};
      },
      limits);
}

CancelFunction RemoteBackend::create(CreateOptions options, Completion<OpenedSandbox> done) {
  for (const auto& [given, name] :
       {std::pair(options.disk_mb.has_value(), "disk_mb"), std::pair(options.paused_ttl.has_value(), "paused_ttl")}) {
    if (!given) continue;
    done(not_on_a_service(name));
    return [] {};
  }
  return open(create_request(options), {1U << 20U, kMachineTime}, std::move(done));
}
CancelFunction RemoteBackend::get(std::string sandbox_id, Completion<OpenedSandbox> done) {
  return open(get_request(sandbox_id), {1U << 20U}, std::move(done));
}
CancelFunction RemoteBackend::resume(std::string sandbox_id, Completion<OpenedSandbox> done) {
  return open(resume_request(sandbox_id), {1U << 20U, kMachineTime}, std::move(done));
}

CancelFunction RemoteBackend::list(ListOptions options, Completion<std::vector<SandboxInfo>> done) {
  if (options.max_results == std::size_t{0}) {
    done(std::vector<SandboxInfo>());
    return [] {};
  }
  auto listing = std::make_shared<Listing>(api_, std::move(options), std::move(done));
  listing->next();
  return [weak = std::weak_ptr<Listing>(listing)] {
    if (const auto self = weak.lock()) self->cancel();
  };
}

CancelFunction RemoteBackend::limits(Completion<Limits> done) {
  return api_->ask<Limits>(limits_request(), std::move(done), decode_limits);
}
CancelFunction RemoteBackend::list_snapshots(Completion<std::vector<SnapshotInfo>> done) {
  return api_->ask<std::vector<SnapshotInfo>>(list_snapshots_request(), std::move(done), decode_snapshots);
}
CancelFunction RemoteBackend::get_snapshot(std::string snapshot_id, Completion<SnapshotInfo> done) {
  return api_->ask<SnapshotInfo>(get_snapshot_request(snapshot_id), std::move(done), decode_snapshot);
}
CancelFunction RemoteBackend::remove_snapshot(std::string snapshot_id, Completion<void> done) {
  return api_->ask_nothing(remove_snapshot_request(snapshot_id), std::move(done));
}

Result<TemplateInfo> RemoteBackend::build_template(const std::string&, const TemplateBuildOptions&,
                                                   const std::stop_token&) {
  return not_on_a_service("building a template");
}
Result<TemplateInfo> RemoteBackend::prepare_template(const std::string&, const TemplateBuildOptions&,
                                                     const std::stop_token&) {
  return not_on_a_service("preparing a template");
}
Result<std::vector<TemplateInfo>> RemoteBackend::list_templates() { return not_on_a_service("listing templates"); }
Result<TemplateInfo> RemoteBackend::inspect_template(const std::string&) {
  return not_on_a_service("inspecting a template");
}
Result<void> RemoteBackend::remove_template(const std::string&) { return not_on_a_service("removing a template"); }

void RemoteBackend::shut_down() {
  api_->shut_down();
  api_->http().shut_down();
}

}  // namespace orkestr::remote
