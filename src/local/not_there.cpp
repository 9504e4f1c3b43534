// What the interface has and the local backend does not, or not yet.
#include <fmt/format.h>

#include "local/call_stream.hpp"
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

CancelFunction LocalBackend::list_snapshots(Completion<std::vector<SnapshotInfo>> done) {
  return refuse("a named snapshot", done);
}
CancelFunction LocalBackend::get_snapshot(std::string, Completion<SnapshotInfo> done) {
  return refuse("a named snapshot", done);
}
CancelFunction LocalBackend::remove_snapshot(std::string, Completion<void> done) {
  return refuse("a named snapshot", done);
}

// --- to be implemented

CancelFunction LocalSession::write_batch(std::vector<BatchFile>, Completion<std::vector<BatchWriteResult>> done) {
  return refuse("write_batch", done);
}
CancelFunction LocalSession::start_command(std::string, CommandRequest, Completion<CommandInfo> done) {
  return refuse("a background command", done);
}
CancelFunction LocalSession::list_commands(Completion<std::vector<CommandInfo>> done) {
  return refuse("a background command", done);
}
CancelFunction LocalSession::get_command(std::string, Completion<CommandInfo> done) {
  return refuse("a background command", done);
}
CancelFunction LocalSession::kill_command(std::string, Completion<CommandInfo> done) {
  return refuse("a background command", done);
}
CancelFunction LocalSession::command_logs(std::string, std::uint64_t, Completion<CommandLogs> done) {
  return refuse("a background command", done);
}
std::unique_ptr<Stream> LocalSession::follow_command(std::string, std::uint64_t, std::chrono::milliseconds) {
  CallRequest request;
  request.what = "follow";
  auto call = std::make_shared<Call>(*loop_, std::move(request));
  call->fail(not_there("a background command"));
  return std::make_unique<CallStream>(std::move(call));
}
CancelFunction LocalSession::metrics(std::optional<TimePoint>, Completion<Metrics> done) {
  return refuse("metrics", done);
}

}  // namespace orkestr::local
