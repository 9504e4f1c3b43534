#include "convert.hpp"

#include <cmath>
#include <limits>
#include <utility>

namespace orkestr::node {

namespace {

using Map = std::map<std::string, std::string>;

constexpr std::size_t kHandOver = 256U << 10U;  // below, copying is cheaper than a finalizer

Napi::Value to_map(Napi::Env env, const Map& map) {
  // Pairs, not properties: a key may be "__proto__".
  Napi::Array out = Napi::Array::New(env, map.size());
  std::uint32_t at = 0;
  for (const auto& [key, value] : map) {
    Napi::Array pair = Napi::Array::New(env, 2);
    pair.Set(0U, to_text(env, key));
    pair.Set(1U, to_text(env, value));
    out.Set(at++, pair);
  }
  return out;
}

[[noreturn]] void wrong(const Napi::Value& value, const char* name, const char* allowed) {
  throw Napi::TypeError::New(value.Env(), std::string(name) + " has the wrong type; allowed: " + allowed);
}

Map get_map(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) wrong(value, name, "pairs of strings");
  Map out;
  const auto pairs = value.As<Napi::Array>();
  for (std::uint32_t i = 0; i < pairs.Length(); ++i) {
    const Napi::Value pair = pairs.Get(i);
    if (!pair.IsArray()) wrong(pair, name, "pairs of strings");
    out[get_text(pair.As<Napi::Array>().Get(0U), name)] = get_text(pair.As<Napi::Array>().Get(1U), name);
  }
  return out;
}

void set(std::string& target, const Napi::Value& value, const char* name) { target = get_text(value, name); }
void set(bool& target, const Napi::Value& value, const char* name) { target = get_flag(value, name); }
void set(double& target, const Napi::Value& value, const char* name) { target = get_number(value, name); }
void set(int& target, const Napi::Value& value, const char* name) { target = *get_optional_int(value, name); }
void set(std::size_t& target, const Napi::Value& value, const char* name) {
  target = static_cast<std::size_t>(std::max<std::int64_t>(0, get_integer(value, name)));
}
void set(Map& target, const Napi::Value& value, const char* name) { target = get_map(value, name); }
void set(std::vector<std::string>& target, const Napi::Value& value, const char* name) {
  target = get_texts(value, name);
}
template <class Rep, class Period>
void set(std::chrono::duration<Rep, Period>& target, const Napi::Value& value, const char* name) {
  target = std::chrono::duration<Rep, Period>{get_integer(value, name)};
}
template <class T>
void set(std::optional<T>& target, const Napi::Value& value, const char* name) {
  set(target.emplace(), value, name);
}

// arguments[name] into `target`; what is absent, undefined or null leaves the default.
template <class T>
void take_from(const Napi::Object& arguments, const char* name, T& target) {
  const Napi::Value value = arguments.Get(name);
  if (!is_nothing(value)) set(target, value, name);
}

template <class T>
void take_parsed(const Napi::Object& arguments, const char* name, T& target, Result<T> (*parse)(std::string_view)) {
  const Napi::Value value = arguments.Get(name);
  if (!is_nothing(value)) target = take(arguments.Env(), parse(get_text(value, name)));
}

}  // namespace

