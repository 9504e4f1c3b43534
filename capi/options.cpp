#include "options.hpp"

#include <algorithm>
#include <map>

#include "records.hpp"

namespace orkestr::capi {

Error is_null(const char* argument) { return {ErrorCode::invalid_argument, std::string(argument) + " is NULL"}; }

namespace {

// No array of options is longer in earnest, and none that is this long wraps around in memory.
constexpr std::size_t kMostItems = 100'000;

Error wrong(const std::string& text) { return {ErrorCode::invalid_argument, text}; }

// What an older program left in padding would be read as a later version's field: there is none at the end.
#define ORKESTR_ENDS_WITH(type, last) static_assert(offsetof(type, last) + sizeof(type::last) == sizeof(type))
ORKESTR_ENDS_WITH(orkestr_client_options, timeout_ms);
ORKESTR_ENDS_WITH(orkestr_create_options, progress_user);
ORKESTR_ENDS_WITH(orkestr_resume_options, retry_max_ms);
ORKESTR_ENDS_WITH(orkestr_list_options, max_results);
ORKESTR_ENDS_WITH(orkestr_exec_options, max_output_bytes);
ORKESTR_ENDS_WITH(orkestr_volume_options, max_lifetime_hours);
ORKESTR_ENDS_WITH(orkestr_code_options, timeout_ms);
ORKESTR_ENDS_WITH(orkestr_template_options, progress_user);
ORKESTR_ENDS_WITH(orkestr_pool_options, reserved);
#undef ORKESTR_ENDS_WITH

// The caller's struct in the layout of this library. An older program's is shorter: the rest has its defaults. A newer
// one's is longer: what this library does not know must be 0.
template <class T>
Result<T> read(const T* given, const char* init) {
  T own{};
  if (given == nullptr) return own;
  std::size_t size = 0;
  std::memcpy(&size, given, sizeof size);
  constexpr std::size_t kFirst = sizeof(T);  // of the first version of each; none has grown yet
  constexpr std::size_t kMost = 4096;
  if (size < kFirst || size > kMost) {
    return wrong("options.size is " + std::to_string(size) + ", between " + std::to_string(kFirst) + " and " +
                 std::to_string(kMost) + " is allowed; begin the struct with " + init);
  }
  const auto* rest = reinterpret_cast<const unsigned char*>(given) + sizeof(T);
  if (std::any_of(rest, rest + (size - sizeof(T)), [](unsigned char byte) { return byte != 0; })) {
    return wrong("options.size is " + std::to_string(size) + " and fields behind the first " +
                 std::to_string(sizeof(T)) + " bytes are set, which library " + version() +
                 " does not know; leave them 0, or install the version that the program was compiled for");
  }
  std::memcpy(&own, given, sizeof own);
  return own;
}

Result<void> check_count(const std::string& argument, const void* values, std::size_t count) {
  if (count > 0 && values == nullptr) return wrong(argument + " is NULL, though its count is " + std::to_string(count));
  if (count > kMostItems)
    return wrong("the count of " + argument + " is " + std::to_string(count) + ", at most " +
                 std::to_string(kMostItems) + " is allowed");
  return {};
}

Result<std::map<std::string, std::string>> pairs(const std::string& argument, const orkestr_pair* values,
                                                 std::size_t count) {
  ORKESTR_CHECK(check_count(argument, values, count));
  std::map<std::string, std::string> out;
  for (std::size_t i = 0; i < count; ++i) {
    if (values[i].name == nullptr || values[i].value == nullptr) {
      return wrong(argument + "[" + std::to_string(i) + "]." + (values[i].name == nullptr ? "name" : "value") +
                   " is NULL");
    }
    out[values[i].name] = values[i].value;
  }
  return out;
}

// 0 and NULL: what is in `target` already.
template <class T, class Given>
void set(T& target, Given given) {
  if (given != Given{}) target = static_cast<T>(given);
}

template <class T>
Result<void> set_parsed(T& target, const char* given, Result<T> (*parse)(std::string_view)) {
  if (given == nullptr) return {};
  auto parsed = parse(given);
  if (!parsed) return parsed.error();
  target = *parsed;
  return {};
}

ProgressCallback progress(orkestr_progress_callback callback, void* user) {
  if (callback == nullptr) return {};
  return [callback, user](const TemplateProgress& progress) {
    const orkestr_value value(to_node(progress), kInnerTag);
    callback(user, &value);
  };
}

}  // namespace

Result<std::string> text(const char* argument, const char* value) {
  if (value == nullptr) return is_null(argument);
  return std::string(value);
}

Result<std::string_view> bytes(const char* argument, const void* data, std::size_t length) {
  if (data == nullptr && length > 0)
    return wrong(std::string(argument) + " is NULL, though its length is " + std::to_string(length));
  if (length >= std::string().max_size())
    return wrong("the length of " + std::string(argument) + " is " + std::to_string(length) +
                 ", more than memory can hold: was it negative?");
  return std::string_view(static_cast<const char*>(data), length);
}

Result<std::vector<std::string>> texts(const char* argument, const char* const* values, std::size_t count) {
  ORKESTR_CHECK(check_count(argument, values, count));
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) {
    if (values[i] == nullptr) return is_null((std::string(argument) + "[" + std::to_string(i) + "]").c_str());
    out.emplace_back(values[i]);
  }
  return out;
}

