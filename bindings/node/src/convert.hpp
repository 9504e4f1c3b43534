// Values of the library as JavaScript values and back. Conversion only: types of arguments are checked in
// lib/arguments.js, ranges by the library. What JavaScript passes is checked once more for its type, so that a mistake
// in lib/ is an error and never a crash.
#pragma once

#include <napi.h>

#include <cstdint>
#include <map>
#include <optional>
#include <orkestr/orkestr.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace orkestr::node {

// Keys are those of the public classes; bytes are Buffers, times milliseconds since the epoch (with fractions).
Napi::Value to_js(Napi::Env env, const Error& error);
Napi::Value to_js(Napi::Env env, const SandboxInfo& info);
Napi::Value to_js(Napi::Env env, const ExecResult& result);
Napi::Value to_js(Napi::Env env, const FileEntry& entry);
Napi::Value to_js(Napi::Env env, const FileStat& stat);
Napi::Value to_js(Napi::Env env, const Event& event);
// [isStdout, data, exitCode or null, durationMs]
Napi::Value to_js(Napi::Env env, const ExecChunk& chunk);

template <class T>
Napi::Value to_js(Napi::Env env, const std::vector<T>& values) {
  Napi::Array out = Napi::Array::New(env, values.size());
  for (std::size_t i = 0; i < values.size(); ++i) out.Set(static_cast<std::uint32_t>(i), to_js(env, values[i]));
  return out;
}
inline Napi::Value to_undefined(Napi::Env env) { return env.Undefined(); }

// Text from a guest or a service may be anything: what is not UTF-8 shows as U+FFFD.
Napi::Value to_text(Napi::Env env, std::string_view text);
// The same, null when empty.
Napi::Value to_text_or_null(Napi::Env env, std::string_view text);
Napi::Value to_texts(Napi::Env env, const std::vector<std::string>& texts);
Napi::Value to_bytes(Napi::Env env, std::string_view bytes);
// Large ones are handed over, not copied.
Napi::Value to_bytes(Napi::Env env, std::string&& bytes);
Napi::Value to_ms(Napi::Env env, TimePoint time);
Napi::Value to_ms_or_null(Napi::Env env, const std::optional<TimePoint>& time);
Napi::Value to_ms(Napi::Env env, std::chrono::microseconds duration);  // rounded to whole ones

template <class T>
Napi::Value to_number(Napi::Env env, T value) {
  return Napi::Number::New(env, static_cast<double>(value));
}
template <class T>
Napi::Value to_number(Napi::Env env, const std::optional<T>& value) {
  return value ? to_number(env, *value) : env.Null();
}

[[noreturn]] void throw_error(Napi::Env env, const Error& error);
template <class T>
T take(Napi::Env env, Result<T> result) {
  if (!result.ok()) throw_error(env, result.error());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// Arguments. `name` is for the message.
std::string get_text(const Napi::Value& value, const char* name);  // a string, or bytes as they are
std::string get_bytes(const Napi::Value& value, const char* name);
std::vector<std::string> get_texts(const Napi::Value& value, const char* name);
double get_number(const Napi::Value& value, const char* name);
std::int64_t get_integer(const Napi::Value& value, const char* name);
bool get_flag(const Napi::Value& value, const char* name);
inline bool is_nothing(const Napi::Value& value) { return value.IsUndefined() || value.IsNull(); }
std::optional<TimePoint> get_time(const Napi::Value& value, const char* name);
std::optional<double> get_optional_number(const Napi::Value& value, const char* name);
std::optional<int> get_optional_int(const Napi::Value& value, const char* name);

CreateOptions create_options(const Napi::Object& arguments);
ListOptions list_options(const Napi::Object& arguments);
ExecOptions exec_options(const Napi::Object& arguments);
Napi::Object get_object(const Napi::Value& value, const char* name);

}  // namespace orkestr::node
