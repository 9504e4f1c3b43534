// Sandboxes of a service, over REST. Start reading at api.hpp (one call) and http.hpp (libcurl); docs/REST.md is the
// wire.
//
// Thread safety: any thread.
#pragma once

#include <memory>
#include <string>

#include "backend.hpp"
#include "orkestr/client.hpp"
#include "remote/api.hpp"

namespace orkestr::remote {

class RemoteBackend final : public Backend {
 public:
  // Sends nothing. Errors: unauthorized without a key, invalid_argument.
  static Result<std::shared_ptr<RemoteBackend>> create(const ClientOptions& options, std::shared_ptr<IoLoop> loop);

  std::string_view name() const override { return "remote"; }
  Pauses pauses_when_full() const override { return {std::chrono::seconds(2), std::chrono::seconds(30), false}; }
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
  // Templates are the service's own: not_supported.
  Result<TemplateInfo> build_template(const std::string& name, const TemplateBuildOptions& options,
                                      const std::stop_token& stop) override;
  Result<TemplateInfo> prepare_template(const std::string& name, const TemplateBuildOptions& options,
                                        const std::stop_token& stop) override;
  Result<std::vector<TemplateInfo>> list_templates() override;
  Result<TemplateInfo> inspect_template(const std::string& name) override;
  Result<void> remove_template(const std::string& name) override;
  void shut_down() override;
  void close_descriptors_after_fork() noexcept override { api_->http().close_descriptors_after_fork(); }

 private:
  explicit RemoteBackend(std::shared_ptr<Api> api) : api_(std::move(api)) {}
  CancelFunction open(ApiRequest request, CallLimits limits, Completion<OpenedSandbox> done);

  const std::shared_ptr<Api> api_;
};

}  // namespace orkestr::remote