std::chrono::seconds seconds(std::int64_t milliseconds, std::chrono::seconds otherwise) {
  if (milliseconds == 0) return otherwise;
  const std::chrono::milliseconds exact(milliseconds);
  // A negative one is the library's to refuse, and stays one for that.
  return milliseconds < 0 ? std::chrono::floor<std::chrono::seconds>(exact)
                          : std::chrono::ceil<std::chrono::seconds>(exact);
}

TimePoint time_point(std::int64_t milliseconds) {
  // Within what the clock's nanoseconds can say: the years 1678 to 2262.
  constexpr std::int64_t kMost = 9'223'372'036'854;
  return TimePoint(std::chrono::milliseconds(std::clamp(milliseconds, -kMost, kMost)));
}

Result<ClientOptions> client_options(const orkestr_client_options* given) {
  ORKESTR_TRY(const auto from, read(given, "ORKESTR_CLIENT_OPTIONS_INIT"));
  ClientOptions options;
  const std::string backend = from.backend == nullptr ? "automatic" : from.backend;
  if (backend == "local")
    options.backend = BackendKind::local;
  else if (backend == "remote")
    options.backend = BackendKind::remote;
  else if (backend != "automatic")
    return wrong("options.backend is \"" + backend + "\"; \"automatic\", \"local\" and \"remote\" are allowed");
  options.api_key = text_or_empty(from.api_key);
  options.base_url = text_or_empty(from.base_url);
  options.timeout = seconds(from.timeout_ms, options.timeout);
  return options;
}

Result<CreateOptions> create_options(const orkestr_create_options* given) {
  ORKESTR_TRY(const auto from, read(given, "ORKESTR_CREATE_OPTIONS_INIT"));
  CreateOptions options;
  options.template_name = text_or_empty(from.template_name);
  options.snapshot = text_or_empty(from.snapshot);
  ORKESTR_CHECK(set_parsed(options.size, from.machine_size, parse_size));
  set(options.cpu, from.cpu);
  set(options.memory_mb, from.memory_mb);
  set(options.disk_mb, from.disk_mb);
  ORKESTR_CHECK(set_parsed(options.network, from.network, parse_network));
  options.timeout = seconds(from.timeout_ms, options.timeout);
  ORKESTR_CHECK(set_parsed(options.on_timeout, from.on_timeout, parse_on_timeout));
  options.auto_resume = from.auto_resume != 0;
  if (from.paused_ttl_ms != 0) options.paused_ttl = seconds(from.paused_ttl_ms, {});
  options.preview_auth = from.preview_auth != 0;
  ORKESTR_TRY(options.env, pairs("options.env", from.env, from.env_count));
  ORKESTR_TRY(options.metadata, pairs("options.metadata", from.metadata, from.metadata_count));
  options.region = text_or_empty(from.region);
  ORKESTR_TRY(auto domains, texts("options.allow_domains", from.allow_domains, from.allow_domains_count));
  if (from.allow_domains != nullptr) options.allow_domains = std::move(domains);
  options.volume = text_or_empty(from.volume);
  if (from.max_retries != 0) options.max_retries = from.max_retries == -1 ? 0 : from.max_retries;
  options.retry_max = seconds(from.retry_max_ms, options.retry_max);
  options.auto_build = from.no_auto_build == 0;
  options.on_progress = progress(from.on_progress, from.progress_user);
  return options;
}

Result<ResumeOptions> resume_options(const orkestr_resume_options* given) {
  ORKESTR_TRY(const auto from, read(given, "ORKESTR_RESUME_OPTIONS_INIT"));
  ResumeOptions options;
  if (from.max_retries != 0) options.max_retries = from.max_retries == -1 ? 0 : from.max_retries;
  options.retry_max = seconds(from.retry_max_ms, options.retry_max);
  return options;
}

