#include "remote/requests.hpp"

#include <fmt/format.h>

#include "base/json.hpp"
#include "remote/base64.hpp"

namespace orkestr::remote {
namespace {

using base::JsonWriter;

constexpr std::string_view kSandboxes = "/v1/sandboxes";

std::string sandbox_path(std::string_view id, std::string_view rest = {}) {
  return fmt::format("{}/{}{}", kSandboxes, url_encoded(id), rest);
}

ApiRequest sandbox_request(std::string_view verb, std::string_view id, std::string_view method,
                           std::string_view rest = {}, std::string body = {}) {
  return {fmt::format("{} sandbox {}", verb, id), std::string(method), sandbox_path(id, rest), std::move(body)};
}

ApiRequest file_request(std::string_view verb, std::string_view path, std::string_view id, std::string_view method,
                        std::string_view rest, std::string body = {}) {
  return {fmt::format("{} {}", verb, path), std::string(method), sandbox_path(id, rest), std::move(body), true};
}

ApiRequest command_request(std::string_view verb, std::string_view id, std::string_view command,
                           std::string_view method, std::string_view rest = {}) {
  return {fmt::format("{} command {}", verb, command),
          std::string(method),
          sandbox_path(id, fmt::format("/commands/{}{}", url_encoded(command), rest)),
          {}};
}

ApiRequest context_request(std::string_view verb, std::string_view id, std::string_view context,
                           std::string_view method, std::string_view rest = {}, std::string body = {}) {
  return {fmt::format("{} code context {}", verb, context), std::string(method),
          sandbox_path(id, fmt::format("/code/contexts/{}{}", url_encoded(context), rest)), std::move(body)};
}

void write_map(JsonWriter& json, std::string_view name, const std::map<std::string, std::string>& map) {
  json.key(name).begin_object();
  for (const auto& [key, value] : map) json.field(key, value);
  json.end_object();
}

// Whole seconds as an integer, as most people mean them.
void write_seconds(JsonWriter& json, std::string_view name, std::chrono::milliseconds time) {
  if (time.count() % 1000 == 0) {
    json.field(name, time.count() / 1000);
  } else {
    json.field(name, static_cast<double>(time.count()) / 1000);
  }
}

ApiRequest idempotent(ApiRequest request) {
  request.idempotent = true;
  return request;
}

JsonWriter command_body(std::string_view line, const CommandRequest& request) {
  JsonWriter json;
  json.begin_object().field("command", line).field("cwd", request.cwd);
  write_map(json, "env", request.env);
  return json;
}

}  // namespace

std::string url_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

ApiRequest create_request(const CreateOptions& options) {
  JsonWriter json;
  json.begin_object();
  if (options.snapshot.empty()) {
    json.field("template", options.template_name)
        .field("size", to_string(options.size))
        .field("network", to_string(options.network));
  } else {
    json.field("snapshot", options.snapshot);
  }
  write_seconds(json, "timeout_seconds", options.timeout);
  json.field("on_timeout", to_string(options.on_timeout))
      .field("auto_resume", options.auto_resume)
      .field("preview_auth", options.preview_auth);
  write_map(json, "env", options.env);
  write_map(json, "metadata", options.metadata);
  if (options.snapshot.empty()) {
    if (options.cpu) json.field("cpu", *options.cpu);
    if (options.memory_mb) json.field("memory_mb", *options.memory_mb);
    if (!options.region.empty()) json.field("region", options.region);
    if (options.allow_domains) {
      json.key("allow_domains").begin_array();
      for (const std::string& domain : *options.allow_domains) json.value(domain);
      json.end_array();
    }
    if (!options.volume.empty()) json.field("volume", options.volume);
  }
  json.end_object();
  return {"create sandbox", "POST", std::string(kSandboxes), json.take()};
}

ApiRequest get_request(std::string_view sandbox_id) { return sandbox_request("get", sandbox_id, "GET"); }

ApiRequest list_request(const ListOptions& options, std::string_view cursor) {
  std::string target = fmt::format("{}?limit={}", kSandboxes, options.limit);
  if (options.status) target += fmt::format("&status={}", to_string(*options.status));
  for (const auto& [key, value] : options.metadata) {
    target += fmt::format("&metadata%5B{}%5D={}", url_encoded(key), url_encoded(value));
  }
  if (!cursor.empty()) target += fmt::format("&cursor={}", url_encoded(cursor));
  return {"list sandboxes", "GET", std::move(target), {}};
}

ApiRequest limits_request() { return {"limits", "GET", fmt::format("{}/limits", kSandboxes), {}}; }

ApiRequest terminate_request(std::string_view sandbox_id) {
  return idempotent(sandbox_request("terminate", sandbox_id, "DELETE"));
}
ApiRequest pause_request(std::string_view sandbox_id) { return sandbox_request("pause", sandbox_id, "POST", "/pause"); }
ApiRequest resume_request(std::string_view sandbox_id) {
  return sandbox_request("resume", sandbox_id, "POST", "/resume");
}

ApiRequest set_timeout_request(std::string_view sandbox_id, std::chrono::seconds timeout) {
  JsonWriter json;
  json.begin_object();
  write_seconds(json, "timeout_seconds", timeout);
  json.end_object();
  return sandbox_request("set the timeout of", sandbox_id, "POST", "/timeout", json.take());
}

ApiRequest metrics_request(std::string_view sandbox_id, std::optional<TimePoint> since) {
  std::string rest = "/metrics";
  if (since) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since->time_since_epoch());
    rest += fmt::format("?since={}", seconds.count());
  }
  return sandbox_request("metrics of", sandbox_id, "GET", rest);
}

