#include "remote/fields.hpp"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "base/id.hpp"
#include "remote/text.hpp"
#include "remote/times.hpp"

namespace orkestr::remote {
namespace {

using Kind = base::JsonValue::Kind;

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::null:
      return "null";
    case Kind::boolean:
      return "a boolean";
    case Kind::integer:
    case Kind::number:
      return "a number";
    case Kind::string:
      return "a text";
    case Kind::array:
      return "an array";
    case Kind::object:
      return "an object";
  }
  return "nothing";
}

}  // namespace

Error bad_field(const AnswerContext& context, std::string_view field, std::string_view problem) {
  ErrorDetails details;
  details.request_id = shown_request(context.request_id, context.key);
  std::string text = fmt::format("{}: in the service's answer, '{}' {}{}", context.what, field, problem,
                                 facts(0, {}, details.request_id));
  return Error(ErrorCode::api, std::move(text), std::move(details));
}

Fields::Fields(const base::JsonValue& value, const AnswerContext& context, std::string name)
    : value_(value), context_(context), name_(std::move(name)) {
  if (value.kind() != Kind::object && !value.is_null())
    fail({}, fmt::format("is {}, not an object", kind_name(value.kind())));
}

std::string Fields::path(std::string_view field) const {
  if (name_.empty()) return field.empty() ? "the whole" : std::string(field);
  return field.empty() ? name_ : fmt::format("{}.{}", name_, field);
}

void Fields::fail(std::string_view field, std::string_view problem) {
  if (!error_) error_ = bad_field(context_, path(field), problem);
}

void Fields::adopt(const Fields& nested) {
  if (!error_ && nested.error_) error_ = nested.error_;
}

std::string Fields::text(std::string_view field, std::string_view fallback) {
  const auto& member = value_[field];
  if (member.is_null()) return std::string(fallback);
  if (const auto text = member.string()) return std::string(*text);
  fail(field, fmt::format("is {}, not a text", kind_name(member.kind())));
  return {};
}

std::string Fields::needed_text(std::string_view field) {
  if (!has(field)) fail(field, "is missing");
  std::string found = text(field);
  if (found.empty()) fail(field, "is empty");
  return found;
}

std::string Fields::needed_id(std::string_view field) {
  std::string found = needed_text(field);
  if (!base::is_plain_id(found)) fail(field, "is no id");
  return found;
}

std::int64_t Fields::whole(std::string_view field, bool cut, std::int64_t low, std::int64_t high,
                           std::int64_t fallback) {
  const auto& member = value_[field];
  if (member.is_null()) return fallback;
  auto found = member.integer();
  if (!found) {
    const auto number = member.number();
    const bool fits = number && std::abs(*number) < 9e15;
    if (fits && (cut || std::trunc(*number) == *number)) found = static_cast<std::int64_t>(*number);
  }
  if (!found) {
    const auto number = member.number();
    fail(field, number ? fmt::format("is {}, not an integer", *number)
                       : fmt::format("is {}, not an integer", kind_name(member.kind())));
    return fallback;
  }
  if (*found >= low && *found <= high) return *found;
  fail(field, fmt::format("is {}, which is not within {} and {}", *found, low, high));
  return fallback;
}

std::int64_t Fields::integer(std::string_view field, std::int64_t low, std::int64_t high, std::int64_t fallback) {
  return whole(field, false, low, high, fallback);
}

int Fields::small_integer(std::string_view field, int fallback) {
  return static_cast<int>(whole(field, true, 0, std::numeric_limits<int>::max(), fallback));
}

std::uint64_t Fields::count(std::string_view field, std::uint64_t fallback) {
  return static_cast<std::uint64_t>(
      whole(field, true, 0, std::numeric_limits<std::int64_t>::max(), static_cast<std::int64_t>(fallback)));
}

std::optional<double> Fields::maybe_number(std::string_view field) {
  const auto& member = value_[field];
  if (member.is_null()) return std::nullopt;
  const auto found = member.number();
  if (!found) fail(field, fmt::format("is {}, not a number", kind_name(member.kind())));
  return found;
}

double Fields::number(std::string_view field, double fallback) { return maybe_number(field).value_or(fallback); }

bool Fields::flag(std::string_view field, bool fallback) {
  const auto& member = value_[field];
  if (member.is_null()) return fallback;
  if (const auto found = member.boolean()) return *found;
  fail(field, fmt::format("is {}, not a boolean", kind_name(member.kind())));
  return fallback;
}

std::optional<TimePoint> Fields::maybe_time(std::string_view field) {
  const auto& member = value_[field];
  if (member.is_null()) return std::nullopt;
  const auto text = member.string();
  const auto found = text ? parse_time(*text) : std::nullopt;
  if (!found) fail(field, text ? "is no ISO 8601 time" : fmt::format("is {}, not a time", kind_name(member.kind())));
  return found;
}

std::map<std::string, std::string> Fields::text_map(std::string_view field) {
  std::map<std::string, std::string> map;
  const auto& member = value_[field];
  if (member.is_null()) return map;
  if (member.kind() != Kind::object) fail(field, fmt::format("is {}, not an object", kind_name(member.kind())));
  for (const auto& [key, value] : member.members()) {
    if (const auto text = value.string()) {
      map.emplace(key, *text);
    } else {
      fail(field, fmt::format("has {} where a text belongs", kind_name(value.kind())));
    }
  }
  return map;
}

const std::vector<base::JsonValue>& Fields::array(std::string_view field) {
  const auto& member = value_[field];
  if (!member.is_null() && member.kind() != Kind::array) {
    fail(field, fmt::format("is {}, not an array", kind_name(member.kind())));
  }
  return member.items();
}

std::vector<std::string> Fields::texts(std::string_view field) {
  std::vector<std::string> all;
  for (const auto& item : array(field)) {
    if (const auto text = item.string()) {
      all.emplace_back(*text);
    } else {
      fail(field, fmt::format("has {} where a text belongs", kind_name(item.kind())));
    }
  }
  return all;
}

Fields Fields::object(std::string_view field) { return Fields(value_[field], context_, path(field)); }

Fields Fields::item(const base::JsonValue& value, std::string_view field, std::size_t index) {
  return Fields(value, context_, fmt::format("{}[{}]", path(field), index));
}

}  // namespace orkestr::remote
