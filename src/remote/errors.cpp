#include "remote/errors.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.hpp"
#include "remote/text.hpp"

namespace orkestr::remote {
namespace {

using base::JsonValue;

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

// A text; or what validators answer: a list of {"loc": […], "msg": "…"}.
std::string detail_text(const JsonValue& detail) {
  if (const auto text = detail.string()) return std::string(*text);
  std::string all;
  for (const JsonValue& item : detail.items()) {
    const auto message = item["msg"].string();
    if (!message) continue;
    if (!all.empty()) all += "; ";
    for (const JsonValue& part : item["loc"].items()) {
      if (const auto name = part.string()) all += fmt::format("{}: ", *name);
    }
    all += *message;
  }
  return all;
}

int small_number(const JsonValue& value) {
  const auto number = value.integer();
  return number && *number >= 0 && *number < 65536 ? static_cast<int>(*number) : 0;
}

double seconds_to_wait(double asked) { return asked > 0 ? std::min(asked, kLongestWait) : 0; }

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
  details.request_id = shown_request(answer.request_id, context.key);
  details.detail = kept(detail_text(inner["detail"]), context.key);
  if (details.detail.empty()) details.detail = kept(detail_text(inner["message"]), context.key);
  const auto asked = answer.retry_after ? answer.retry_after : coded["retry_after"].number();
  if (asked) details.retry_after = seconds_to_wait(*asked);
  details.signal = small_number(coded["signal"]);
  details.oom = coded.boolean_or("oom", false);
  details.stdout_data = coded.string_or("stdout", "");  // what a command wrote is left as it is
  details.stderr_data = coded.string_or("stderr", "");
  details.host = kept(coded.string_or("host", ""), context.key);
  details.port = small_number(coded["port"]);
  details.rule = kept(coded.string_or("rule", ""), context.key);

  std::string text = context.what + ": ";
  text += details.detail.empty() ? fmt::format("the service answered with HTTP status {}", answer.status)
                                 : shown(details.detail, context.key);
  text += hint(code, answer.status);
  text += facts(details.detail.empty() ? 0 : answer.status, shown(wire_code, context.key, 64), details.request_id);
  return Error(code, std::move(text), std::move(details));
}

}  // namespace orkestr::remote