ApiRequest host_request(std::string_view sandbox_id, int port) {
  return sandbox_request("host of", sandbox_id, "GET", fmt::format("/host?port={}", port));
}

ApiRequest snapshot_request(std::string_view sandbox_id, std::string_view name) {
  JsonWriter json;
  json.begin_object();
  if (!name.empty()) json.field("name", name);
  json.end_object();
  return sandbox_request("snapshot of", sandbox_id, "POST", "/snapshots", json.take());
}

ApiRequest list_snapshots_request() { return {"list snapshots", "GET", fmt::format("{}/snapshots", kSandboxes), {}}; }
ApiRequest get_snapshot_request(std::string_view snapshot_id) {
  return {fmt::format("get snapshot {}", snapshot_id),
          "GET",
          fmt::format("{}/snapshots/{}", kSandboxes, url_encoded(snapshot_id)),
          {}};
}
ApiRequest remove_snapshot_request(std::string_view snapshot_id) {
  return idempotent({fmt::format("remove snapshot {}", snapshot_id),
                     "DELETE",
                     fmt::format("{}/snapshots/{}", kSandboxes, url_encoded(snapshot_id)),
                     {}});
}

ApiRequest exec_request(std::string_view sandbox_id, std::string_view line, const CommandRequest& request) {
  JsonWriter json = command_body(line, request);
  write_seconds(json, "timeout_seconds", request.timeout);
  json.field("stream", request.streamed).end_object();
  return sandbox_request("exec in", sandbox_id, "POST", "/exec", json.take());
}

ApiRequest start_request(std::string_view sandbox_id, std::string_view line, const CommandRequest& request) {
  JsonWriter json = command_body(line, request);
  json.end_object();
  return sandbox_request("start a command in", sandbox_id, "POST", "/commands", json.take());
}

ApiRequest list_commands_request(std::string_view sandbox_id) {
  return sandbox_request("list the commands of", sandbox_id, "GET", "/commands");
}
ApiRequest get_command_request(std::string_view sandbox_id, std::string_view command_id) {
  return command_request("get", sandbox_id, command_id, "GET");
}
ApiRequest kill_command_request(std::string_view sandbox_id, std::string_view command_id) {
  return idempotent(command_request("kill", sandbox_id, command_id, "DELETE"));
}
ApiRequest logs_request(std::string_view sandbox_id, std::string_view command_id, std::uint64_t offset) {
  return command_request("logs of", sandbox_id, command_id, "GET", fmt::format("/logs?offset={}", offset));
}
ApiRequest follow_request(std::string_view sandbox_id, std::string_view command_id, std::uint64_t offset,
                          std::chrono::milliseconds timeout) {
  const auto seconds = (timeout.count() + 999) / 1000;
  return command_request("logs of", sandbox_id, command_id, "GET",
                         fmt::format("/logs?follow=true&offset={}&timeout_seconds={}", offset, seconds));
}

