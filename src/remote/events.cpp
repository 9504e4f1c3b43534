#include "remote/events.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/json.hpp"
#include "base/try.hpp"
#include "remote/base64.hpp"
#include "remote/errors.hpp"

namespace orkestr::remote {

bool LineCutter::feed(std::string_view bytes, const std::function<bool(std::string_view)>& line) {
  while (!over_ && !bytes.empty()) {
    if (after_cr_) {
      after_cr_ = false;
      if (bytes[0] == '\n') {
        bytes.remove_prefix(1);
        continue;
      }
    }
    const std::size_t end = bytes.find_first_of("\r\n");
    const std::string_view piece = bytes.substr(0, end);
    if (rest_.size() + piece.size() > max_line_bytes_) {
      over_ = too_long_ = true;
      rest_ = {};
      break;
    }
    if (end == std::string_view::npos) {
      rest_ += piece;
      break;
    }
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    if (rest_.empty()) {
      over_ = !line(piece);
    } else {
      rest_ += piece;
      over_ = !line(rest_);
      rest_.clear();
    }
  }
  return !over_;
}

bool LineCutter::finish(const std::function<bool(std::string_view)>& line) {
  if (!over_ && !rest_.empty()) {
    over_ = !line(rest_);
    rest_.clear();
  }
  return !over_;
}

Result<std::optional<base::JsonValue>> event_json(std::string_view line, const AnswerContext& context,
                                                  std::size_t max_bytes) {
  if (line.substr(0, 5) != "data:") return std::optional<base::JsonValue>();
  line.remove_prefix(5);
  if (!line.empty() && line[0] == ' ') line.remove_prefix(1);
  if (line.empty()) return std::optional<base::JsonValue>();
  auto json = base::JsonValue::parse(line, max_bytes);
  if (!json) return bad_field(context, "data", fmt::format("is {}", json.error().message()));
  return std::optional<base::JsonValue>(std::move(*json));
}

Result<CommandEvent> decode_event(std::string_view line, const AnswerContext& context) {
  CommandEvent event;
  ORKESTR_TRY(const auto json, event_json(line, context));
  if (!json) return event;
  Fields fields(*json, context);
  const std::string kind = fields.text("kind");
  if (kind == "exec_started") {
    event.kind = CommandEvent::Kind::started;
    event.pid = fields.integer("pid", 0, std::numeric_limits<std::int32_t>::max());
  } else if (kind == "exec_chunk") {
    const std::string stream = fields.text("stream", "stdout");
    const bool known = stream == "stdout" || stream == "stderr";
    event.kind = known ? CommandEvent::Kind::output : CommandEvent::Kind::none;
    event.stream = stream == "stderr" ? OutputStream::standard_error : OutputStream::standard_output;
    const auto& data = (*json)["data"];
    auto bytes = base64_decode(data.string().value_or(""));
    if (!bytes || (!data.is_null() && !data.string())) fields.fail("data", "is no base64");
    event.data = std::move(bytes).value_or(std::string());
    if (event.data.empty()) event.kind = CommandEvent::Kind::none;
  } else if (kind == "exec_exited") {
    constexpr std::int64_t kMost = std::numeric_limits<int>::max();
    event.kind = CommandEvent::Kind::exited;
    if (!fields.has("code")) fields.fail("code", "is missing");
    event.end.exit_code = static_cast<int>(fields.integer("code", -kMost, kMost));
    const double duration_ms = std::clamp(fields.number("duration_ms"), 0.0, 1e12);
    event.end.duration = std::chrono::microseconds(static_cast<std::int64_t>(duration_ms * 1000));
  } else if (kind == "error") {
    event.kind = CommandEvent::Kind::error;
    event.wire_code = fields.text("code");
    event.code = code_named(event.wire_code);
    event.message = fields.text("message", fields.text("detail"));
    event.signal = static_cast<int>(fields.integer("signal", 0, 1024));
    event.oom = fields.flag("oom");
  }
  if (fields.error()) return *fields.error();
  return event;
}

}  // namespace orkestr::remote
