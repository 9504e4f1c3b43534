#include "convert.hpp"

#include <pybind11/stl.h>

#include "wait.hpp"

namespace orkestr::python {

namespace py = pybind11;

py::str to_text(std::string_view text) {
  PyObject* object = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
  if (object == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(object);
}

std::int64_t to_microseconds(TimePoint time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

namespace {

using Map = std::map<std::string, std::string>;

py::dict to_dict(const Map& map) {
  py::dict out;
  for (const auto& [key, value] : map) out[to_text(key)] = to_text(value);
  return out;
}

// Names of files are bytes; like os.listdir, what is not UTF-8 survives the way there and back.
py::str to_name(std::string_view name) {
  PyObject* object = PyUnicode_DecodeUTF8(name.data(), static_cast<Py_ssize_t>(name.size()), "surrogateescape");
  if (object == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(object);
}

std::int64_t to_milliseconds(std::chrono::microseconds duration) {
  return std::chrono::round<std::chrono::milliseconds>(duration).count();
}

// arguments[name] into `target`; an absent name or None leaves the default.
template <class T>
void set(T& target, const py::dict& arguments, const char* name) {
  if (!arguments.contains(name)) return;
  const py::object value = arguments[name];
  if (!value.is_none()) target = value.cast<T>();
}

template <class Duration>
void set_duration(Duration& target, const py::dict& arguments, const char* name) {
  auto count = target.count();
  set(count, arguments, name);
  target = Duration{count};
}

template <class T>
void set_parsed(T& target, const py::dict& arguments, const char* name, Result<T> (*parse)(std::string_view)) {
  std::optional<std::string> text;
  set(text, arguments, name);
  if (text) target = take(parse(*text));
}

}  // namespace

void raise_error(const Error& error) {
  const ErrorDetails& from = error.details();
  py::dict details;
  details["status_code"] = from.status_code;
  details["detail"] = to_text(from.detail);
  details["request_id"] = to_text(from.request_id);
  details["retry_after"] = from.retry_after;
  details["signal"] = from.signal;
  details["oom"] = from.oom;
  details["stdout_bytes"] = to_bytes(from.stdout_data);
  details["stderr_bytes"] = to_bytes(from.stderr_data);
  details["host"] = to_text(from.host);
  details["port"] = from.port;
  details["rule"] = to_text(from.rule);
  details["stage"] = to_text(from.stage);
  details["console_tail"] = to_text(from.console_tail);
  const py::object exception =
      py::module_::import("orkestr.errors")
          .attr("from_native")(to_text(to_string(error.code())), to_text(error.message()), details);
  PyErr_SetObject(py::type::handle_of(exception).ptr(), exception.ptr());
  throw py::error_already_set();
}

py::bytes to_bytes(std::string_view data) { return {data.data(), data.size()}; }

py::dict to_python(const SandboxInfo& info) {
  py::dict out;
  out["id"] = to_text(info.id);
  out["status"] = to_text(to_string(info.status));
  out["template"] = to_text(info.template_name);
  out["network"] = to_text(to_string(info.network));
  out["cpu"] = info.cpu;
  out["cpu_reason"] = to_text(info.cpu_reason);
  out["disk_mb"] = info.disk_mb;
  out["memory_mb"] = info.memory_mb;
  out["region"] = to_text(info.region);
  out["created_at"] = to_microseconds(info.created_at);
  out["expires_at"] = to_microseconds(info.expires_at);
  out["metadata"] = to_dict(info.metadata);
  out["on_timeout"] = to_text(to_string(info.on_timeout));
  out["auto_resume"] = info.auto_resume;
  out["paused_expires_at"] =
      info.paused_expires_at ? py::object(py::int_(to_microseconds(*info.paused_expires_at))) : py::none();
  out["preview_auth"] = info.preview_auth;
  out["preview_auth_token"] = to_text(info.preview_auth_token);
  out["volume"] = to_text(info.volume);
  out["node_id"] = to_text(info.node_id);
  out["backend"] = to_text(info.backend);
  out["end_reason"] = to_text(info.end_reason);
  out["accelerator"] = to_text(info.accelerator);
  out["accelerator_reason"] = to_text(info.accelerator_reason);
  out["isolation"] = to_text(info.isolation);
  out["jail"] = to_text(info.jail);
  return out;
}

py::dict to_python(const ExecResult& result) {
  py::list denied;
  for (const std::string& host : result.network_denied) denied.append(to_text(host));
  py::dict out;
  out["stdout_bytes"] = to_bytes(result.stdout_data);
  out["stderr_bytes"] = to_bytes(result.stderr_data);
  out["exit_code"] = result.exit_code;
  out["duration_ms"] = to_milliseconds(result.duration);
  out["stdout_total_bytes"] = result.stdout_total_bytes;
  out["stderr_total_bytes"] = result.stderr_total_bytes;
  out["truncated"] = result.truncated;
  out["user_ms"] = to_milliseconds(result.user_time);
  out["system_ms"] = to_milliseconds(result.system_time);
  out["max_rss_kb"] = result.max_rss_kb;
  out["network_denied"] = denied;
  return out;
}

py::dict to_python(const FileEntry& entry) {
  py::dict out;
  out["name"] = to_name(entry.name);
  out["is_dir"] = entry.is_dir;
  out["size"] = entry.size;
  out["mode"] = entry.mode;
  out["modified_at"] = to_microseconds(entry.modified_at);
  return out;
}

py::dict to_python(const FileStat& stat) {
  py::dict out;
  out["exists"] = stat.exists;
  out["is_dir"] = stat.is_dir;
  out["size"] = stat.size;
  out["mode"] = stat.mode;
  out["modified_at"] = to_microseconds(stat.modified_at);
  return out;
}

py::dict to_python(const Event& event) {
  py::dict out;
  out["time"] = to_microseconds(event.time);
  out["kind"] = to_text(event.kind);
  out["outcome"] = to_text(event.outcome);
  out["command"] = to_text(event.command);
  out["path"] = to_text(event.path);
  out["exit_code"] = event.exit_code;
  out["duration_ms"] = event.duration_ms;
  out["reason"] = to_text(event.reason);
  return out;
}

py::tuple to_python(const ExecChunk& chunk) {
  return py::make_tuple(chunk.stream == OutputStream::standard_output, to_bytes(chunk.data), chunk.exit_code,
                        to_milliseconds(chunk.duration));
}

CreateOptions create_options(const py::dict& arguments) {
  CreateOptions options;
  set(options.template_name, arguments, "template");
  set_parsed(options.size, arguments, "size", parse_size);
  set(options.cpu, arguments, "cpu");
  set(options.disk_mb, arguments, "disk_mb");
  set(options.memory_mb, arguments, "memory_mb");
  set_parsed(options.network, arguments, "network", parse_network);
  set_duration(options.timeout, arguments, "timeout_seconds");
  set_parsed(options.on_timeout, arguments, "on_timeout", parse_on_timeout);
  set(options.auto_resume, arguments, "auto_resume");
  std::optional<std::int64_t> paused_ttl;
  set(paused_ttl, arguments, "paused_ttl_seconds");
  if (paused_ttl) options.paused_ttl = std::chrono::seconds{*paused_ttl};
  set(options.preview_auth, arguments, "preview_auth");
  set(options.env, arguments, "env");
  set(options.metadata, arguments, "metadata");
  set(options.region, arguments, "region");
  set(options.allow_domains, arguments, "allow_domains");
  set(options.volume, arguments, "volume");
  set(options.snapshot, arguments, "snapshot");
  set(options.max_retries, arguments, "max_retries");
  set_duration(options.retry_max, arguments, "retry_max_seconds");
  set(options.auto_build, arguments, "auto_build");
  return options;
}

ListOptions list_options(const py::dict& arguments) {
  ListOptions options;
  Status status{};
  if (arguments.contains("status") && !arguments["status"].is_none()) {
    set_parsed(status, arguments, "status", parse_status);
    options.status = status;
  }
  set(options.metadata, arguments, "metadata");
  set(options.limit, arguments, "limit");
  set(options.max_results, arguments, "max_results");
  return options;
}

ExecOptions exec_options(const py::dict& arguments) {
  ExecOptions options;
  set(options.cwd, arguments, "cwd");
  set(options.env, arguments, "env");
  set_duration(options.timeout, arguments, "timeout_ms");
  set(options.user, arguments, "user");
  if (arguments.contains("stdin") && !arguments["stdin"].is_none()) {
    options.stdin_data.emplace(BytesView(arguments["stdin"]).get());
  }
  set(options.max_output_bytes, arguments, "max_output_bytes");
  set(options.stdin_open, arguments, "stdin_open");
  set(options.tty, arguments, "tty");
  set(options.cols, arguments, "cols");
  set(options.rows, arguments, "rows");
  return options;
}

}  // namespace orkestr::python