ApiRequest run_code_request(std::string_view sandbox_id, std::string_view code, const CodeOptions& options,
                            bool streamed) {
  JsonWriter json;
  json.begin_object().field("code", code).field("language", options.language).key("context_id");
  if (options.context_id.empty()) {
    json.null();
  } else {
    json.value(options.context_id);
  }
  write_seconds(json, "timeout_seconds", options.timeout);
  if (streamed) json.field("stream", true);
  json.end_object();
  return sandbox_request("run code in", sandbox_id, "POST", "/code", json.take());
}

ApiRequest create_context_request(std::string_view sandbox_id, std::string_view cwd) {
  JsonWriter json;
  json.begin_object();
  if (!cwd.empty()) json.field("cwd", cwd);
  json.end_object();
  return sandbox_request("create a code context in", sandbox_id, "POST", "/code/contexts", json.take());
}
ApiRequest list_contexts_request(std::string_view sandbox_id) {
  return sandbox_request("list the code contexts of", sandbox_id, "GET", "/code/contexts");
}
ApiRequest restart_context_request(std::string_view sandbox_id, std::string_view context_id) {
  return context_request("restart", sandbox_id, context_id, "POST", "/restart", "{}");
}
ApiRequest remove_context_request(std::string_view sandbox_id, std::string_view context_id) {
  return context_request("remove", sandbox_id, context_id, "DELETE");
}

ApiRequest write_file_request(std::string_view sandbox_id, std::string_view path, std::string_view content, int mode) {
  std::string body;
  body.reserve(content.size() / 3 * 4 + path.size() + 64);
  JsonWriter head;
  head.begin_object().field("path", path).key("content");
  body = head.take();
  body += '"';
  base64_append(body, content);
  body += fmt::format("\",\"mode\":{}}}", mode);
  return file_request("write", path, sandbox_id, "POST", "/files", std::move(body));
}

ApiRequest read_file_request(std::string_view sandbox_id, std::string_view path) {
  return file_request("read", path, sandbox_id, "GET", "/files?path=" + url_encoded(path));
}
ApiRequest remove_file_request(std::string_view sandbox_id, std::string_view path) {
  return file_request("remove", path, sandbox_id, "DELETE", "/files?path=" + url_encoded(path));
}
ApiRequest mkdir_request(std::string_view sandbox_id, std::string_view path, bool parents) {
  JsonWriter json;
  json.begin_object().field("path", path).field("parents", parents).end_object();
  return file_request("mkdir", path, sandbox_id, "POST", "/files/mkdir", json.take());
}
ApiRequest move_request(std::string_view sandbox_id, std::string_view source, std::string_view destination) {
  JsonWriter json;
  json.begin_object().field("source", source).field("destination", destination).end_object();
  return file_request("move", source, sandbox_id, "POST", "/files/move", json.take());
}
ApiRequest stat_request(std::string_view sandbox_id, std::string_view path) {
  return file_request("stat", path, sandbox_id, "GET", "/files/stat?path=" + url_encoded(path));
}

ApiRequest batch_request(std::string_view sandbox_id, const std::vector<BatchFile>& files) {
  JsonWriter json;
  json.begin_object().key("files").begin_array();
  for (const BatchFile& file : files) {
    json.begin_object()
        .field("path", file.path)
        .field("content", base64_encode(file.content))
        .field("mode", file.mode)
        .end_object();
  }
  json.end_array().end_object();
  return sandbox_request("write_batch to", sandbox_id, "POST", "/files/batch", json.take());
}

ApiRequest presign_request(std::string_view sandbox_id, Session::Presigned kind, std::string_view path,
                           std::chrono::seconds expires_in) {
  JsonWriter json;
  json.begin_object()
      .field("path", path)
      .field("expires_in", static_cast<std::int64_t>(expires_in.count()))
      .end_object();
  return file_request("presign", path, sandbox_id, "POST",
                      kind == Session::Presigned::download ? "/files/presign-download" : "/files/presign-upload",
                      json.take());
}

}  // namespace orkestr::remote
