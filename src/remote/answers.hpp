// What the service answered, as values: pure functions over hostile input. Unknown members are ignored, missing ones
// have defaults unless named as needed in docs/REST.md; a wrong type is an `api` error that names the member.
#pragma once

#include <string>
#include <vector>

#include "backend.hpp"
#include "base/json.hpp"
#include "remote/fields.hpp"
#include "remote/http.hpp"

namespace orkestr::remote {

using base::JsonValue;

// A status we do not know counts as `starting` (neither ready nor over), a network as `restricted`, what happens at the
// timeout as `kill`: a newer service is no reason to lose sight of a sandbox.
Result<SandboxInfo> decode_sandbox(const JsonValue& json, const AnswerContext& context);
struct SandboxPage {
  std::vector<SandboxInfo> sandboxes;
  std::string next_cursor;  // empty: the last page
};
Result<SandboxPage> decode_page(const JsonValue& json, const AnswerContext& context);
Result<Limits> decode_limits(const JsonValue& json, const AnswerContext& context);
Result<Metrics> decode_metrics(const JsonValue& json, const AnswerContext& context);
Result<SnapshotInfo> decode_snapshot(const JsonValue& json, const AnswerContext& context);
Result<std::vector<SnapshotInfo>> decode_snapshots(const JsonValue& json, const AnswerContext& context);
Result<CommandInfo> decode_command(const JsonValue& json, const AnswerContext& context);
Result<std::vector<CommandInfo>> decode_commands(const JsonValue& json, const AnswerContext& context);
Result<CommandLogs> decode_logs(const JsonValue& json, const AnswerContext& context, std::uint64_t offset);
Result<TimePoint> decode_expiry(const JsonValue& json, const AnswerContext& context);
Result<std::string> decode_host(const JsonValue& json, const AnswerContext& context);

struct ExecAnswer {
  std::string stdout_data, stderr_data;
  CommandEnd end;
};
Result<ExecAnswer> decode_exec(const JsonValue& json, const AnswerContext& context);

// `path` is for the error of reading a directory or listing a file.
Result<std::string> decode_file(const JsonValue& json, const AnswerContext& context, std::string_view path);
Result<std::vector<FileEntry>> decode_directory(const JsonValue& json, const AnswerContext& context,
                                                std::string_view path);
Result<FileStat> decode_stat(const JsonValue& json, const AnswerContext& context);
Result<std::vector<BatchWriteResult>> decode_batch(const JsonValue& json, const AnswerContext& context);
Result<PresignedUrl> decode_presigned(const JsonValue& json, const AnswerContext& context);

}  // namespace orkestr::remote
