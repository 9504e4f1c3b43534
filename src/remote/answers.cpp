#include "remote/answers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/try.hpp"
#include "remote/base64.hpp"
#include "remote/decode.hpp"
#include "remote/errors.hpp"
#include "remote/text.hpp"

namespace orkestr::remote {
namespace {

using std::chrono::microseconds;

microseconds milliseconds_of(double value) {
  if (!(value > 0)) return microseconds(0);
  return microseconds(static_cast<std::int64_t>(std::min(value, 1e12) * 1000));
}

std::chrono::seconds whole_seconds(double value) {
  return std::chrono::seconds(static_cast<std::int64_t>(std::clamp(value, 0.0, 1e12)));
}

std::uint64_t bytes_of(std::optional<double> value) {
  return value && *value > 0 ? static_cast<std::uint64_t>(std::min(*value, 9e18)) : 0;
}

SandboxInfo sandbox_of(Fields& fields) {
  SandboxInfo info;
  info.backend = "remote";
  info.id = fields.needed_id("id");
  info.status =
      parse_status(fields.needed_text("status")).ok() ? *parse_status(fields.text("status")) : Status::starting;
  info.template_name = fields.text("template");
  const auto network = parse_network(fields.text("network", "off"));
  info.network = network ? *network : Network::restricted;
  info.cpu = fields.number("cpu");
  info.memory_mb = fields.small_integer("memory_mb");
  info.region = fields.text("region");
  info.created_at = fields.time("created_at");
  info.expires_at = fields.time("expires_at");
  info.metadata = fields.text_map("metadata");
  const auto on_timeout = parse_on_timeout(fields.text("on_timeout", "kill"));
  info.on_timeout = on_timeout ? *on_timeout : OnTimeout::kill;
  info.auto_resume = fields.flag("auto_resume");
  info.paused_expires_at = fields.maybe_time("paused_expires_at");
  info.preview_auth = fields.flag("preview_auth");
  info.preview_auth_token = fields.text("preview_auth_token");
  info.volume = fields.text("volume");
  info.node_id = fields.text("node_id");
  info.end_reason = fields.text("end_reason");
  return info;
}

SnapshotInfo snapshot_of(Fields& fields) {
  SnapshotInfo info;
  info.id = fields.needed_id("id");
  info.status = fields.text("status", "ready");
  info.template_name = fields.text("template");
  info.cpu = fields.number("cpu");
  info.memory_mb = fields.small_integer("memory_mb");
  const auto network = parse_network(fields.text("network", "off"));
  info.network = network ? *network : Network::restricted;
  info.name = fields.text("name");
  info.source_sandbox_id = fields.text("source_sandbox_id");
  info.size_mb = fields.small_integer("size_mb");
  info.node_id = fields.text("node_id");
  info.region = fields.text("region");
  info.error_message = fields.text("error_message");
  info.created_at = fields.time("created_at");
  info.ready_at = fields.maybe_time("ready_at");
  return info;
}

int exit_code_of(Fields& fields, std::string_view name) {
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  return static_cast<int>(fields.integer(name, -kMost, kMost));
}

CommandInfo command_of(Fields& fields) {
  CommandInfo info;
  info.id = fields.needed_id("id");
  info.command = fields.text("command");
  if (fields.has("pid")) info.pid = fields.integer("pid", 0, std::numeric_limits<std::int64_t>::max());
  if (fields.has("exit_code")) info.exit_code = exit_code_of(fields, "exit_code");
  const auto known = parse_command_status(fields.text("status"));
  // Without one, or with one that we do not know, it is over where there is an exit code. Else it counts as running:
  // who waits asks again, while a command that is taken for over is lost sight of.
  info.status = known ? *known : info.exit_code ? CommandStatus::exited : CommandStatus::running;
  info.started_at = fields.maybe_time("started_at");
  return info;
}

}  // namespace

Result<SandboxInfo> decode_sandbox(const JsonValue& json, const AnswerContext& context) {
  Fields fields(json, context);
  SandboxInfo info = sandbox_of(fields);
  return unless_bad(fields, std::move(info));
}

Result<SandboxPage> decode_page(const JsonValue& json, const AnswerContext& context) {
  SandboxPage page;
  ORKESTR_TRY(page.sandboxes, decode_array<SandboxInfo>(json, context, "sandboxes", sandbox_of));
  Fields fields(json, context);
  page.next_cursor = fields.text("next_cursor");
  return unless_bad(fields, std::move(page));
}

Result<Limits> decode_limits(const JsonValue& json, const AnswerContext& context) {
  Fields fields(json, context);
  Limits limits;
  limits.plan = fields.needed_text("plan");
  for (const char* name : {"max_concurrent", "max_snapshots"}) {
    if (!fields.has(name)) fields.fail(name, "is missing");
  }
  limits.max_concurrent = fields.small_integer("max_concurrent");
  limits.max_snapshots = fields.small_integer("max_snapshots");
  limits.allowed_sizes = fields.texts("allowed_sizes");
  const auto& sizes = fields.array("sizes");
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    Fields size = fields.item(sizes[i], "sizes", i);
    limits.sizes.push_back(
        {size.text("size"), size.number("cpu"), size.small_integer("memory_mb"), size.flag("allowed", true)});
    fields.adopt(size);
  }
  const auto& regions = fields.array("regions");
  for (std::size_t i = 0; i < regions.size(); ++i) {
    Fields region = fields.item(regions[i], "regions", i);
    limits.regions.push_back({region.text("id"), region.text("label")});
    fields.adopt(region);
  }
  limits.custom_egress_allowlist = fields.flag("custom_egress_allowlist");
  limits.default_egress_domains = fields.texts("default_egress_domains");
  limits.trial_credit_eur = fields.maybe_number("trial_credit_eur");
  limits.trial_credit_used_eur = fields.maybe_number("trial_credit_used_eur");
  if (const auto most = fields.maybe_number("max_running_lifetime_seconds")) {
    limits.max_running_lifetime = whole_seconds(*most);
  }
  if (fields.has("max_named_snapshots")) limits.max_named_snapshots = fields.small_integer("max_named_snapshots");
  if (const auto most = fields.maybe_number("max_timeout_seconds")) limits.max_timeout = whole_seconds(*most);
  limits.usage_resets_at = fields.text("usage_resets_at");
  return unless_bad(fields, std::move(limits));
}

