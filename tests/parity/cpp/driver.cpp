// The C++ driver of the parity suite: a call a line on standard input, its answer a line on standard output; see
// README.md.
#include <functional>
#include <iostream>

#include "answer.hpp"
#include "call.hpp"

namespace orkestr::parity {

namespace {

// The inside of an answer: "value" and maybe "handle".
using Answer = std::string;
using Member = Answer (*)(const Call&);

template <class T>
Answer gives(const T& value, int handle = 0) {
  base::JsonWriter json;
  json.begin_object().key("value");
  put(json, value);
  if (handle != 0) json.field("handle", handle);
  return json.end_object().take();
}
Answer gives_nothing(int handle = 0) {
  base::JsonWriter json;
  json.begin_object().key("value").null();
  if (handle != 0) json.field("handle", handle);
  return json.end_object().take();
}

Answer keep(const Call& call, const Sandbox& sandbox) { return gives(sandbox.info(), call.keep(sandbox)); }
Answer keep(const Call& call, const BackgroundCommand& command) { return gives(command.info(), call.keep(command)); }
Answer keep(const Call& call, ExecStream stream) {
  return gives_nothing(call.keep(std::make_shared<Stream>(Stream{std::move(stream), std::nullopt})));
}
Answer keep(const Call& call, LogStream stream) {
  return gives_nothing(call.keep(std::make_shared<Stream>(Stream{std::nullopt, std::move(stream)})));
}

Answer keep(const Call& call, CodeStream stream) {
  return gives_nothing(call.keep(std::make_shared<CodeStream>(std::move(stream))));
}
Answer keep(const Call& call, const CodeContext& context) { return gives(context.info(), call.keep(context)); }

Answer open_client(const Call& call) {
  ClientOptions options;
  const std::string backend = call.text("backend");
  if (backend == "local") options.backend = BackendKind::local;
  if (backend == "remote") options.backend = BackendKind::remote;
  call.get("api_key", options.api_key);
  call.get("base_url", options.base_url);
  call.get("timeout_seconds", options.timeout);
  const Client client = Client::open(options).value();
  return gives(client, call.keep(client));
}

Answer create(const Call& call) {
  CreateOptions options;
  call.get("template", options.template_name);
  call.get("size", options.size, parse_size);
  call.get("cpu", options.cpu);
  call.get("memory_mb", options.memory_mb);
  call.get("disk_mb", options.disk_mb);
  call.get("network", options.network, parse_network);
  call.get("timeout_seconds", options.timeout);
  call.get("on_timeout", options.on_timeout, parse_on_timeout);
  call.get("auto_resume", options.auto_resume);
  call.get("paused_ttl_seconds", options.paused_ttl);
  call.get("preview_auth", options.preview_auth);
  call.get("env", options.env);
  call.get("metadata", options.metadata);
  call.get("region", options.region);
  call.get("allow_domains", options.allow_domains);
  call.get("volume", options.volume);
  call.get("snapshot", options.snapshot);
  call.get("max_retries", options.max_retries);
  call.get("retry_max_seconds", options.retry_max);
  call.get("auto_build", options.auto_build);
  return keep(call, Sandbox::create(options, call.client()).value());
}

Answer resume(const Call& call) {
  ResumeOptions options;
  call.get("max_retries", options.max_retries);
  call.get("retry_max_seconds", options.retry_max);
  return keep(call, Sandbox::resume(call.text("sandbox_id"), options, call.client()).value());
}

Answer list(const Call& call) {
  ListOptions options;
  if (call.has("status")) options.status = parse_status(call.text("status")).value();
  call.get("metadata", options.metadata);
  call.get("limit", options.limit);
  call.get("max_results", options.max_results);
  return gives(Sandbox::list(options, call.client()).value());
}

ExecOptions exec_options(const Call& call) {
  ExecOptions options;
  call.get("cwd", options.cwd);
  call.get("env", options.env);
  call.get("timeout_ms", options.timeout);
  call.get("user", options.user);
  call.get("stdin", options.stdin_data);
  call.get("stdin_open", options.stdin_open);
  call.get("tty", options.tty);
  call.get("cols", options.cols);
  call.get("rows", options.rows);
  call.get("max_output_bytes", options.max_output_bytes);
  return options;
}

std::vector<std::string> texts(const Call& call, const std::string& argument) {
  std::vector<std::string> out;
  call.get(argument, out);
  return out;
}

Sandbox& sandbox(const Call& call) { return call.on<Sandbox>(); }
Files files(const Call& call) { return sandbox(call).files(); }
BackgroundCommand& command(const Call& call) { return call.on<BackgroundCommand>(); }
Stream& stream(const Call& call) { return *call.on<std::shared_ptr<Stream>>(); }

Answer done(const Call& call, Result<void> result) {
  result.value();
  return gives(sandbox(call).info());
}
Answer command_now(const Call& call, Result<void> result) {
  result.value();
  return gives(command(call).info());
}
Answer nothing(Result<void> result) {
  result.value();
  return gives_nothing();
}

Answer commands(const Call& call) {
  std::vector<CommandInfo> infos;
  for (const BackgroundCommand& one : sandbox(call).commands().value()) infos.push_back(one.info());
  return gives(infos);
}

Answer metrics(const Call& call) {
  std::optional<TimePoint> since;
  call.get("since", since);
  return gives(sandbox(call).metrics(since).value());
}

Answer read(const Call& call) {
  const std::string until = call.text("until");
  Output output;
  while (until.empty() || output.out.find(until) == std::string::npos) {
    const std::optional<ExecChunk> chunk = stream(call).next().value();
    if (!chunk) break;
    if (chunk->is_final()) output.final = chunk;
    (chunk->stream == OutputStream::standard_output ? output.out : output.err) += chunk->data;
  }
  return gives(output);
}

Answer write(const Call& call) {
  std::optional<std::chrono::milliseconds> timeout;
  call.get("timeout_ms", timeout);
  return nothing(stream(call).exec->write(call.text("data"), timeout));
}

Answer resize(const Call& call) {
  int cols = 80, rows = 24;
  call.get("cols", cols);
  call.get("rows", rows);
  return nothing(stream(call).exec->resize(cols, rows));
}

Answer close(const Call& call) {
  Stream& one = stream(call);
  one.exec ? one.exec->close() : one.log->close();
  return gives_nothing();
}

Answer wait(const Call& call) {
  std::optional<std::chrono::milliseconds> timeout;
  call.get("timeout_ms", timeout);
  return gives(command(call).wait(timeout).value());
}

Answer log_stream(const Call& call) {
  std::uint64_t offset = 0;
  std::chrono::seconds timeout(300);
  call.get("offset", offset);
  call.get("timeout_seconds", timeout);
  return keep(call, command(call).stream(offset, timeout).value());
}

CodeOptions code_options(const Call& call) {
  CodeOptions options;
  call.get("language", options.language);
  call.get("context_id", options.context_id);
  call.get("timeout_ms", options.timeout);
  return options;
}

CodeStream& code_stream(const Call& call) { return *call.on<std::shared_ptr<CodeStream>>(); }
CodeContext& code_context(const Call& call) { return call.on<CodeContext>(); }

Answer code_events(const Call& call) {
  std::vector<CodeEvent> all;
  while (auto event = code_stream(call).next().value()) all.push_back(std::move(*event));
  return gives(all);
}

Answer code_contexts(const Call& call) {
  std::vector<CodeContextInfo> all;
  for (const CodeContext& one : sandbox(call).code_contexts().value()) all.push_back(one.info());
  return gives(all);
}

Answer restart_context(const Call& call) {
  code_context(call).restart().value();
  return gives(code_context(call).info());
}

Answer close_code_stream(const Call& call) {
  code_stream(call).close();
  return gives_nothing();
}

int mode_of(const Call& call) {
  int mode = 0644;
  call.get("mode", mode);
  return mode;
}

Answer read_stream(const Call& call) {
  FileReader reader = files(call).read_stream(call.text("path")).value();
  Bytes all;
  while (true) {
    const std::string piece = reader.read(4096).value();
    if (piece.empty()) return gives(all);
    all.data += piece;
  }
}

Answer write_stream(const Call& call) {
  FileWriter writer = files(call).write_stream(call.text("path"), mode_of(call)).value();
  for (const std::string& piece : texts(call, "pieces")) writer.write(piece).value();
  if (call.text("finish") != "false") writer.finish().value();
  return gives_nothing();
}

Answer write_batch(const Call& call) {
  const std::vector<std::string> paths = texts(call, "paths"), contents = texts(call, "contents");
  std::vector<BatchFile> all;
  for (std::size_t i = 0; i < paths.size(); ++i) all.push_back({paths[i], contents.at(i)});
  return gives(files(call).write_batch(std::move(all)).value());
}

std::chrono::seconds expires_in(const Call& call) {
  std::chrono::seconds expires(600);
  call.get("expires_in_seconds", expires);
  return expires;
}

bool flag(const Call& call, const char* argument, bool otherwise) {
  call.get(argument, otherwise);
  return otherwise;
}

EventOptions event_options(const Call& call) {
  EventOptions options;
  call.get("since", options.since);
  return options;
}

std::optional<int> maybe_int(const Call& call, const char* argument) {
  if (!call.has(argument)) return {};
  return std::stoi(call.text(argument));
}

std::string create_volume(const Call& call) {
  VolumeOptions options;
  if (call.has("size_gb")) options.size_gb = std::stod(call.text("size_gb"));
  call.get("region", options.region);
  options.max_lifetime_days = maybe_int(call, "max_lifetime_days");
  options.max_lifetime_hours = maybe_int(call, "max_lifetime_hours");
  return gives(Volume::create(call.text("name"), options, call.client()).value());
}

std::string update_volume(const Call& call) {
  VolumeLifetime lifetime;
  lifetime.value = maybe_int(call, "max_lifetime_days");
  if (call.has("max_lifetime_hours")) {
    lifetime = {VolumeLifetime::Unit::hours, maybe_int(call, "max_lifetime_hours")};
  }
  if (call.has("no_end") && call.text("no_end") == "hours") lifetime.unit = VolumeLifetime::Unit::hours;
  return gives(Volume::update(call.text("volume_id"), lifetime, call.client()).value());
}

std::string create_webhook(const Call& call) {
  std::optional<std::vector<std::string>> types;
  if (auto given = texts(call, "event_types"); !given.empty()) types = std::move(given);
  return gives(Webhook::create(call.text("url"), types, call.client()).value());
}

TemplateBuildOptions build_options(const Call& call) {
  TemplateBuildOptions options;
  call.get("force", options.force);
  call.get("recipe", options.recipe);
  call.get("size", options.size, parse_size);
  call.get("cpu", options.cpu);
  call.get("memory_mb", options.memory_mb);
  call.get("disk_mb", options.disk_mb);
  return options;
}

Answer set_pool(const Call& call) {
  PoolOptions options;
  call.get("template", options.template_name);
  call.get("count", options.count);
  call.get("size", options.size, parse_size);
  call.get("cpu", options.cpu);
  call.get("memory_mb", options.memory_mb);
  call.get("disk_mb", options.disk_mb);
  call.get("idle_seconds", options.idle_timeout);
  call.get("min_available_mb", options.min_available_mb);
  return gives(pool_set(options).value());
}

using C = const Call&;
const std::map<std::string, Member> kMembers = {
    {"version", [](C) { return gives(std::string(version())); }},
    {"release", [](C c) { return c.release(), gives_nothing(); }},
    {"client.open", open_client},
    {"client.close", [](C c) { return c.on<Client>().close(), gives_nothing(); }},
    {"sandbox.create", create},
    {"sandbox.get", [](C c) { return keep(c, Sandbox::get(c.text("sandbox_id"), c.client()).value()); }},
    {"sandbox.resume", resume},
    {"sandbox.list", list},
    {"sandbox.limits", [](C c) { return gives(Sandbox::limits(c.client()).value()); }},
    {"sandbox.refresh", [](C c) { return done(c, sandbox(c).refresh()); }},
    {"sandbox.exec", [](C c) { return gives(sandbox(c).exec(c.text("command"), exec_options(c)).value()); }},
    {"sandbox.run", [](C c) { return gives(sandbox(c).run(texts(c, "argv"), exec_options(c)).value()); }},
    {"sandbox.exec_stream",
     [](C c) { return keep(c, sandbox(c).exec_stream(c.text("command"), exec_options(c)).value()); }},
    {"sandbox.start", [](C c) { return keep(c, sandbox(c).start(c.text("command"), exec_options(c)).value()); }},
    {"sandbox.commands", commands},
    {"sandbox.command", [](C c) { return keep(c, sandbox(c).command(c.text("command_id")).value()); }},
    {"sandbox.events", [](C c) { return gives(sandbox(c).events(event_options(c)).value()); }},
    {"sandbox.pause", [](C c) { return gives(sandbox(c).pause().value()); }},
    {"sandbox.set_timeout",
     [](C c) { return done(c, sandbox(c).set_timeout(std::chrono::seconds(std::stoll(c.text("timeout_seconds"))))); }},
    {"sandbox.metrics", metrics},
    {"sandbox.snapshot", [](C c) { return gives(sandbox(c).snapshot(c.text("name")).value()); }},
    {"sandbox.get_host", [](C c) { return gives(sandbox(c).get_host(std::stoi(c.text("port"))).value()); }},
    {"sandbox.terminate", [](C c) { return done(c, sandbox(c).terminate()); }},
    {"stream.read", read},
    {"stream.write", write},
    {"stream.close_input", [](C c) { return stream(c).exec->close_input(), gives_nothing(); }},
    {"stream.resize", resize},
    {"stream.cancel", [](C c) { return stream(c).exec->cancel(), gives_nothing(); }},
    {"stream.close", close},
    {"sandbox.run_code", [](C c) { return gives(sandbox(c).run_code(c.text("code"), code_options(c)).value()); }},
    {"sandbox.run_code_stream",
     [](C c) { return keep(c, sandbox(c).run_code_stream(c.text("code"), code_options(c)).value()); }},
    {"sandbox.create_code_context", [](C c) { return keep(c, sandbox(c).create_code_context(c.text("cwd")).value()); }},
    {"sandbox.code_contexts", code_contexts},
    {"code_stream.read", code_events},
    {"code_stream.close", close_code_stream},
    {"code_context.run_code",
     [](C c) { return gives(code_context(c).run_code(c.text("code"), code_options(c)).value()); }},
    {"code_context.restart", restart_context},
    {"code_context.remove", [](C c) { return nothing(code_context(c).remove()); }},
    {"command.refresh", [](C c) { return command_now(c, command(c).refresh()); }},
    {"command.kill", [](C c) { return command_now(c, command(c).kill()); }},
    {"command.wait", wait},
    {"command.logs",
     [](C c) { return gives(command(c).logs(c.has("offset") ? std::stoull(c.text("offset")) : 0).value()); }},
    {"command.stream", log_stream},
    {"files.read", [](C c) { return gives(Bytes{files(c).read(c.text("path")).value()}); }},
    {"files.write", [](C c) { return nothing(files(c).write(c.text("path"), c.text("content"), mode_of(c))); }},
    {"files.read_stream", read_stream},
    {"files.write_stream", write_stream},
    {"files.list", [](C c) { return gives(files(c).list(c.text("path")).value()); }},
    {"files.stat", [](C c) { return gives(files(c).stat(c.text("path")).value()); }},
    {"files.exists", [](C c) { return gives(files(c).exists(c.text("path")).value()); }},
    {"files.delete", [](C c) { return nothing(files(c).remove(c.text("path"))); }},
    {"files.mkdir", [](C c) { return nothing(files(c).mkdir(c.text("path"), flag(c, "parents", true))); }},
    {"files.move", [](C c) { return nothing(files(c).move(c.text("source"), c.text("destination"))); }},
    {"files.write_batch", write_batch},
    {"files.presign_download",
     [](C c) { return gives(files(c).presign_download(c.text("path"), expires_in(c)).value()); }},
    {"files.presign_upload", [](C c) { return gives(files(c).presign_upload(c.text("path"), expires_in(c)).value()); }},
    {"snapshot.list", [](C c) { return gives(Snapshot::list(c.client()).value()); }},
    {"snapshot.get", [](C c) { return gives(Snapshot::get(c.text("snapshot_id"), c.client()).value()); }},
    {"snapshot.delete", [](C c) { return nothing(Snapshot::remove(c.text("snapshot_id"), c.client())); }},
    {"volume.create", create_volume},
    {"volume.list", [](C c) { return gives(Volume::list(c.client()).value()); }},
    {"volume.update", update_volume},
    {"volume.move", [](C c) { return gives(Volume::move(c.text("volume_id"), c.text("region"), c.client()).value()); }},
    {"volume.delete", [](C c) { return nothing(Volume::remove(c.text("volume_id"), c.client())); }},
    {"webhook.create", create_webhook},
    {"webhook.list", [](C c) { return gives(Webhook::list(c.client()).value()); }},
    {"webhook.enable", [](C c) { return gives(Webhook::enable(c.text("webhook_id"), c.client()).value()); }},
    {"webhook.delete", [](C c) { return nothing(Webhook::remove(c.text("webhook_id"), c.client())); }},
    {"webhook.verify",
     [](C c) { return gives(verify_webhook_signature(c.text("secret"), c.text("body"), c.text("signature"))); }},
    {"template.build",
     [](C c) { return gives(Template::build(c.text("name"), build_options(c), c.client()).value()); }},
    {"template.prepare",
     [](C c) { return gives(Template::prepare(c.text("name"), build_options(c), c.client()).value()); }},
    {"template.remove", [](C c) { return nothing(Template::remove(c.text("name"), c.client())); }},
    {"pool.set", set_pool},
    {"pool.list", [](C) { return gives(pool_list().value()); }},
    {"pool.clear", [](C c) { return gives(pool_clear(c.text("template")).value()); }},
    {"template.list", [](C c) { return gives(Template::list(c.client()).value()); }},
    {"template.inspect", [](C c) { return gives(Template::inspect(c.text("name"), c.client()).value()); }},
};

std::string answer(const std::string& line, Handles& handles) {
  const Call call(line, handles);
  try {
    return kMembers.at(call.name())(call);
  } catch (const OrkestrError& error) {
    base::JsonWriter json;
    json.begin_object().key("error");
    put(json, error.error());
    return json.end_object().take();
  }
}

}  // namespace

}  // namespace orkestr::parity

int main() {
  orkestr::parity::Handles handles;
  std::string line;
  while (std::getline(std::cin, line)) std::cout << orkestr::parity::answer(line, handles) << std::endl;
}
