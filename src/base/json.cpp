#include "base/json.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cmath>

namespace orkestr::base {
namespace {

constexpr int kMaxDepth = 64;
constexpr double kExactIntegers = 9007199254740992.0;  // 2^53

// The length of the well-formed UTF-8 sequence at the start of `text`, or 0; then `*skip` is how many bytes to replace
// at once (Unicode's "maximal subpart", what every browser does). Table 3-7 of the Unicode standard.
std::size_t utf8_sequence(std::string_view text, std::size_t* skip) {
  auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  unsigned first = byte(0);
  std::size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  *skip = 1;
  for (std::size_t i = 1; i < length; ++i, ++*skip) {
    unsigned low = 0x80;
    unsigned high = 0xbf;
    if (i == 1 && first == 0xe0) low = 0xa0;
    if (i == 1 && first == 0xed) high = 0x9f;
    if (i == 1 && first == 0xf0) low = 0x90;
    if (i == 1 && first == 0xf4) high = 0x8f;
    if (byte(i) < low || byte(i) > high) return 0;
  }
  return length;
}

void append_escaped(std::string& out, std::string_view text) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  out += '"';
  for (std::size_t i = 0; i < text.size();) {
    auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x80) {
      std::size_t skip = 1;
      auto length = utf8_sequence(text.substr(i), &skip);
      out += length > 0 ? text.substr(i, length) : kReplacement;
      i += length > 0 ? length : skip;
      continue;
    }
    ++i;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (c < 0x20) {
          out += "\\u00";
          out += "0123456789abcdef"[c >> 4U];
          out += "0123456789abcdef"[c & 15U];
        } else {
          out += static_cast<char>(c);
        }
    }
  }
  out += '"';
}

template <class T>
void append_number(std::string& out, T number) {
  std::array<char, 32> buffer;
  auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number).ptr;
  out.append(buffer.data(), end);
}

}  // namespace

// ---- writer ----

void JsonWriter::separate() {
  assert((open_.empty() || open_.back() == '[' || out_.back() == ':') && "a value in an object needs a key");
  assert((!open_.empty() || out_.empty()) && "one document, one value");
  if (need_comma_) out_ += ',';
  need_comma_ = true;
}