Result<ListOptions> list_options(const orkestr_list_options* given) {
  ORKESTR_TRY(const auto from, read(given, "ORKESTR_LIST_OPTIONS_INIT"));
  ListOptions options;
  if (from.status != nullptr) {
    Status status{};
    ORKESTR_CHECK(set_parsed(status, from.status, parse_status));
    options.status = status;
  }
  ORKESTR_TRY(options.metadata, pairs("options.metadata", from.metadata, from.metadata_count));
  set(options.limit, from.limit);
  set(options.max_results, from.max_results);
  return options;
}

Result<ExecOptions> exec_options(const orkestr_exec_options* given) {
  ORKESTR_TRY(const auto from, read(given, "ORKESTR_EXEC_OPTIONS_INIT"));
  ExecOptions options;
  if (from.cwd != nullptr) options.cwd = from.cwd;
  ORKESTR_TRY(options.env, pairs("options.env", from.env, from.env_count));
  if (from.timeout_ms != 0) options.timeout = std::chrono::milliseconds(from.timeout_ms);
  options.user = text_or_empty(from.user);
  ORKESTR_TRY(const auto input, bytes("options.stdin_data", from.stdin_data, from.stdin_length));
  if (from.stdin_data != nullptr) options.stdin_data = std::string(input);
  options.stdin_open = from.stdin_open != 0;
  options.tty = from.tty != 0;
  set(options.cols, from.cols);
  set(options.rows, from.rows);
  set(options.max_output_bytes, from.max_output_bytes);
  return options;
}

Result<CodeOptions> code_options(const orkestr_code_options* given) {
  ORKESTR_TRY(const auto from, read(given, "ORKESTR_CODE_OPTIONS_INIT"));
  CodeOptions options;
  if (from.language != nullptr) options.language = from.language;
  options.context_id = text_or_empty(from.context_id);
  if (from.timeout_ms != 0) options.timeout = std::chrono::milliseconds(from.timeout_ms);
  return options;
}

Result<TemplateBuildOptions> template_options(const orkestr_template_options* given) {
  ORKESTR_TRY(const auto from, read(given, "ORKESTR_TEMPLATE_OPTIONS_INIT"));
  TemplateBuildOptions options;
  options.force = from.force != 0;
  options.recipe = text_or_empty(from.recipe);
  ORKESTR_CHECK(set_parsed(options.size, from.machine_size, parse_size));
  set(options.cpu, from.cpu);
  set(options.memory_mb, from.memory_mb);
  set(options.disk_mb, from.disk_mb);
  options.on_progress = progress(from.on_progress, from.progress_user);
  return options;
}

Result<VolumeOptions> volume_options(const orkestr_volume_options* given) {
  ORKESTR_TRY(const auto from, read(given, "ORKESTR_VOLUME_OPTIONS_INIT"));
  VolumeOptions options;
  set(options.size_gb, from.size_gb);
  options.region = text_or_empty(from.region);
  set(options.max_lifetime_days, from.max_lifetime_days);
  set(options.max_lifetime_hours, from.max_lifetime_hours);
  return options;
}

Result<PoolOptions> pool_options(const orkestr_pool_options* given) {
  if (given == nullptr) return is_null("options");
  ORKESTR_TRY(const auto from, read(given, "ORKESTR_POOL_OPTIONS_INIT"));
  PoolOptions options;
  ORKESTR_TRY(options.template_name, text("options.template_name", from.template_name));
  if (from.count != 0) options.count = from.count == -1 ? 0 : from.count;
  ORKESTR_CHECK(set_parsed(options.size, from.machine_size, parse_size));
  set(options.cpu, from.cpu);
  set(options.memory_mb, from.memory_mb);
  set(options.disk_mb, from.disk_mb);
  options.idle_timeout = seconds(from.idle_timeout_ms, options.idle_timeout);
  if (from.min_available_mb != 0) options.min_available_mb = from.min_available_mb == -1 ? 0 : from.min_available_mb;
  if (from.reserved != 0) return wrong("options.reserved is " + std::to_string(from.reserved) + "; it must be 0");
  return options;
}

Result<std::vector<BatchFile>> batch_files(const orkestr_file* files, std::size_t count) {
  ORKESTR_CHECK(check_count("files", files, count));
  std::vector<BatchFile> out;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string name = "files[" + std::to_string(i) + "]";
    BatchFile file;
    ORKESTR_TRY(file.path, text((name + ".path").c_str(), files[i].path));
    ORKESTR_TRY(const auto content, bytes((name + ".content").c_str(), files[i].content, files[i].length));
    file.content = content;
    set(file.mode, files[i].mode);
    out.push_back(std::move(file));
  }
  return out;
}

}  // namespace orkestr::capi