Napi::Value to_text(Napi::Env env, std::string_view text) { return Napi::String::New(env, text.data(), text.size()); }
Napi::Value to_text_or_null(Napi::Env env, std::string_view text) {
  return text.empty() ? env.Null() : to_text(env, text);
}
Napi::Value to_texts(Napi::Env env, const std::vector<std::string>& texts) {
  Napi::Array out = Napi::Array::New(env, texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) out.Set(static_cast<std::uint32_t>(i), to_text(env, texts[i]));
  return out;
}
Napi::Value to_bytes(Napi::Env env, std::string_view bytes) {
  return Napi::Buffer<char>::Copy(env, bytes.data(), bytes.size());
}
Napi::Value to_bytes(Napi::Env env, std::string&& bytes) {
  if (bytes.size() < kHandOver) return to_bytes(env, std::string_view(bytes));
  auto owned = std::make_unique<std::string>(std::move(bytes));
  std::string* raw = owned.get();
  const auto buffer = Napi::Buffer<char>::NewOrCopy(
      env, raw->data(), raw->size(), [](Napi::Env, char*, std::string* all) { delete all; }, raw);
  (void)owned.release();
  return buffer;
}
Napi::Value to_ms(Napi::Env env, TimePoint time) {
  return Napi::Number::New(env, std::chrono::duration<double, std::milli>(time.time_since_epoch()).count());
}
Napi::Value to_ms_or_null(Napi::Env env, const std::optional<TimePoint>& time) {
  return time ? to_ms(env, *time) : env.Null();
}
Napi::Value to_ms(Napi::Env env, std::chrono::microseconds duration) {
  return to_number(env, std::chrono::round<std::chrono::milliseconds>(duration).count());
}

Napi::Value to_js(Napi::Env env, const Error& error) {
  const ErrorDetails& from = error.details();
  Napi::Object out = Napi::Object::New(env);
  out.Set("code", to_text(env, to_string(error.code())));
  out.Set("message", to_text(env, error.message()));
  out.Set("statusCode", Napi::Number::New(env, from.status_code));
  out.Set("detail", to_text_or_null(env, from.detail));
  out.Set("requestId", to_text_or_null(env, from.request_id));
  out.Set("retryAfter", to_number(env, from.retry_after));
  out.Set("signal", Napi::Number::New(env, from.signal));
  out.Set("oom", Napi::Boolean::New(env, from.oom));
  out.Set("stdoutBytes", to_bytes(env, std::string_view(from.stdout_data)));
  out.Set("stderrBytes", to_bytes(env, std::string_view(from.stderr_data)));
  out.Set("host", to_text(env, from.host));
  out.Set("port", Napi::Number::New(env, from.port));
  out.Set("rule", to_text(env, from.rule));
  out.Set("stage", to_text(env, from.stage));
  out.Set("consoleTail", to_text(env, from.console_tail));
  return out;
}

void throw_error(Napi::Env env, const Error& error) { throw Napi::Error(env, to_js(env, error)); }

Napi::Value to_js(Napi::Env env, const SandboxInfo& info) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("id", to_text(env, info.id));
  out.Set("status", to_text(env, to_string(info.status)));
  out.Set("template", to_text(env, info.template_name));
  out.Set("network", to_text(env, to_string(info.network)));
  out.Set("cpu", Napi::Number::New(env, info.cpu));
  out.Set("cpuReason", to_text_or_null(env, info.cpu_reason));
  out.Set("memoryMb", Napi::Number::New(env, info.memory_mb));
  out.Set("diskMb", info.disk_mb == 0 ? env.Null() : to_number(env, info.disk_mb));
  out.Set("region", to_text_or_null(env, info.region));
  out.Set("createdAt", to_ms(env, info.created_at));
  out.Set("expiresAt", to_ms(env, info.expires_at));
  out.Set("metadata", to_map(env, info.metadata));
  out.Set("onTimeout", to_text(env, to_string(info.on_timeout)));
  out.Set("autoResume", Napi::Boolean::New(env, info.auto_resume));
  out.Set("pausedExpiresAt", to_ms_or_null(env, info.paused_expires_at));
  out.Set("previewAuth", Napi::Boolean::New(env, info.preview_auth));
  out.Set("previewAuthToken", to_text_or_null(env, info.preview_auth_token));
  out.Set("volume", to_text_or_null(env, info.volume));
  out.Set("nodeId", to_text_or_null(env, info.node_id));
  out.Set("backend", to_text(env, info.backend));
  out.Set("endReason", to_text_or_null(env, info.end_reason));
  out.Set("accelerator", to_text_or_null(env, info.accelerator));
  out.Set("acceleratorReason", to_text_or_null(env, info.accelerator_reason));
  out.Set("isolation", to_text_or_null(env, info.isolation));
  out.Set("jail", to_text_or_null(env, info.jail));
  return out;
}

