// A backend that never answers and has nothing: what a test does not care about.
#pragma once

#include "backend.hpp"

namespace orkestr {

struct IdleBackend : Backend {
  std::string_view name() const override { return "test"; }
  CancelFunction create(CreateOptions, Completion<OpenedSandbox>) override { return ignore(); }
  CancelFunction get(std::string, Completion<OpenedSandbox>) override { return ignore(); }
  CancelFunction list(ListOptions, Completion<std::vector<SandboxInfo>>) override { return ignore(); }
  CancelFunction resume(std::string, Completion<OpenedSandbox>) override { return ignore(); }
  CancelFunction limits(Completion<Limits>) override { return ignore(); }
  CancelFunction list_snapshots(Completion<std::vector<SnapshotInfo>>) override { return ignore(); }
  CancelFunction get_snapshot(std::string, Completion<SnapshotInfo>) override { return ignore(); }
  CancelFunction remove_snapshot(std::string, Completion<void>) override { return ignore(); }
  CancelFunction create_volume(std::string, VolumeOptions, Completion<VolumeInfo>) override { return ignore(); }
  CancelFunction list_volumes(Completion<std::vector<VolumeInfo>>) override { return ignore(); }
  CancelFunction update_volume(std::string, VolumeLifetime, Completion<VolumeInfo>) override { return ignore(); }
  CancelFunction move_volume(std::string, std::string, Completion<VolumeInfo>) override { return ignore(); }
  CancelFunction remove_volume(std::string, Completion<void>) override { return ignore(); }
  CancelFunction create_webhook(std::string, std::optional<std::vector<std::string>>,
                                Completion<WebhookInfo>) override {
    return ignore();
  }
  CancelFunction list_webhooks(Completion<std::vector<WebhookInfo>>) override { return ignore(); }
  CancelFunction enable_webhook(std::string, Completion<WebhookInfo>) override { return ignore(); }
  CancelFunction remove_webhook(std::string, Completion<void>) override { return ignore(); }
  Result<TemplateInfo> build_template(const std::string&, const TemplateBuildOptions&,
                                      const std::stop_token&) override {
    return TemplateInfo{};
  }
  Result<TemplateInfo> prepare_template(const std::string&, const TemplateBuildOptions&,
                                        const std::stop_token&) override {
    return TemplateInfo{};
  }
  Result<std::vector<TemplateInfo>> list_templates() override { return std::vector<TemplateInfo>{}; }
  Result<TemplateInfo> inspect_template(const std::string&) override { return TemplateInfo{}; }
  Result<void> remove_template(const std::string&) override { return {}; }
  void shut_down() override {}
  void close_descriptors_after_fork() noexcept override {}

 private:
  static CancelFunction ignore() {
    return [] {};
  }
};

}  // namespace orkestr
