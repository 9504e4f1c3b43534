#include "remote/code.hpp"

#include <algorithm>
#include <limits>

#include "base/try.hpp"
#include "remote/base64.hpp"
#include "remote/decode.hpp"
#include "remote/events.hpp"

namespace orkestr::remote {
namespace {

using base::JsonValue;
using std::chrono::milliseconds;

constexpr std::int64_t kMostInteger = std::numeric_limits<std::int64_t>::max();

std::optional<std::string> maybe_text(Fields& fields, std::string_view field) {
  if (!fields.has(field)) return std::nullopt;
  return fields.text(field);
}

std::optional<std::string> json_text(const JsonValue& value) {
  if (value.is_null()) return std::nullopt;
  return value.text();
}

// Interpreters break the lines of base64.
std::optional<std::string> image(Fields& fields, std::string_view field) {
  auto text = maybe_text(fields, field);
  if (!text) return std::nullopt;
  std::erase_if(*text, [](char c) { return c == '\n' || c == '\r' || c == ' '; });
  auto bytes = base64_decode(*text);
  if (!bytes) fields.fail(field, "is no base64");
  return bytes;
}

CodeResult result_of(const JsonValue& json, Fields& fields) {
  CodeResult result;
  result.type = fields.text("type", "text");
  result.text = maybe_text(fields, "text");
  result.html = maybe_text(fields, "html");
  result.png = image(fields, "png");
  result.json = json_text(json["json"]);
  result.chart = json_text(json["chart"]);
  return result;
}

CodeError error_of(Fields& fields) {
  CodeError error;
  error.name = fields.text("name");
  if (error.name.empty()) error.name = "Error";
  error.value = fields.text("value");
  error.traceback = fields.texts("traceback");
  return error;
}

CodeExecution execution_of(const JsonValue& json, Fields& fields) {
  CodeExecution execution;
  const auto& results = fields.array("results");
  for (std::size_t i = 0; i < results.size() && !fields.error(); ++i) {
    Fields item = fields.item(results[i], "results", i);
    execution.results.push_back(result_of(results[i], item));
    fields.adopt(item);
  }
  execution.stdout_data = fields.text("stdout");
  execution.stderr_data = fields.text("stderr");
  if (!json["error"].is_null()) {
    Fields error = fields.object("error");
    execution.error = error_of(error);
    fields.adopt(error);
  }
  if (fields.has("execution_count")) execution.execution_count = fields.integer("execution_count", 0, kMostInteger);
  execution.context_id = fields.text("context_id", "default");
  execution.duration = milliseconds(static_cast<std::int64_t>(std::clamp(fields.number("duration_ms"), 0.0, 1e12)));
  execution.interrupted = fields.flag("interrupted");
  execution.restarted = fields.flag("restarted");
  execution.truncated = fields.texts("truncated");
  return execution;
}

CodeContextInfo context_of(Fields& fields) {
  CodeContextInfo info;
  info.id = fields.needed_id("context_id");
  info.language = fields.text("language", "python");
  info.cwd = fields.text("cwd");
  info.created_at = fields.maybe_time("created_at");
  info.last_used_at = fields.maybe_time("last_used_at");
  info.executions = fields.integer("executions", 0, kMostInteger);
  info.alive = fields.flag("alive", true);
  return info;
}

}  // namespace

Result<CodeExecution> decode_execution(const JsonValue& json, const AnswerContext& context) {
  return decode_object<CodeExecution>(json, context, [&](Fields& fields) { return execution_of(json, fields); });
}
Result<CodeContextInfo> decode_context(const JsonValue& json, const AnswerContext& context) {
  return decode_object<CodeContextInfo>(json, context, context_of);
}
Result<std::vector<CodeContextInfo>> decode_contexts(const JsonValue& json, const AnswerContext& context) {
  return decode_array<CodeContextInfo>(json, context, "contexts", context_of);
}

Result<CodeLine> decode_code_line(std::string_view line, const AnswerContext& context) {
  CodeLine decoded;
  ORKESTR_TRY(const auto json, event_json(line, context, kMaxCodeAnswer));
  if (!json) return decoded;
  Fields fields(*json, context);
  const std::string kind = fields.text("kind");
  CodeEvent event;
  bool known = true;
  if (kind == "stream") {
    const std::string stream = fields.text("stream", "stdout");
    event.stream = stream == "stderr" ? OutputStream::standard_error : OutputStream::standard_output;
    event.text = fields.text("text");
    known = !event.text.empty() && (stream == "stdout" || stream == "stderr");
  } else if (kind == "result") {
    event.kind = CodeEvent::Kind::result;
    Fields result = fields.object("result");
    event.result = result_of((*json)["result"], result);
    fields.adopt(result);
  } else if (kind == "error") {
    event.kind = CodeEvent::Kind::error;
    Fields error = fields.object("error");
    event.error = error_of(error);
    fields.adopt(error);
    decoded.refusal = fields.text("error_code");
  } else if (kind == "done") {
    event.kind = CodeEvent::Kind::done;
    event.execution = execution_of(*json, fields);
  } else {
    known = false;
  }
  if (fields.error()) return *fields.error();
  if (known) decoded.event = std::move(event);
  return decoded;
}

}  // namespace orkestr::remote