Result<Metrics> decode_metrics(const JsonValue& json, const AnswerContext& context) {
  Fields fields(json, context);
  Metrics metrics;
  metrics.sandbox_id = fields.text("sandbox_id");
  const auto status = parse_status(fields.text("sandbox_status", "running"));
  metrics.status = status ? *status : Status::starting;
  metrics.as_of = fields.time("as_of");
  metrics.sample_interval_seconds = fields.number("sample_interval_seconds");
  metrics.window_seconds = fields.number("window_seconds");
  Fields cpu = fields.object("cpu");
  metrics.cpu_cores = cpu.number("cores");
  metrics.cpu_usage_cores = cpu.maybe_number("usage_cores");
  metrics.cpu_usage_percent = cpu.maybe_number("usage_percent");
  Fields memory = fields.object("memory");
  metrics.memory_limit_bytes = bytes_of(memory.maybe_number("limit_bytes"));
  if (const auto used = memory.maybe_number("usage_bytes")) metrics.memory_usage_bytes = bytes_of(used);
  metrics.memory_usage_percent = memory.maybe_number("usage_percent");
  Fields lifetime = fields.object("lifetime");
  metrics.lifetime_cpu_seconds = lifetime.number("cpu_seconds");
  metrics.lifetime_gb_seconds = lifetime.number("gb_seconds");
  const auto& samples = fields.array("samples");
  for (std::size_t i = 0; i < samples.size(); ++i) {
    Fields sample = fields.item(samples[i], "samples", i);
    MetricsSample one;
    // Seconds of the epoch, or a time as everywhere else.
    const auto& when = samples[i]["t"];
    if (const auto seconds = when.number()) {
      one.time = TimePoint() + std::chrono::duration_cast<TimePoint::duration>(
                                   std::chrono::duration<double>(std::clamp(*seconds, 0.0, 9e9)));
    } else {
      one.time = sample.time("t");
    }
    one.cpu_percent = sample.number("cpu_percent");
    one.memory_bytes = bytes_of(sample.maybe_number("mem_bytes"));
    metrics.samples.push_back(one);
    fields.adopt(sample);
  }
  for (const Fields* nested : {&cpu, &memory, &lifetime}) fields.adopt(*nested);
  return unless_bad(fields, std::move(metrics));
}

Result<SnapshotInfo> decode_snapshot(const JsonValue& json, const AnswerContext& context) {
  return decode_object<SnapshotInfo>(json, context, snapshot_of);
}

Result<std::vector<SnapshotInfo>> decode_snapshots(const JsonValue& json, const AnswerContext& context) {
  return decode_array<SnapshotInfo>(json, context, "snapshots", snapshot_of);
}

Result<CommandInfo> decode_command(const JsonValue& json, const AnswerContext& context) {
  return decode_object<CommandInfo>(json, context, command_of);
}

Result<std::vector<CommandInfo>> decode_commands(const JsonValue& json, const AnswerContext& context) {
  return decode_array<CommandInfo>(json, context, "commands", command_of);
}

