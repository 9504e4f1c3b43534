#include "remote/errors.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.hpp"
#include "remote/settings.hpp"

namespace orkestr::remote {
namespace {

using base::JsonValue;

constexpr std::size_t kMaxDetailBytes = 16U << 10U;
constexpr std::size_t kMaxShownBytes = 500;
constexpr double kLongestWait = 365.0 * 24 * 3600;

ErrorCode code_of_status(int status, bool about_file) {
  switch (status) {
    case 401:
      return ErrorCode::unauthorized;
    case 402:
      return ErrorCode::plan_limit;
    case 403:
      return ErrorCode::forbidden;
    case 404:
      return about_file ? ErrorCode::file_not_found : ErrorCode::not_found;
    case 409:
      return ErrorCode::not_ready;
    case 429:
      return ErrorCode::rate_limited;
    default:
      return ErrorCode::api;
  }
}

std::string_view hint(ErrorCode code, int status) {
  switch (code) {
    case ErrorCode::unauthorized:
      return "; check the API key (api_key, or ORKESTR_API_KEY)";
    case ErrorCode::forbidden:
      return "; the API key's scope does not allow it";
    case ErrorCode::rate_limited:
      return "; try again later";
    default:
      return status >= 300 && status < 400 ? "; redirects are not followed: check base_url" : "";
  }
}

// Cut between characters.
std::string_view cut(std::string_view text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0U) == 0x80) --most;
  return text.substr(0, most);
}

// A text; or what validators answer: a list of {"loc": […], "msg": "…"}.
std::string detail_text(const JsonValue& detail) {
  if (const auto text = detail.string()) return std::string(cut(*text, kMaxDetailBytes));
  std::string all;
  for (const JsonValue& item : detail.items()) {
    const auto message = item["msg"].string();
    if (!message) continue;
    if (!all.empty()) all += "; ";
    for (const JsonValue& part : item["loc"].items()) {
      if (const auto name = part.string()) all += fmt::format("{}: ", *name);
    }
    all += *message;
    if (all.size() > kMaxDetailBytes) break;
  }
  return std::string(cut(all, kMaxDetailBytes));
}

int small_number(const JsonValue& value) {
  const auto number = value.integer();
  return number && *number >= 0 && *number < 65536 ? static_cast<int>(*number) : 0;
}

double seconds_to_wait(double asked) { return asked > 0 ? std::min(asked, kLongestWait) : 0; }

// One line without control characters, for a message.
std::string shown(std::string_view text) {
  std::string out(cut(text, kMaxShownBytes));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return out;
}

}  // namespace

std::optional<ErrorCode> code_named(std::string_view code) {
  if (code == "timed_out") return ErrorCode::exec_timeout;
  if (code == "killed_by_signal") return ErrorCode::exec_killed;
  const auto known = error_code_from_string(code);
  if (!known) return std::nullopt;
  switch (*known) {
    case ErrorCode::internal:
    case ErrorCode::connection:
    case ErrorCode::cancelled:
    case ErrorCode::api:
      return std::nullopt;  // ours to say about ourselves
    default:
      return known;
  }
}

Error error_of_answer(const HttpAnswer& answer, const ErrorContext& context) {
  auto parsed = JsonValue::parse(answer.body, answer.body.size());  // which the transport has limited
  const JsonValue body = parsed ? std::move(*parsed) : JsonValue();
  // {"detail": {"code": …, "message": …}} is what some frameworks make of it.
  const JsonValue& inner = body["detail"].kind() == JsonValue::Kind::object ? body["detail"] : body;
  const JsonValue& coded = inner["code"].string() ? inner : body;
  const std::string wire_code = coded.string_or("code", "");
  const ErrorCode code = code_named(wire_code).value_or(code_of_status(answer.status, context.about_file));

  ErrorDetails details;
  details.status_code = answer.status;
  details.request_id = without_key(answer.request_id, context.key);
  std::string detail = detail_text(inner["detail"]);
  if (detail.empty()) detail = detail_text(inner["message"]);
  details.detail = without_key(detail, context.key);
  const auto asked = answer.retry_after ? answer.retry_after : coded["retry_after"].number();
  if (asked) details.retry_after = seconds_to_wait(*asked);
  details.signal = small_number(coded["signal"]);
  details.oom = coded.boolean_or("oom", false);
  details.stdout_data = coded.string_or("stdout", "");  // what a command wrote is left as it is
  details.stderr_data = coded.string_or("stderr", "");
  details.host = without_key(coded.string_or("host", ""), context.key);
  details.port = small_number(coded["port"]);
  details.rule = without_key(coded.string_or("rule", ""), context.key);

  std::string text = context.what + ": ";
  text += details.detail.empty() ? fmt::format("the service answered with HTTP status {}", answer.status)
                                 : shown(details.detail);
  text += hint(code, answer.status);
  std::string facts = details.detail.empty() ? "" : fmt::format("HTTP {}", answer.status);
  auto add = [&facts](std::string_view name, std::string_view value) {
    if (!value.empty()) facts += fmt::format("{}{} {}", facts.empty() ? "" : ", ", name, value);
  };
  add("code", without_key(shown(std::string_view(wire_code).substr(0, 64)), context.key));
  add("request", details.request_id);
  if (!facts.empty()) text += fmt::format(" ({})", facts);
  return Error(code, std::move(text), std::move(details));
}

}  // namespace orkestr::remote