Napi::Value to_js(Napi::Env env, const ExecResult& result) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("stdoutBytes", to_bytes(env, std::string_view(result.stdout_data)));
  out.Set("stderrBytes", to_bytes(env, std::string_view(result.stderr_data)));
  out.Set("exitCode", Napi::Number::New(env, result.exit_code));
  out.Set("durationMs", to_ms(env, result.duration));
  out.Set("stdoutTotalBytes", to_number(env, result.stdout_total_bytes));
  out.Set("stderrTotalBytes", to_number(env, result.stderr_total_bytes));
  out.Set("truncated", Napi::Boolean::New(env, result.truncated));
  out.Set("userMs", to_ms(env, result.user_time));
  out.Set("systemMs", to_ms(env, result.system_time));
  out.Set("maxRssKb", to_number(env, result.max_rss_kb));
  out.Set("networkDenied", to_texts(env, result.network_denied));
  return out;
}

Napi::Value to_js(Napi::Env env, const FileEntry& entry) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("name", to_text(env, entry.name));
  out.Set("nameBytes", to_bytes(env, std::string_view(entry.name)));
  out.Set("isDir", Napi::Boolean::New(env, entry.is_dir));
  out.Set("size", to_number(env, entry.size));
  out.Set("mode", Napi::Number::New(env, entry.mode));
  out.Set("modifiedAt", to_ms(env, entry.modified_at));
  return out;
}

Napi::Value to_js(Napi::Env env, const FileStat& stat) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("exists", Napi::Boolean::New(env, stat.exists));
  out.Set("isDir", Napi::Boolean::New(env, stat.is_dir));
  out.Set("size", to_number(env, stat.size));
  out.Set("mode", stat.exists ? to_number(env, stat.mode) : env.Null());
  out.Set("modifiedAt", stat.exists ? to_ms(env, stat.modified_at) : env.Null());
  return out;
}

Napi::Value to_js(Napi::Env env, const Event& event) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("time", to_ms(env, event.time));
  out.Set("kind", to_text(env, event.kind));
  out.Set("outcome", to_text_or_null(env, event.outcome));
  out.Set("command", to_text_or_null(env, event.command));
  out.Set("path", to_text_or_null(env, event.path));
  out.Set("exitCode", to_number(env, event.exit_code));
  out.Set("durationMs", to_number(env, event.duration_ms));
  out.Set("reason", to_text_or_null(env, event.reason));
  return out;
}

Napi::Value to_js(Napi::Env env, const ExecChunk& chunk) {
  Napi::Array out = Napi::Array::New(env, 4);
  out.Set(0U, Napi::Boolean::New(env, chunk.stream == OutputStream::standard_output));
  out.Set(1U, to_bytes(env, std::string_view(chunk.data)));
  out.Set(2U, to_number(env, chunk.exit_code));
  out.Set(3U, to_ms(env, chunk.duration));
  return out;
}

