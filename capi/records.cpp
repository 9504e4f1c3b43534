#include "records.hpp"

#include <chrono>
#include <cstdint>
#include <map>

#include "guard.hpp"

namespace orkestr::capi {

namespace {

Node milliseconds(std::chrono::microseconds duration) {
  return Node::integer(std::chrono::round<std::chrono::milliseconds>(duration).count());
}

// Bytes, sizes and offsets; none of them comes near 2^63.
Node size(std::uint64_t value) { return Node::integer(static_cast<std::int64_t>(value)); }

Node map(const std::map<std::string, std::string>& from) {
  Node record = Node::record();
  for (const auto& [name, value] : from) record.append(name, Node::text(value));
  return record;
}

// What may be empty is null then.
template <class T>
Node integer_or_null(const std::optional<T>& value) {
  return value ? Node::integer(static_cast<std::int64_t>(*value)) : Node();
}
Node number_or_null(const std::optional<double>& value) { return value ? Node::number(*value) : Node(); }
Node text_or_null(std::optional<std::string> value) { return value ? Node::text(std::move(*value)) : Node(); }
Node time_or_null(const std::optional<TimePoint>& value) { return value ? Node::time(*value) : Node(); }
Node seconds_or_null(const std::optional<std::chrono::seconds>& value) {
  return value ? Node::integer(value->count()) : Node();
}

Node to_node(const MetricsSample& sample) {
  return Node::record()
      .add("time", Node::time(sample.time))
      .add("cpu_percent", Node::number(sample.cpu_percent))
      .add("memory_bytes", size(sample.memory_bytes));
}

Node to_node(const SizeLimit& limit) {
  return Node::record()
      .add("size", Node::text(limit.size))
      .add("cpu", Node::number(limit.cpu))
      .add("memory_mb", Node::integer(limit.memory_mb))
      .add("allowed", Node::flag(limit.allowed));
}

Node to_node(const Region& region) {
  return Node::record().add("id", Node::text(region.id)).add("label", Node::text(region.label));
}

Node to_node(const TemplatePart& part) {
  return Node::record()
      .add("source", Node::text(part.source))
      .add("name", Node::text(part.name))
      .add("version", Node::text(part.version))
      .add("origin", Node::text(part.origin))
      .add("sha256", Node::text(part.sha256))
      .add("bytes", size(part.bytes));
}

Node to_node(const PoolMember& member) {
  return Node::record()
      .add("id", Node::text(member.id))
      .add("ready", Node::flag(member.ready))
      .add("created_at", Node::time(member.created_at));
}

Node name_of(OutputStream stream) {
  return Node::text(std::string_view(stream == OutputStream::standard_output ? "stdout" : "stderr"));
}

Node to_node(CodeResult result) {
  return Node::record()
      .add("type", Node::text(std::move(result.type)))
      .add("text", text_or_null(std::move(result.text)))
      .add("html", text_or_null(std::move(result.html)))
      .add("png", result.png ? Node::bytes(std::move(*result.png)) : Node())
      .add("json", text_or_null(std::move(result.json)))
      .add("chart", text_or_null(std::move(result.chart)));
}

// (The one of the header is declared before these are, and does not see them.)
template <class Item>
Node list(const std::vector<Item>& items) {
  Node out = Node::list();
  for (const Item& item : items) out.append({}, to_node(item));
  return out;
}

Node texts(const std::vector<std::string>& items) {
  Node out = Node::list();
  for (const std::string& item : items) out.append({}, Node::text(item));
  return out;
}

Node to_node(const CodeError& error) {
  return Node::record()
      .add("name", Node::text(error.name))
      .add("value", Node::text(error.value))
      .add("traceback", texts(error.traceback));
}

}  // namespace

Node to_node(const SandboxInfo& info) {
  return Node::record()
      .add("id", Node::text(info.id))
      .add("status", Node::text(to_string(info.status)))
      .add("template", Node::text(info.template_name))
      .add("network", Node::text(to_string(info.network)))
      .add("cpu", Node::number(info.cpu))
      .add("cpu_reason", Node::text(info.cpu_reason))
      .add("memory_mb", Node::integer(info.memory_mb))
      .add("disk_mb", Node::integer(info.disk_mb))
      .add("region", Node::text(info.region))
      .add("created_at", Node::time(info.created_at))
      .add("expires_at", Node::time(info.expires_at))
      .add("metadata", map(info.metadata))
      .add("on_timeout", Node::text(to_string(info.on_timeout)))
      .add("auto_resume", Node::flag(info.auto_resume))
      .add("paused_expires_at", time_or_null(info.paused_expires_at))
      .add("preview_auth", Node::flag(info.preview_auth))
      .add("preview_auth_token", Node::text(info.preview_auth_token))
      .add("volume", Node::text(info.volume))
      .add("node_id", Node::text(info.node_id))
      .add("backend", Node::text(info.backend))
      .add("end_reason", Node::text(info.end_reason))
      .add("accelerator", Node::text(info.accelerator))
      .add("accelerator_reason", Node::text(info.accelerator_reason))
      .add("isolation", Node::text(info.isolation))
      .add("jail", Node::text(info.jail));
}

Node to_node(ExecResult result) {
  return Node::record()
      .add("stdout", Node::bytes(std::move(result.stdout_data)))
      .add("stderr", Node::bytes(std::move(result.stderr_data)))
      .add("exit_code", Node::integer(result.exit_code))
      .add("duration_ms", milliseconds(result.duration))
      .add("stdout_total_bytes", size(result.stdout_total_bytes))
      .add("stderr_total_bytes", size(result.stderr_total_bytes))
      .add("truncated", Node::flag(result.truncated))
      .add("user_ms", milliseconds(result.user_time))
      .add("system_ms", milliseconds(result.system_time))
      .add("max_rss_kb", size(result.max_rss_kb))
      .add("network_denied", texts(result.network_denied));
}

Node to_node(ExecChunk chunk) {
  const bool final = chunk.is_final();
  return Node::record()
      .add("stream", name_of(chunk.stream))
      .add("data", Node::bytes(std::move(chunk.data)))
      .add("exit_code", integer_or_null(chunk.exit_code))
      .add("duration_ms", final ? milliseconds(chunk.duration) : Node());
}

Node to_node(CodeExecution execution) {
  auto text = execution.text();
  Node results = Node::list();  // moved one by one: images may be large
  for (CodeResult& result : execution.results) results.append({}, to_node(std::move(result)));
  return Node::record()
      .add("results", std::move(results))
      .add("stdout", Node::text(std::move(execution.stdout_data)))
      .add("stderr", Node::text(std::move(execution.stderr_data)))
      .add("error", execution.error ? to_node(*execution.error) : Node())
      .add("execution_count", integer_or_null(execution.execution_count))
      .add("context_id", Node::text(std::move(execution.context_id)))
      .add("duration_ms", Node::integer(execution.duration.count()))
      .add("interrupted", Node::flag(execution.interrupted))
      .add("restarted", Node::flag(execution.restarted))
      .add("truncated", texts(execution.truncated))
      .add("text", text_or_null(std::move(text)));
}

Node to_node(CodeEvent event) {
  using Kind = CodeEvent::Kind;
  const Kind kind = event.kind;
  const bool is_output = kind == Kind::output;
  return Node::record()
      .add("kind", Node::text(to_string(kind)))
      .add("stream", is_output ? name_of(event.stream) : Node())
      .add("text", is_output ? Node::text(std::move(event.text)) : Node())
      .add("result", kind == Kind::result ? to_node(std::move(event.result)) : Node())
      .add("error", kind == Kind::error ? to_node(event.error) : Node())
      .add("execution", kind == Kind::done ? to_node(std::move(event.execution)) : Node());
}

Node to_node(const CodeContext& context) {
  const CodeContextInfo info = context.info();
  return Node::record()
      .add("id", Node::text(info.id))
      .add("language", Node::text(info.language))
      .add("cwd", Node::text(info.cwd))
      .add("created_at", time_or_null(info.created_at))
      .add("last_used_at", time_or_null(info.last_used_at))
      .add("executions", Node::integer(info.executions))
      .add("alive", Node::flag(info.alive));
}

Node to_node(const CommandInfo& info) {
  return Node::record()
      .add("id", Node::text(info.id))
      .add("command", Node::text(info.command))
      .add("pid", integer_or_null(info.pid))
      .add("status", Node::text(to_string(info.status)))
      .add("exit_code", integer_or_null(info.exit_code))
      .add("started_at", time_or_null(info.started_at));
}

Node to_node(CommandLogs logs) {
  const std::uint64_t next = logs.next_offset();
  return Node::record()
      .add("content", Node::bytes(std::move(logs.content)))
      .add("start_offset", size(logs.start_offset))
      .add("size", size(logs.size))
      .add("truncated", Node::flag(logs.truncated))
      .add("next_offset", size(next));
}

Node to_node(const Event& event) {
  return Node::record()
      .add("time", Node::time(event.time))
      .add("kind", Node::text(event.kind))
      .add("outcome", Node::text(event.outcome))
      .add("command", Node::text(event.command))
      .add("path", Node::text(event.path))
      .add("exit_code", integer_or_null(event.exit_code))
      .add("duration_ms", integer_or_null(event.duration_ms))
      .add("reason", Node::text(event.reason))
      .add("json", Node::text(event.json));
}

Node to_node(const FileEntry& entry) {
  return Node::record()
      .add("name", Node::text(entry.name))
      .add("is_dir", Node::flag(entry.is_dir))
      .add("size", size(entry.size))
      .add("mode", Node::integer(entry.mode))
      .add("modified_at", Node::time(entry.modified_at));
}

Node to_node(const FileStat& stat) {
  return Node::record()
      .add("exists", Node::flag(stat.exists))
      .add("is_dir", Node::flag(stat.is_dir))
      .add("size", size(stat.size))
      .add("mode", Node::integer(stat.mode))
      .add("modified_at", Node::time(stat.modified_at));
}

Node to_node(const BatchWriteResult& result) {
  return Node::record()
      .add("path", Node::text(result.path))
      .add("bytes_written", size(result.bytes_written))
      .add("status", Node::integer(result.error ? status_of(result.error->code()) : ORKESTR_OK))
      .add("error", Node::text(result.error ? to_string(result.error->code()) : std::string_view()))
      .add("message", Node::text(result.error ? result.error->message() : std::string()));
}

Node to_node(const PresignedUrl& url) {
  return Node::record()
      .add("url", Node::text(url.url))
      .add("method", Node::text(url.method))
      .add("path", Node::text(url.path))
      .add("expires_at", Node::time(url.expires_at));
}

Node to_node(const Metrics& metrics) {
  return Node::record()
      .add("sandbox_id", Node::text(metrics.sandbox_id))
      .add("status", Node::text(to_string(metrics.status)))
      .add("as_of", Node::time(metrics.as_of))
      .add("sample_interval_seconds", Node::number(metrics.sample_interval_seconds))
      .add("window_seconds", Node::number(metrics.window_seconds))
      .add("cpu_cores", Node::number(metrics.cpu_cores))
      .add("cpu_usage_cores", number_or_null(metrics.cpu_usage_cores))
      .add("cpu_usage_percent", number_or_null(metrics.cpu_usage_percent))
      .add("memory_limit_bytes", size(metrics.memory_limit_bytes))
      .add("memory_usage_bytes", integer_or_null(metrics.memory_usage_bytes))
      .add("memory_usage_percent", number_or_null(metrics.memory_usage_percent))
      .add("lifetime_cpu_seconds", Node::number(metrics.lifetime_cpu_seconds))
      .add("lifetime_gb_seconds", Node::number(metrics.lifetime_gb_seconds))
      .add("samples", list(metrics.samples));
}

Node to_node(const Limits& limits) {
  return Node::record()
      .add("plan", Node::text(limits.plan))
      .add("max_concurrent", Node::integer(limits.max_concurrent))
      .add("max_snapshots", Node::integer(limits.max_snapshots))
      .add("allowed_sizes", texts(limits.allowed_sizes))
      .add("sizes", list(limits.sizes))
      .add("regions", list(limits.regions))
      .add("custom_egress_allowlist", Node::flag(limits.custom_egress_allowlist))
      .add("default_egress_domains", texts(limits.default_egress_domains))
      .add("trial_credit_eur", number_or_null(limits.trial_credit_eur))
      .add("trial_credit_used_eur", number_or_null(limits.trial_credit_used_eur))
      .add("max_running_lifetime_seconds", seconds_or_null(limits.max_running_lifetime))
      .add("max_named_snapshots", integer_or_null(limits.max_named_snapshots))
      .add("max_timeout_seconds", seconds_or_null(limits.max_timeout))
      .add("usage_resets_at", Node::text(limits.usage_resets_at));
}

Node to_node(const SnapshotInfo& info) {
  return Node::record()
      .add("id", Node::text(info.id))
      .add("status", Node::text(info.status))
      .add("template", Node::text(info.template_name))
      .add("cpu", Node::number(info.cpu))
      .add("memory_mb", Node::integer(info.memory_mb))
      .add("network", Node::text(to_string(info.network)))
      .add("name", Node::text(info.name))
      .add("source_sandbox_id", Node::text(info.source_sandbox_id))
      .add("size_mb", Node::integer(info.size_mb))
      .add("node_id", Node::text(info.node_id))
      .add("region", Node::text(info.region))
      .add("error_message", Node::text(info.error_message))
      .add("created_at", Node::time(info.created_at))
      .add("ready_at", time_or_null(info.ready_at));
}

Node to_node(const VolumeInfo& info) {
  return Node::record()
      .add("id", Node::text(info.id))
      .add("name", Node::text(info.name))
      .add("size_mb", Node::integer(info.size_mb))
      .add("status", Node::text(info.status))
      .add("region", Node::text(info.region))
      .add("node_id", Node::text(info.node_id))
      .add("attached_sandbox_id", Node::text(info.attached_sandbox_id))
      .add("max_lifetime_days", integer_or_null(info.max_lifetime_days))
      .add("max_lifetime_hours", integer_or_null(info.max_lifetime_hours))
      .add("expires_at", time_or_null(info.expires_at));
}

Node to_node(const WebhookInfo& info) {
  return Node::record()
      .add("id", Node::text(info.id))
      .add("url", Node::text(info.url))
      .add("event_types", info.event_types ? texts(*info.event_types) : Node())
      .add("active", Node::flag(info.active))
      .add("consecutive_failures", Node::integer(info.consecutive_failures))
      .add("last_delivery_at", time_or_null(info.last_delivery_at))
      .add("last_error", Node::text(info.last_error))
      .add("created_at", time_or_null(info.created_at))
      .add("secret", Node::text(info.secret));
}

Node to_node(const TemplateInfo& info) {
  return Node::record()
      .add("name", Node::text(info.name))
      .add("description", Node::text(info.description))
      .add("built", Node::flag(info.built))
      .add("current", Node::flag(info.current))
      .add("build_id", Node::text(info.build_id))
      .add("directory", Node::text(info.directory))
      .add("created_at", Node::time(info.created_at))
      .add("bytes", size(info.bytes))
      .add("digest", Node::text(info.digest))
      .add("image_sha256", Node::text(info.image_sha256))
      .add("recipe_sha256", Node::text(info.recipe_sha256))
      .add("kernel", Node::text(info.kernel))
      .add("parts", list(info.parts));
}

Node to_node(const TemplateProgress& progress) {
  return Node::record()
      .add("template", Node::text(progress.template_name))
      .add("step", Node::text(progress.step))
      .add("index", Node::integer(progress.index))
      .add("count", Node::integer(progress.count))
      .add("line", Node::text(progress.line))
      .add("elapsed_ms", Node::integer(progress.elapsed.count()));
}

Node to_node(const Finding& finding) {
  return Node::record()
      .add("check", Node::text(finding.check))
      .add("level", Node::text(to_string(finding.level)))
      .add("message", Node::text(finding.message))
      .add("remedy", Node::text(finding.remedy))
      .add("fixed", Node::flag(finding.fixed));
}

Node to_node(const GcReport& report) {
  return Node::record()
      .add("reaped", texts(report.reaped))
      .add("forgotten", texts(report.forgotten))
      .add("removed", texts(report.removed))
      .add("bytes", size(report.bytes))
      .add("skipped", Node::text(report.skipped));
}

Node to_node(const PoolInfo& info) {
  return Node::record()
      .add("template", Node::text(info.template_name))
      .add("count", Node::integer(info.count))
      .add("ready", Node::integer(info.ready()))
      .add("cpu", Node::number(info.cpu))
      .add("memory_mb", Node::integer(info.memory_mb))
      .add("disk_mb", Node::integer(info.disk_mb))
      .add("idle_seconds", Node::integer(info.idle_timeout.count()))
      .add("min_available_mb", Node::integer(info.min_available_mb))
      .add("members", list(info.members))
      .add("problem", Node::text(info.problem));
}

Node to_node(const Error& error) {
  const ErrorDetails& details = error.details();
  return Node::record()
      .add("code", Node::text(to_string(error.code())))
      .add("message", Node::text(error.message()))
      .add("hint", Node::text(error_hint(error.code())))
      .add("status_code", Node::integer(details.status_code))
      .add("detail", Node::text(details.detail))
      .add("request_id", Node::text(details.request_id))
      .add("retry_after", number_or_null(details.retry_after))
      .add("signal", Node::integer(details.signal))
      .add("oom", Node::flag(details.oom))
      .add("stdout", Node::bytes(details.stdout_data))
      .add("stderr", Node::bytes(details.stderr_data))
      .add("host", Node::text(details.host))
      .add("port", Node::integer(details.port))
      .add("rule", Node::text(details.rule))
      .add("stage", Node::text(details.stage))
      .add("console_tail", Node::text(details.console_tail));
}

}  // namespace orkestr::capi
