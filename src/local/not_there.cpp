// What the interface has and the local backend does not, or not yet.
#include <fmt/format.h>

#include "local/local_backend.hpp"
#include "local/session.hpp"
#include "orkestr/version.hpp"

namespace orkestr::local {
namespace {

Error not_there(std::string_view what) {
  return Error(ErrorCode::not_supported,
               fmt::format("{}: the local backend of orkestr {} does not have it", what, ORKESTR_VERSION));
}

template <class T>
CancelFunction refuse(std::string_view what, const Completion<T>& done) {
  done(not_there(what));
  return [] {};
}

}  // namespace

CancelFunction LocalSession::presign(Presigned, std::string, std::chrono::seconds, Completion<PresignedUrl> done) {
  return refuse("a presigned URL", done);
}
CancelFunction LocalSession::snapshot(std::string, Completion<SnapshotInfo> done) {
  return refuse("a named snapshot", done);
}
CancelFunction LocalSession::host(int, Completion<std::string> done) { return refuse("get_host", done); }

namespace {

// As on a service, for a template without one: programs that go on with exec() there do so here.
Error no_interpreter() {
  return Error(ErrorCode::interpreter_unavailable,
               fmt::format("run_code: the local backend of orkestr {} has no code interpreter; use exec(), or a "
                           "sandbox of the service made from the template code-interpreter",
                           ORKESTR_VERSION));
}

template <class T>
CancelFunction refuse_code(const Completion<T>& done) {
  done(no_interpreter());
  return [] {};
}

}  // namespace

CancelFunction LocalSession::run_code(std::string, CodeOptions, Completion<CodeExecution> done) {
  return refuse_code(done);
}
Result<std::unique_ptr<Stream>> LocalSession::run_code_stream(std::string, CodeOptions) { return no_interpreter(); }
CancelFunction LocalSession::create_context(std::string, Completion<CodeContextInfo> done) { return refuse_code(done); }
CancelFunction LocalSession::list_contexts(Completion<std::vector<CodeContextInfo>> done) { return refuse_code(done); }
CancelFunction LocalSession::restart_context(std::string, Completion<void> done) { return refuse_code(done); }
CancelFunction LocalSession::remove_context(std::string, Completion<void> done) { return refuse_code(done); }

CancelFunction LocalBackend::list_snapshots(Completion<std::vector<SnapshotInfo>> done) {
  return refuse("a named snapshot", done);
}
CancelFunction LocalBackend::get_snapshot(std::string, Completion<SnapshotInfo> done) {
  return refuse("a named snapshot", done);
}
CancelFunction LocalBackend::remove_snapshot(std::string, Completion<void> done) {
  return refuse("a named snapshot", done);
}

CancelFunction LocalBackend::create_volume(std::string, VolumeOptions, Completion<VolumeInfo> done) {
  return refuse("a volume", done);
}
CancelFunction LocalBackend::list_volumes(Completion<std::vector<VolumeInfo>> done) { return refuse("a volume", done); }
CancelFunction LocalBackend::update_volume(std::string, VolumeLifetime, Completion<VolumeInfo> done) {
  return refuse("a volume", done);
}
CancelFunction LocalBackend::move_volume(std::string, std::string, Completion<VolumeInfo> done) {
  return refuse("a volume", done);
}
CancelFunction LocalBackend::remove_volume(std::string, Completion<void> done) { return refuse("a volume", done); }
CancelFunction LocalBackend::create_webhook(std::string, std::optional<std::vector<std::string>>,
                                            Completion<WebhookInfo> done) {
  return refuse("a webhook", done);
}
CancelFunction LocalBackend::list_webhooks(Completion<std::vector<WebhookInfo>> done) {
  return refuse("a webhook", done);
}
CancelFunction LocalBackend::enable_webhook(std::string, Completion<WebhookInfo> done) {
  return refuse("a webhook", done);
}
CancelFunction LocalBackend::remove_webhook(std::string, Completion<void> done) { return refuse("a webhook", done); }

}  // namespace orkestr::local
