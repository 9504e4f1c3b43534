// Reads the members of one JSON object of the service. A member that is missing or null has a default, unless it is
// needed; one of a wrong type makes the whole object an error, which names the member. The first error is kept, and
// what is read after it are defaults, so that a decoder reads all its members and asks once.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.hpp"
#include "orkestr/options.hpp"

namespace orkestr::remote {

// What the texts of errors about an answer say.
struct AnswerContext {
  std::string what;        // "exec in sandbox sbx_…"
  std::string request_id;  // of the service; may be empty
  std::string_view key{};  // must not appear in them, whatever the service sends
};

// "WHAT: the service's answer has no usable 'FIELD'…", an `api` error.
Error bad_field(const AnswerContext& context, std::string_view field, std::string_view problem);

class Fields {
 public:
  // `name` is where the object stands in the answer: "", "cpu", "sandboxes[3]".
  Fields(const base::JsonValue& value, const AnswerContext& context, std::string name = {});

  bool has(std::string_view field) const { return !value_[field].is_null(); }
  std::string text(std::string_view field, std::string_view fallback = {});
  std::string needed_text(std::string_view field);
  // One that may become a part of a path and of a text.
  std::string needed_id(std::string_view field);
  std::int64_t integer(std::string_view field, std::int64_t low, std::int64_t high, std::int64_t fallback = 0);
  // Sizes, 0 and more: one that came out of a division loses its fraction.
  int small_integer(std::string_view field, int fallback = 0);
  std::uint64_t count(std::string_view field, std::uint64_t fallback = 0);
  double number(std::string_view field, double fallback = 0);
  std::optional<double> maybe_number(std::string_view field);
  bool flag(std::string_view field, bool fallback = false);
  std::optional<TimePoint> maybe_time(std::string_view field);
  TimePoint time(std::string_view field) { return maybe_time(field).value_or(TimePoint{}); }
  std::map<std::string, std::string> text_map(std::string_view field);
  std::vector<std::string> texts(std::string_view field);
  const std::vector<base::JsonValue>& array(std::string_view field);
  Fields object(std::string_view field);  // of a missing one everything is missing
  Fields item(const base::JsonValue& value, std::string_view field, std::size_t index);

  // For a nested reader: its error becomes this one's.
  void adopt(const Fields& nested);
  void fail(std::string_view field, std::string_view problem);
  const std::optional<Error>& error() const { return error_; }
  const AnswerContext& context() const { return context_; }

 private:
  std::string path(std::string_view field) const;
  std::int64_t whole(std::string_view field, bool cut, std::int64_t low, std::int64_t high, std::int64_t fallback);
  const base::JsonValue& value_;
  const AnswerContext& context_;
  const std::string name_;
  std::optional<Error> error_;
};

}  // namespace orkestr::remote
