// Sandboxes of this machine: each has a supervisor process, found through the state directory (registry/registry.hpp).
//
// With a warm pool configured (registry/pool.hpp), create() takes a member of it where there is one.
//
// What runs where. create() reads the environment, opens the template and starts the supervisor in the caller's thread;
// the wait for the machine is on the I/O thread, and what takes long before it is the supervisor's (verifying the
// template). get() and list() read the state directory in the caller's thread: a list of a thousand sandboxes takes
// some 20 ms, which would stand in the way of everybody's output on the I/O thread, and a sandbox that is being ended
// is waited for, some seconds at most. So core calls them, and what asks so of a session, on a worker.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "backend.hpp"
#include "local/claim.hpp"
#include "local/fork_ledger.hpp"
#include "local/launch.hpp"
#include "local/session.hpp"

namespace orkestr::local {

class Resume;

class LocalBackend final : public Backend {
 public:
  explicit LocalBackend(std::shared_ptr<IoLoop> loop);

  std::string_view name() const override { return "local"; }
  CancelFunction create(CreateOptions options, Completion<OpenedSandbox> done) override;
  CancelFunction get(std::string sandbox_id, Completion<OpenedSandbox> done) override;
  CancelFunction list(ListOptions options, Completion<std::vector<SandboxInfo>> done) override;
  CancelFunction resume(std::string sandbox_id, Completion<OpenedSandbox> done) override;
  CancelFunction limits(Completion<Limits> done) override;
  CancelFunction list_snapshots(Completion<std::vector<SnapshotInfo>> done) override;
  CancelFunction get_snapshot(std::string snapshot_id, Completion<SnapshotInfo> done) override;
  CancelFunction remove_snapshot(std::string snapshot_id, Completion<void> done) override;
  CancelFunction create_volume(std::string name, VolumeOptions options, Completion<VolumeInfo> done) override;
  CancelFunction list_volumes(Completion<std::vector<VolumeInfo>> done) override;
  CancelFunction update_volume(std::string volume_id, VolumeLifetime lifetime, Completion<VolumeInfo> done) override;
  CancelFunction move_volume(std::string volume_id, std::string region, Completion<VolumeInfo> done) override;
  CancelFunction remove_volume(std::string volume_id, Completion<void> done) override;
  CancelFunction create_webhook(std::string url, std::optional<std::vector<std::string>> event_types,
                                Completion<WebhookInfo> done) override;
  CancelFunction list_webhooks(Completion<std::vector<WebhookInfo>> done) override;
  CancelFunction enable_webhook(std::string webhook_id, Completion<WebhookInfo> done) override;
  CancelFunction remove_webhook(std::string webhook_id, Completion<void> done) override;
  Result<TemplateInfo> build_template(const std::string& name, const TemplateBuildOptions& options,
                                      const std::stop_token& stop) override;
  Result<TemplateInfo> prepare_template(const std::string& name, const TemplateBuildOptions& options,
                                        const std::stop_token& stop) override;
  Result<std::vector<TemplateInfo>> list_templates() override;
  Result<TemplateInfo> inspect_template(const std::string& name) override;
  Result<void> remove_template(const std::string& name) override;
  void shut_down() override;
  void close_descriptors_after_fork() noexcept override { shared_->ledger.close_all(); }

 private:
  // What launches and completions still need when the backend itself is gone.
  struct Shared {
    explicit Shared(std::shared_ptr<IoLoop> loop) : pool(std::make_shared<PoolKeeper>(std::move(loop))) {}
    ForkLedger ledger;
    const std::shared_ptr<PoolKeeper> pool;  // I/O thread
    const std::shared_ptr<LinkTable> links = std::make_shared<LinkTable>();
    std::mutex mutex;
    std::map<std::string, std::weak_ptr<LocalSession>> sessions;  // by directory and id
    std::vector<std::weak_ptr<Launch>> launches;
    std::vector<std::weak_ptr<Claim>> claims;
    std::vector<std::weak_ptr<Resume>> resumes;
  };
  static std::shared_ptr<LocalSession> session_for(const std::shared_ptr<Shared>& shared,
                                                   const std::shared_ptr<IoLoop>& loop, std::shared_ptr<Link> link);

  // A create that is about to begin: one of the two.
  struct Making {
    std::shared_ptr<Launch> launch;
    std::shared_ptr<Claim> claim;
  };
  Result<Making> prepare(const CreateOptions& options, Completion<OpenedSandbox> done);
  Completion<Launch::Made> when_made(Completion<OpenedSandbox> done, std::optional<PoolOrder> to_fill);
  static Result<OpenedSandbox> open_existing(const std::shared_ptr<Shared>& shared, const std::shared_ptr<IoLoop>& loop,
                                             const std::string& sandbox_id);
  static void begin_resume(const std::shared_ptr<Shared>& shared, const std::shared_ptr<IoLoop>& loop,
                           const std::string& sandbox_id, Completion<registry::Record> done);
  static Result<std::shared_ptr<Launch>> resume_launch(const std::shared_ptr<Shared>& shared, IoLoop& loop,
                                                       const std::string& sandboxes_dir, const std::string& sandbox_id,
                                                       Completion<Launch::Made> made);

  std::shared_ptr<IoLoop> loop_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace orkestr::local
