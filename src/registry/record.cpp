#include "registry/record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/id.hpp"
#include "base/json.hpp"
#include "base/try.hpp"

namespace orkestr::registry {
namespace {

constexpr std::array<std::string_view, 7> kStatuses = {"starting", "running",    "pausing", "paused",
                                                       "resuming", "terminated", "failed"};

Error unreadable(std::string_view why) {
  return Error(ErrorCode::internal, fmt::format("read the record of a sandbox: {}", why));
}

}  // namespace

std::string Record::to_json() const {
  base::JsonWriter out;
  out.begin_object();
  out.field("format", kRecordFormat);
  out.field("id", id);
  out.field("status", status);
  out.field("template", template_name);
  out.field("template_digest", template_digest);
  out.field("network", network);
  out.field("cpu", cpu);
  out.field("cpu_reason", cpu_reason);
  out.field("memory_mb", memory_mb);
  out.field("disk_mb", disk_mb);
  out.field("timeout_seconds", timeout_seconds);
  out.field("on_timeout", on_timeout);
  out.field("auto_resume", auto_resume);
  out.field("paused_ttl_seconds", paused_ttl_seconds);
  out.field("paused_expires_at_ms", paused_expires_at_ms);
  out.field("created_at_ms", created_at_ms);
  out.field("expires_at_ms", expires_at_ms);
  out.field("ended_at_ms", ended_at_ms);
  out.field("end_reason", end_reason);
  out.key("metadata").begin_object();
  for (const auto& [name, value] : metadata) out.field(name, value);
  out.end_object();
  out.field("accelerator", accelerator);
  out.field("accelerator_reason", accelerator_reason);
  out.field("isolation", isolation);
  out.field("jail", jail);
  out.field("create_ms", create_ms);
  out.field("cpu_ms", cpu_ms);
  out.field("alive_ms", alive_ms);
  out.field("started_from", started_from);
  out.field("version", version);
  out.end_object();
  return out.take();
}

Result<Record> Record::from_json(std::string_view json) {
  auto parsed = base::JsonValue::parse(json);
  if (!parsed) return unreadable(parsed.error().message());
  const base::JsonValue& in = *parsed;
  if (in.kind() != base::JsonValue::Kind::object) return unreadable("it is no JSON object");
  const std::int64_t format = in.integer_or("format", 0);
  if (format != kRecordFormat) {
    return unreadable(fmt::format("it has format {}, this build reads format {}; another version of orkestr wrote it",
                                  format, kRecordFormat));
  }
  const Record defaults;
  Record r;
  r.id = in.string_or("id", "");
  if (!base::is_sandbox_id(r.id)) return unreadable(fmt::format("\"{}\" is no id of a sandbox", r.id));
  r.status = in.string_or("status", "");
  if (std::find(kStatuses.begin(), kStatuses.end(), r.status) == kStatuses.end()) {
    return unreadable(fmt::format("{} has the unknown status \"{}\"", r.id, r.status));
  }
  r.template_name = in.string_or("template", "");
  r.template_digest = in.string_or("template_digest", "");
  r.network = in.string_or("network", defaults.network);
  r.cpu = in["cpu"].number().value_or(defaults.cpu);
  r.cpu_reason = in.string_or("cpu_reason", "");
  r.memory_mb = in.integer_or("memory_mb", defaults.memory_mb);
  r.disk_mb = in.integer_or("disk_mb", defaults.disk_mb);
  r.timeout_seconds = in.integer_or("timeout_seconds", defaults.timeout_seconds);
  r.on_timeout = in.string_or("on_timeout", defaults.on_timeout);
  r.auto_resume = in.boolean_or("auto_resume", false);
  r.paused_ttl_seconds = in.integer_or("paused_ttl_seconds", 0);
  r.paused_expires_at_ms = in.integer_or("paused_expires_at_ms", 0);
  r.created_at_ms = in.integer_or("created_at_ms", 0);
  r.expires_at_ms = in.integer_or("expires_at_ms", 0);
  r.ended_at_ms = in.integer_or("ended_at_ms", 0);
  r.end_reason = in.string_or("end_reason", "");
  for (const auto& [name, value] : in["metadata"].members()) {
    if (auto text = value.string()) r.metadata[name] = *text;
  }
  r.accelerator = in.string_or("accelerator", "");
  r.accelerator_reason = in.string_or("accelerator_reason", "");
  r.isolation = in.string_or("isolation", "");
  r.jail = in.string_or("jail", "");
  r.create_ms = in.integer_or("create_ms", 0);
  r.cpu_ms = in.integer_or("cpu_ms", 0);
  r.alive_ms = in.integer_or("alive_ms", 0);
  r.started_from = in.string_or("started_from", "");
  r.version = in.string_or("version", "");
  return r;
}

}  // namespace orkestr::registry