JsonWriter& JsonWriter::begin_object() {
  separate();
  out_ += '{';
  open_.push_back('{');
  need_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::end_object() {
  assert(!open_.empty() && open_.back() == '{' && out_.back() != ':');
  open_.pop_back();
  out_ += '}';
  need_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::begin_array() {
  separate();
  out_ += '[';
  open_.push_back('[');
  need_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::end_array() {
  assert(!open_.empty() && open_.back() == '[');
  open_.pop_back();
  out_ += ']';
  need_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  assert(!open_.empty() && open_.back() == '{' && out_.back() != ':');
  if (need_comma_) out_ += ',';
  append_escaped(out_, name);
  out_ += ':';
  need_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  append_escaped(out_, text);
  return *this;
}

JsonWriter& JsonWriter::value(std::int64_t number) {
  separate();
  append_number(out_, number);
  return *this;
}

JsonWriter& JsonWriter::value(std::uint64_t number) {
  separate();
  append_number(out_, number);
  return *this;
}

JsonWriter& JsonWriter::value(double number) {
  if (!std::isfinite(number)) return null();
  if (number == 0 && std::signbit(number)) return raw("-0.0");  // "-0" would be read as the integer 0
  separate();
  append_number(out_, number);
  return *this;
}

JsonWriter& JsonWriter::value(bool flag) { return raw(flag ? "true" : "false"); }
JsonWriter& JsonWriter::null() { return raw("null"); }

JsonWriter& JsonWriter::raw(std::string_view json) {
  separate();
  out_ += json;
  return *this;
}

// ---- reader ----

// Copies an on-demand value into the tree. On demand rather than DOM: it tells where a document is wrong, and lets a
// number that is too large for 64 bits be read as a double.
struct JsonBuilder {
  using Value = simdjson::ondemand::value;
  using Type = simdjson::ondemand::json_type;

  std::size_t left = JsonValue::kMaxValues;

  simdjson::error_code build(Value source, JsonValue& out, int depth) {
    if (left-- == 0) return simdjson::CAPACITY;
    Type type;
    if (auto error = source.type().get(type)) return error;
    switch (type) {
      case Type::object:
        return build_object(source, out, depth + 1);
      case Type::array:
        return build_array(source, out, depth + 1);
      case Type::string:
        return build_string(source, out);
      case Type::number:
        return build_number(source, out);
      case Type::boolean:
        out.kind_ = JsonValue::Kind::boolean;
        return source.get_bool().get(out.boolean_);
      case Type::null:
        break;
    }
    bool null = false;
    if (auto error = source.is_null().get(null)) return error;
    return null ? simdjson::SUCCESS : simdjson::N_ATOM_ERROR;
  }

  simdjson::error_code build_object(Value source, JsonValue& out, int depth) {
    if (depth > kMaxDepth) return simdjson::DEPTH_ERROR;
    out.kind_ = JsonValue::Kind::object;
    simdjson::ondemand::object object;
    if (auto error = source.get_object().get(object)) return error;
    for (auto item : object) {
      std::string_view name;
      if (auto error = item.unescaped_key().get(name)) return error;
      auto& member = out.members_.emplace_back(name, JsonValue());
      Value value;
      if (auto error = item.value().get(value)) return error;
      if (auto error = build(value, member.second, depth)) return error;
    }
    return simdjson::SUCCESS;
  }

  simdjson::error_code build_array(Value source, JsonValue& out, int depth) {
    if (depth > kMaxDepth) return simdjson::DEPTH_ERROR;
    out.kind_ = JsonValue::Kind::array;
    simdjson::ondemand::array array;
    if (auto error = source.get_array().get(array)) return error;
    for (auto item : array) {
      Value value;
      // get() is for rvalues only. NOLINTNEXTLINE(performance-move-const-arg)
      if (auto error = std::move(item).get(value)) return error;
      if (auto error = build(value, out.items_.emplace_back(), depth)) return error;
    }
    return simdjson::SUCCESS;
  }

  static simdjson::error_code build_string(Value source, JsonValue& out) {
    out.kind_ = JsonValue::Kind::string;
    std::string_view text;
    if (auto error = source.get_string().get(text)) return error;
    out.string_ = text;
    return simdjson::SUCCESS;
  }

  static simdjson::error_code build_number(Value source, JsonValue& out) {
    out.kind_ = JsonValue::Kind::integer;
    if (!source.get_int64().get(out.integer_)) return simdjson::SUCCESS;
    out.kind_ = JsonValue::Kind::number;
    if (auto error = source.get_double().get(out.number_)) return error;
    const std::string_view token = source.raw_json_token();
    out.string_ = token.substr(0, token.find_first_not_of("+-.0123456789Ee"));  // it comes with what follows
    return simdjson::SUCCESS;
  }

  // `wrapped` is the document inside one array: so a root that is no array or object is read and checked like every
  // other value, which simdjson 3.0 does not do, and all but one value followed by the end of the text is an error.
  simdjson::error_code build_root(simdjson::ondemand::document& wrapped, JsonValue& out) {
    simdjson::ondemand::array array;
    if (auto error = wrapped.get_array().get(array)) return error;
    std::size_t count = 0;
    for (auto item : array) {
      if (count++ == 1) return simdjson::TRAILING_CONTENT;
      Value value;
      // NOLINTNEXTLINE(performance-move-const-arg)
      if (auto error = std::move(item).get(value)) return error;
      if (auto error = build(value, out, 0)) return error;
    }
    if (count == 0) return simdjson::EMPTY;
    const char* rest = nullptr;
    return wrapped.current_location().get(rest) == simdjson::OUT_OF_BOUNDS ? simdjson::SUCCESS
                                                                           : simdjson::TRAILING_CONTENT;
  }
};

namespace {

Error json_error(simdjson::error_code code, std::optional<std::size_t> offset, std::string_view text) {
  if (code == simdjson::UTF8_ERROR) {
    std::size_t skip = 1;
    offset = 0;
    while (auto length = utf8_sequence(text.substr(*offset), &skip)) *offset += length;
  }
  // simdjson's first pass looks at the text as a whole: what it finds (a string without an end) has no place.
  auto place = offset ? fmt::format(" at byte {}", std::min(*offset, text.size())) : std::string();
  return Error(ErrorCode::internal,
               fmt::format("not JSON{} of {}: {}", place, text.size(), simdjson::error_message(code)));
}

}  // namespace

Result<JsonValue> JsonValue::parse(std::string_view text, std::size_t max_bytes) {
  if (text.size() > max_bytes) {
    return Error(ErrorCode::internal, fmt::format("JSON of {} bytes: at most {} are read", text.size(), max_bytes));
  }
  simdjson::padded_string wrapped(text.size() + 2);
  wrapped.data()[0] = '[';
  std::copy(text.begin(), text.end(), wrapped.data() + 1);
  wrapped.data()[text.size() + 1] = ']';
  simdjson::ondemand::parser parser(max_bytes + 2);
  simdjson::ondemand::document document;
  if (auto error = parser.iterate(wrapped).get(document)) return json_error(error, std::nullopt, text);
  JsonValue value;
  auto error = JsonBuilder().build_root(document, value);
  if (!error) return value;
  const char* where = nullptr;
  if (document.current_location().get(where)) return json_error(error, text.size(), text);  // it ended too early
  return json_error(error, static_cast<std::size_t>(std::max<std::ptrdiff_t>(where - wrapped.data() - 1, 0)), text);
}

std::optional<bool> JsonValue::boolean() const {
  if (kind_ != Kind::boolean) return std::nullopt;
  return boolean_;
}

std::optional<std::int64_t> JsonValue::integer() const {
  if (kind_ == Kind::integer) return integer_;
  if (kind_ != Kind::number || std::abs(number_) > kExactIntegers || number_ != std::trunc(number_))
    return std::nullopt;
  return static_cast<std::int64_t>(number_);
}

std::optional<double> JsonValue::number() const {
  if (kind_ == Kind::integer) return static_cast<double>(integer_);
  if (kind_ != Kind::number) return std::nullopt;
  return number_;
}

std::optional<std::string_view> JsonValue::string() const {
  if (kind_ != Kind::string) return std::nullopt;
  return string_;
}

const std::vector<JsonValue>& JsonValue::items() const { return items_; }
const std::vector<std::pair<std::string, JsonValue>>& JsonValue::members() const { return members_; }

const JsonValue& JsonValue::operator[](std::string_view name) const {
  static const JsonValue none;
  for (const auto& member : members_) {
    if (member.first == name) return member.second;
  }
  return none;
}

std::string JsonValue::string_or(std::string_view name, std::string_view fallback) const {
  return std::string((*this)[name].string().value_or(fallback));
}

std::int64_t JsonValue::integer_or(std::string_view name, std::int64_t fallback) const {
  return (*this)[name].integer().value_or(fallback);
}

bool JsonValue::boolean_or(std::string_view name, bool fallback) const {
  return (*this)[name].boolean().value_or(fallback);
}

void JsonValue::write(JsonWriter& json) const {
  switch (kind_) {
    case Kind::null:
      json.null();
      break;
    case Kind::boolean:
      json.value(boolean_);
      break;
    case Kind::integer:
      json.value(integer_);
      break;
    case Kind::number:
      json.raw(string_);
      break;
    case Kind::string:
      json.value(string_);
      break;
    case Kind::array:
      json.begin_array();
      for (const JsonValue& item : items_) item.write(json);
      json.end_array();
      break;
    case Kind::object:
      json.begin_object();
      for (const auto& [name, member] : members_) {
        json.key(name);
        member.write(json);
      }
      json.end_object();
      break;
  }
}

std::string JsonValue::text() const {
  JsonWriter json;
  write(json);
  return json.take();
}

}  // namespace orkestr::base