std::string get_text(const Napi::Value& value, const char* name) {
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : get_bytes(value, name);
}
std::string get_bytes(const Napi::Value& value, const char* name) {
  if (!value.IsBuffer()) wrong(value, name, "a Buffer or Uint8Array");
  // (A Uint8Array is one, too. Without bytes, also of one that has lost its memory, the pointer means nothing.)
  void* data = nullptr;
  std::size_t size = 0;
  if (napi_get_buffer_info(value.Env(), value, &data, &size) != napi_ok) throw Napi::Error::New(value.Env());
  return size == 0 ? std::string() : std::string(static_cast<const char*>(data), size);
}
std::vector<std::string> get_texts(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) wrong(value, name, "an array of strings");
  std::vector<std::string> out;
  const auto array = value.As<Napi::Array>();
  for (std::uint32_t i = 0; i < array.Length(); ++i) out.push_back(get_text(array.Get(i), name));
  return out;
}
double get_number(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) wrong(value, name, "a number");
  return value.As<Napi::Number>().DoubleValue();
}
std::int64_t get_integer(const Napi::Value& value, const char* name) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  const double number = get_number(value, name);
  if (!(std::abs(number) <= kExact) || number != std::trunc(number)) wrong(value, name, "an integer");
  return static_cast<std::int64_t>(number);
}
bool get_flag(const Napi::Value& value, const char* name) {
  if (!value.IsBoolean()) wrong(value, name, "true or false");
  return value.As<Napi::Boolean>();
}
std::optional<TimePoint> get_time(const Napi::Value& value, const char* name) {
  if (is_nothing(value)) return std::nullopt;
  const double ms = get_number(value, name);
  if (!(std::abs(ms) <= 8.64e15)) wrong(value, name, "milliseconds of a Date");
  return TimePoint(std::chrono::duration_cast<TimePoint::duration>(
      std::chrono::microseconds(static_cast<std::int64_t>(std::min(9.2e15, std::max(-9.2e15, ms * 1000))))));
}
std::optional<double> get_optional_number(const Napi::Value& value, const char* name) {
  if (is_nothing(value)) return std::nullopt;
  return get_number(value, name);
}
std::optional<int> get_optional_int(const Napi::Value& value, const char* name) {
  if (is_nothing(value)) return std::nullopt;
  const std::int64_t number = get_integer(value, name);
  if (number < std::numeric_limits<int>::min() || number > std::numeric_limits<int>::max()) {
    wrong(value, name, "a 32-bit integer");
  }
  return static_cast<int>(number);
}
Napi::Object get_object(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) wrong(value, name, "an object");
  return value.As<Napi::Object>();
}

CreateOptions create_options(const Napi::Object& arguments) {
  CreateOptions options;
  take_from(arguments, "template", options.template_name);
  take_parsed(arguments, "size", options.size, parse_size);
  take_from(arguments, "cpu", options.cpu);
  take_from(arguments, "memoryMb", options.memory_mb);
  take_from(arguments, "diskMb", options.disk_mb);
  take_parsed(arguments, "network", options.network, parse_network);
  take_from(arguments, "timeoutSeconds", options.timeout);
  take_parsed(arguments, "onTimeout", options.on_timeout, parse_on_timeout);
  take_from(arguments, "autoResume", options.auto_resume);
  take_from(arguments, "pausedTtlSeconds", options.paused_ttl);
  take_from(arguments, "previewAuth", options.preview_auth);
  take_from(arguments, "env", options.env);
  take_from(arguments, "metadata", options.metadata);
  take_from(arguments, "region", options.region);
  take_from(arguments, "allowDomains", options.allow_domains);
  take_from(arguments, "volume", options.volume);
  take_from(arguments, "snapshot", options.snapshot);
  take_from(arguments, "maxRetries", options.max_retries);
  take_from(arguments, "retryMaxSeconds", options.retry_max);
  take_from(arguments, "autoBuild", options.auto_build);
  return options;
}

ListOptions list_options(const Napi::Object& arguments) {
  ListOptions options;
  Status status{};
  if (!is_nothing(arguments.Get("status"))) {
    take_parsed(arguments, "status", status, parse_status);
    options.status = status;
  }
  take_from(arguments, "metadata", options.metadata);
  take_from(arguments, "limit", options.limit);
  take_from(arguments, "maxResults", options.max_results);
  return options;
}

ExecOptions exec_options(const Napi::Object& arguments) {
  ExecOptions options;
  take_from(arguments, "cwd", options.cwd);
  take_from(arguments, "env", options.env);
  take_from(arguments, "timeoutMs", options.timeout);
  take_from(arguments, "user", options.user);
  const Napi::Value input = arguments.Get("stdin");
  if (!is_nothing(input)) options.stdin_data = get_bytes(input, "stdin");
  take_from(arguments, "maxOutputBytes", options.max_output_bytes);
  take_from(arguments, "stdinOpen", options.stdin_open);
  take_from(arguments, "tty", options.tty);
  take_from(arguments, "cols", options.cols);
  take_from(arguments, "rows", options.rows);
  return options;
}

}  // namespace orkestr::node