Result<CommandLogs> decode_logs(const JsonValue& json, const AnswerContext& context, std::uint64_t offset) {
  Fields fields(json, context);
  CommandLogs logs;
  logs.content = fields.text("content");
  logs.start_offset = fields.count("start_offset", offset);  // (ours; the hosted service keeps all of it)
  logs.size = fields.count("size", logs.next_offset());
  logs.truncated = fields.flag("truncated");
  return unless_bad(fields, std::move(logs));
}

Result<TimePoint> decode_expiry(const JsonValue& json, const AnswerContext& context) {
  Fields fields(json, context);
  if (!fields.has("expires_at")) fields.fail("expires_at", "is missing");
  const TimePoint time = fields.time("expires_at");
  return unless_bad(fields, time);
}

Result<std::string> decode_host(const JsonValue& json, const AnswerContext& context) {
  Fields fields(json, context);
  std::string host = fields.needed_text("host");
  return unless_bad(fields, std::move(host));
}

Result<ExecAnswer> decode_exec(const JsonValue& json, const AnswerContext& context) {
  Fields fields(json, context);
  ExecAnswer answer;
  answer.stdout_data = fields.text("stdout");
  answer.stderr_data = fields.text("stderr");
  if (!fields.has("exit_code")) fields.fail("exit_code", "is missing");
  answer.end.exit_code = exit_code_of(fields, "exit_code");
  answer.end.duration = milliseconds_of(fields.number("duration_ms"));
  return unless_bad(fields, std::move(answer));
}

Result<std::string> decode_file(const JsonValue& json, const AnswerContext& context, std::string_view path) {
  Fields fields(json, context);
  if (fields.flag("is_dir")) {
    return Error(ErrorCode::is_a_directory, fmt::format("read {}: it is a directory; list() lists it", path));
  }
  const auto content = json["content"].string();
  auto bytes = content ? base64_decode(*content) : std::nullopt;
  if (!bytes) fields.fail("content", content ? "is no base64" : "is missing, or no text");
  return unless_bad(fields, std::move(bytes).value_or(std::string()));
}

Result<std::vector<FileEntry>> decode_directory(const JsonValue& json, const AnswerContext& context,
                                                std::string_view path) {
  Fields fields(json, context);
  const bool is_directory = fields.flag("is_dir");
  if (fields.error()) return *fields.error();
  if (!is_directory) {
    return Error(ErrorCode::not_a_directory, fmt::format("list {}: it is no directory; stat() tells about it", path));
  }
  auto entries = decode_array<FileEntry>(json, context, "entries", [](Fields& item) {
    FileEntry entry;
    entry.name = item.needed_text("name");
    entry.is_dir = item.flag("is_dir");
    entry.size = item.count("size");
    entry.mode = item.small_integer("mode") & 07777;
    entry.modified_at = item.time("modified_at");
    return entry;
  });
  if (entries) {
    std::sort(entries->begin(), entries->end(), [](const FileEntry& a, const FileEntry& b) { return a.name < b.name; });
  }
  return entries;
}

Result<FileStat> decode_stat(const JsonValue& json, const AnswerContext& context) {
  Fields fields(json, context);
  FileStat stat;
  if (!fields.has("exists")) fields.fail("exists", "is missing");
  stat.exists = fields.flag("exists");
  stat.is_dir = fields.flag("is_dir");
  stat.size = fields.count("size");
  stat.mode = fields.small_integer("mode") & 07777;
  stat.modified_at = fields.time("modified_at");
  return unless_bad(fields, stat);
}

Result<std::vector<BatchWriteResult>> decode_batch(const JsonValue& json, const AnswerContext& context) {
  return decode_array<BatchWriteResult>(json, context, "results", [&](Fields& item) {
    BatchWriteResult result;
    result.path = item.text("path");
    result.bytes_written = item.count("bytes_written");
    if (item.has("error")) {
      Fields error = item.object("error");
      const std::string code = error.text("code");
      const std::string detail = error.text("detail", error.text("message", code));
      item.adopt(error);
      result.error = Error(code_named(code).value_or(ErrorCode::api),
                           shown(fmt::format("write {}: {}", result.path, detail), context.key));
    }
    return result;
  });
}

Result<PresignedUrl> decode_presigned(const JsonValue& json, const AnswerContext& context) {
  Fields fields(json, context);
  PresignedUrl url;
  url.url = fields.needed_text("url");
  url.method = fields.text("method");
  url.path = fields.text("path");
  url.expires_at = fields.time("expires_at");
  return unless_bad(fields, std::move(url));
}

}  // namespace orkestr::remote
