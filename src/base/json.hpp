// JSON: a small ordered writer of ours, simdjson behind a thin reader.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::base {

// Writes compact JSON in the order of the calls. Misnesting is a programming error (assert). Invalid UTF-8 becomes
// U+FFFD.
class JsonWriter {
 public:
  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(std::string_view name);
  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(std::int64_t number);
  JsonWriter& value(std::uint64_t number);
  JsonWriter& value(int number) { return value(static_cast<std::int64_t>(number)); }
  JsonWriter& value(unsigned number) { return value(static_cast<std::uint64_t>(number)); }
  JsonWriter& value(long long number) { return value(static_cast<std::int64_t>(number)); }
  JsonWriter& value(unsigned long long number) { return value(static_cast<std::uint64_t>(number)); }
  JsonWriter& value(double number);  // shortest text that reads back the same; infinities and NaN become null
  JsonWriter& value(bool flag);
  JsonWriter& null();
  JsonWriter& raw(std::string_view json);  // an already encoded value
  template <class T>
  JsonWriter& field(std::string_view name, const T& v) {
    key(name);
    return value(v);
  }
  const std::string& str() const { return out_; }
  std::string take() { return std::move(out_); }

 private:
  void separate();
  std::string out_;
  std::vector<char> open_;  // '{' or '['
  bool need_comma_ = false;
};

// A parsed document, copied out of simdjson into a plain tree: our documents are small, and a value outlives its text.
class JsonValue {
 public:
  enum class Kind { null, boolean, integer, number, string, array, object };

  static constexpr std::size_t kMaxBytes = 16U << 20U;
  static constexpr std::size_t kMaxValues = 4U << 20U;  // a value is much larger than "0,"
  // At most `max_bytes`, kMaxValues and 64 levels; the error (`internal`: give it a context) says where it stops being
  // JSON. Numbers that are not whole or do not fit 64 bits are of kind number.
  static Result<JsonValue> parse(std::string_view text, std::size_t max_bytes = kMaxBytes);

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::null; }
  // Typed access; nothing when the kind differs. number() takes integers too; integer() takes a number that is whole
  // and exact (3.0).
  std::optional<bool> boolean() const;
  std::optional<std::int64_t> integer() const;
  std::optional<double> number() const;
  std::optional<std::string_view> string() const;
  const std::vector<JsonValue>& items() const;                            // empty unless an array
  const std::vector<std::pair<std::string, JsonValue>>& members() const;  // empty unless an object; in document order
  // The member (of several with this name the first), or a null value when it is missing or this is no object.
  const JsonValue& operator[](std::string_view name) const;
  // Compact JSON of it, its numbers as they came.
  std::string text() const;
  // Shorthands with a default.
  std::string string_or(std::string_view name, std::string_view fallback) const;
  std::int64_t integer_or(std::string_view name, std::int64_t fallback) const;
  bool boolean_or(std::string_view name, bool fallback) const;

 private:
  friend struct JsonBuilder;
  void write(JsonWriter& json) const;
  Kind kind_ = Kind::null;
  bool boolean_ = false;
  std::int64_t integer_ = 0;
  double number_ = 0;
  std::string string_;  // of a number: how it was written
  std::vector<JsonValue> items_;
  std::vector<std::pair<std::string, JsonValue>> members_;
};

}  // namespace orkestr::base
