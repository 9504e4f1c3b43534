#include "answer.hpp"

#include <cxxabi.h>

#include <cstdlib>

namespace orkestr::parity {

using base::JsonWriter;

namespace {

std::int64_t milliseconds(TimePoint time) {
  return std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

// The fields of one record, in a chain.
class Fields {
 public:
  explicit Fields(JsonWriter& json) : json_(json) { json_.begin_object(); }
  ~Fields() { json_.end_object(); }
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;

  template <class T>
  Fields& add(const char* name, const T& value) {
    json_.key(name);
    write(value);
    return *this;
  }

 private:
  void write(TimePoint value) { json_.value(milliseconds(value)); }
  void write(std::chrono::microseconds value) {
    json_.value(std::chrono::round<std::chrono::milliseconds>(value).count());
  }
  void write(std::chrono::seconds value) { json_.value(value.count()); }
  void write(const Bytes& value) { put(json_, value); }
  void write(const std::map<std::string, std::string>& value) {
    json_.begin_object();
    for (const auto& [key, text] : value) json_.field(key, text);
    json_.end_object();
  }
  template <class T>
  void write(const std::optional<T>& value) {
    if (value) {
      write(*value);
    } else {
      json_.null();
    }
  }
  template <class T>
  void write(const std::vector<T>& values) {
    json_.begin_array();
    for (const T& value : values) write(value);
    json_.end_array();
  }
  void write(const MetricsSample& value) {
    Fields(json_).add("time", value.time).add("cpu_percent", value.cpu_percent).add("memory_bytes", value.memory_bytes);
  }
  void write(const SizeLimit& value) {
    Fields(json_)
        .add("size", value.size)
        .add("cpu", value.cpu)
        .add("memory_mb", value.memory_mb)
        .add("allowed", value.allowed);
  }
  void write(const PoolMember& value) {
    Fields(json_).add("id", value.id).add("ready", value.ready).add("created_at", value.created_at);
  }
  void write(const CodeResult& value) {
    std::optional<Bytes> png;
    if (value.png) png = Bytes{*value.png};
    Fields(json_)
        .add("type", value.type)
        .add("text", value.text)
        .add("html", value.html)
        .add("png", png)
        .add("json", value.json)
        .add("chart", value.chart);
  }
  void write(const CodeError& value) {
    Fields(json_).add("name", value.name).add("value", value.value).add("traceback", value.traceback);
  }
  void write(const CodeExecution& value) { put(json_, value); }
  void write(const Region& value) { Fields(json_).add("id", value.id).add("label", value.label); }
  template <class T>
  void write(const T& value) {
    json_.value(value);
  }

  JsonWriter& json_;
};

// What a caller catches, whatever the table says.
std::string class_thrown(const Error& error) {
  try {
    error.raise();
  } catch (const OrkestrError& thrown) {
    int failed = 0;
    char* name = abi::__cxa_demangle(typeid(thrown).name(), nullptr, nullptr, &failed);
    std::string text = failed == 0 ? name : "?";
    std::free(name);
    return text.substr(text.rfind(':') + 1);
  }
}

}  // namespace

void put(JsonWriter& json, const Bytes& value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : value.data) hex += {kDigits[byte >> 4U], kDigits[byte & 15U]};
  json.begin_object().field("hex", hex).end_object();
}

void put(JsonWriter& json, const std::string& value) { json.value(value); }
void put(JsonWriter& json, bool value) { json.value(value); }
void put(JsonWriter& json, const Client& value) { Fields(json).add("backend", value.backend()); }

void put(JsonWriter& json, const SandboxInfo& value) {
  Fields(json)
      .add("id", value.id)
      .add("status", to_string(value.status))
      .add("template", value.template_name)
      .add("network", to_string(value.network))
      .add("cpu", value.cpu)
      .add("cpu_reason", value.cpu_reason)
      .add("memory_mb", value.memory_mb)
      .add("disk_mb", value.disk_mb)
      .add("region", value.region)
      .add("created_at", value.created_at)
      .add("expires_at", value.expires_at)
      .add("metadata", value.metadata)
      .add("on_timeout", to_string(value.on_timeout))
      .add("auto_resume", value.auto_resume)
      .add("paused_expires_at", value.paused_expires_at)
      .add("preview_auth", value.preview_auth)
      .add("preview_auth_token", value.preview_auth_token)
      .add("volume", value.volume)
      .add("node_id", value.node_id)
      .add("backend", value.backend)
      .add("end_reason", value.end_reason)
      .add("accelerator", value.accelerator)
      .add("accelerator_reason", value.accelerator_reason)
      .add("isolation", value.isolation)
      .add("jail", value.jail);
}

void put(JsonWriter& json, const ExecResult& value) {
  Fields(json)
      .add("stdout", Bytes{value.stdout_data})
      .add("stderr", Bytes{value.stderr_data})
      .add("exit_code", value.exit_code)
      .add("duration_ms", value.duration)
      .add("stdout_total_bytes", value.stdout_total_bytes)
      .add("stderr_total_bytes", value.stderr_total_bytes)
      .add("truncated", value.truncated)
      .add("user_ms", value.user_time)
      .add("system_ms", value.system_time)
      .add("max_rss_kb", value.max_rss_kb)
      .add("network_denied", value.network_denied);
}

void put(JsonWriter& json, const Output& value) {
  std::optional<std::chrono::microseconds> duration;
  if (value.final) duration = value.final->duration;
  Fields(json)
      .add("stdout", Bytes{value.out})
      .add("stderr", Bytes{value.err})
      .add("exit_code", value.final ? value.final->exit_code : std::nullopt)
      .add("duration_ms", duration);
}

void put(JsonWriter& json, const CommandInfo& value) {
  Fields(json)
      .add("id", value.id)
      .add("command", value.command)
      .add("pid", value.pid)
      .add("status", to_string(value.status))
      .add("exit_code", value.exit_code)
      .add("started_at", value.started_at);
}

void put(JsonWriter& json, const CommandLogs& value) {
  Fields(json)
      .add("content", Bytes{value.content})
      .add("start_offset", value.start_offset)
      .add("size", value.size)
      .add("truncated", value.truncated)
      .add("next_offset", value.next_offset());
}

void put(JsonWriter& json, const Event& value) {
  Fields(json)
      .add("time", value.time)
      .add("kind", value.kind)
      .add("outcome", value.outcome)
      .add("command", value.command)
      .add("path", value.path)
      .add("exit_code", value.exit_code)
      .add("duration_ms", value.duration_ms)
      .add("reason", value.reason);
}

void put(JsonWriter& json, const FileEntry& value) {
  Fields(json)
      .add("name", value.name)
      .add("is_dir", value.is_dir)
      .add("size", value.size)
      .add("mode", value.mode)
      .add("modified_at", value.modified_at);
}

void put(JsonWriter& json, const FileStat& value) {
  Fields(json)
      .add("exists", value.exists)
      .add("is_dir", value.is_dir)
      .add("size", value.size)
      .add("mode", value.mode)
      .add("modified_at", value.modified_at);
}

void put(JsonWriter& json, const BatchWriteResult& value) {
  Fields(json)
      .add("path", value.path)
      .add("bytes_written", value.bytes_written)
      .add("error", value.error ? to_string(value.error->code()) : std::string_view());
}

void put(JsonWriter& json, const PresignedUrl& value) {
  Fields(json)
      .add("url", value.url)
      .add("method", value.method)
      .add("path", value.path)
      .add("expires_at", value.expires_at);
}

void put(JsonWriter& json, const Metrics& value) {
  Fields(json)
      .add("sandbox_id", value.sandbox_id)
      .add("status", to_string(value.status))
      .add("as_of", value.as_of)
      .add("sample_interval_seconds", value.sample_interval_seconds)
      .add("window_seconds", value.window_seconds)
      .add("cpu_cores", value.cpu_cores)
      .add("cpu_usage_cores", value.cpu_usage_cores)
      .add("cpu_usage_percent", value.cpu_usage_percent)
      .add("memory_limit_bytes", value.memory_limit_bytes)
      .add("memory_usage_bytes", value.memory_usage_bytes)
      .add("memory_usage_percent", value.memory_usage_percent)
      .add("lifetime_cpu_seconds", value.lifetime_cpu_seconds)
      .add("lifetime_gb_seconds", value.lifetime_gb_seconds)
      .add("samples", value.samples);
}

void put(JsonWriter& json, const Limits& value) {
  Fields(json)
      .add("plan", value.plan)
      .add("max_concurrent", value.max_concurrent)
      .add("max_snapshots", value.max_snapshots)
      .add("allowed_sizes", value.allowed_sizes)
      .add("sizes", value.sizes)
      .add("regions", value.regions)
      .add("custom_egress_allowlist", value.custom_egress_allowlist)
      .add("default_egress_domains", value.default_egress_domains)
      .add("trial_credit_eur", value.trial_credit_eur)
      .add("trial_credit_used_eur", value.trial_credit_used_eur)
      .add("max_running_lifetime_seconds", value.max_running_lifetime)
      .add("max_named_snapshots", value.max_named_snapshots)
      .add("max_timeout_seconds", value.max_timeout)
      .add("usage_resets_at", value.usage_resets_at);
}

void put(JsonWriter& json, const SnapshotInfo& value) {
  Fields(json)
      .add("id", value.id)
      .add("status", value.status)
      .add("template", value.template_name)
      .add("cpu", value.cpu)
      .add("memory_mb", value.memory_mb)
      .add("network", to_string(value.network))
      .add("name", value.name)
      .add("source_sandbox_id", value.source_sandbox_id)
      .add("size_mb", value.size_mb)
      .add("node_id", value.node_id)
      .add("region", value.region)
      .add("error_message", value.error_message)
      .add("created_at", value.created_at)
      .add("ready_at", value.ready_at);
}

void put(JsonWriter& json, const CodeExecution& value) {
  Fields(json)
      .add("results", value.results)
      .add("stdout", value.stdout_data)
      .add("stderr", value.stderr_data)
      .add("error", value.error)
      .add("execution_count", value.execution_count)
      .add("context_id", value.context_id)
      .add("duration_ms", value.duration.count())
      .add("interrupted", value.interrupted)
      .add("restarted", value.restarted)
      .add("truncated", value.truncated)
      .add("text", value.text());
}

void put(JsonWriter& json, const CodeEvent& value) {
  using Kind = CodeEvent::Kind;
  const auto only = [](bool has, const auto& member) { return has ? std::make_optional(member) : std::nullopt; };
  const std::string stream = value.stream == OutputStream::standard_output ? "stdout" : "stderr";
  Fields(json)
      .add("kind", to_string(value.kind))
      .add("stream", only(value.kind == Kind::output, stream))
      .add("text", only(value.kind == Kind::output, value.text))
      .add("result", only(value.kind == Kind::result, value.result))
      .add("error", only(value.kind == Kind::error, value.error))
      .add("execution", only(value.kind == Kind::done, value.execution));
}

void put(JsonWriter& json, const CodeContextInfo& value) {
  Fields(json)
      .add("id", value.id)
      .add("language", value.language)
      .add("cwd", value.cwd)
      .add("created_at", value.created_at)
      .add("last_used_at", value.last_used_at)
      .add("executions", value.executions)
      .add("alive", value.alive);
}

void put(JsonWriter& json, const VolumeInfo& value) {
  Fields(json)
      .add("id", value.id)
      .add("name", value.name)
      .add("size_mb", value.size_mb)
      .add("status", value.status)
      .add("region", value.region)
      .add("node_id", value.node_id)
      .add("attached_sandbox_id", value.attached_sandbox_id)
      .add("max_lifetime_days", value.max_lifetime_days)
      .add("max_lifetime_hours", value.max_lifetime_hours)
      .add("expires_at", value.expires_at);
}

void put(JsonWriter& json, const WebhookInfo& value) {
  Fields(json)
      .add("id", value.id)
      .add("url", value.url)
      .add("event_types", value.event_types)
      .add("active", value.active)
      .add("consecutive_failures", value.consecutive_failures)
      .add("last_delivery_at", value.last_delivery_at)
      .add("last_error", value.last_error)
      .add("created_at", value.created_at)
      .add("secret", value.secret);
}

void put(JsonWriter& json, const TemplateInfo& value) {
  Fields(json)
      .add("name", value.name)
      .add("description", value.description)
      .add("built", value.built)
      .add("current", value.current)
      .add("build_id", value.build_id)
      .add("bytes", value.bytes)
      .add("digest", value.digest)
      .add("kernel", value.kernel);
}

void put(JsonWriter& json, int value) { json.value(value); }

void put(JsonWriter& json, const PoolInfo& value) {
  Fields(json)
      .add("template", value.template_name)
      .add("count", value.count)
      .add("ready", value.ready())
      .add("cpu", value.cpu)
      .add("memory_mb", value.memory_mb)
      .add("disk_mb", value.disk_mb)
      .add("idle_seconds", value.idle_timeout.count())
      .add("min_available_mb", value.min_available_mb)
      .add("members", value.members)
      .add("problem", value.problem);
}

void put(JsonWriter& json, const Error& value) {
  const ErrorDetails& details = value.details();
  Fields(json)
      .add("code", to_string(value.code()))
      .add("class", class_thrown(value))
      .add("message", value.message())
      .add("hint", error_hint(value.code()))
      .add("status_code", details.status_code)
      .add("detail", details.detail)
      .add("request_id", details.request_id)
      .add("retry_after", details.retry_after)
      .add("signal", details.signal)
      .add("oom", details.oom)
      .add("stdout", Bytes{details.stdout_data})
      .add("stderr", Bytes{details.stderr_data})
      .add("host", details.host)
      .add("port", details.port)
      .add("rule", details.rule)
      .add("stage", details.stage)
      .add("console_tail", details.console_tail);
}

}  // namespace orkestr::parity
