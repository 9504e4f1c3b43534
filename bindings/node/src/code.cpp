// The code interpreter. JSON of results is text here; lib/code.js reads it.
#include <napi.h>

#include <orkestr/orkestr.hpp>

#include "handle.hpp"
#include "promise.hpp"
#include "readiness.hpp"
#include "surface.hpp"

namespace orkestr::node {

namespace {

using Info = const Napi::CallbackInfo&;
using Events = std::shared_ptr<CodeStream>;

Napi::Value to_maybe_text(Napi::Env env, const std::optional<std::string>& text) {
  return text ? to_text(env, *text) : env.Null();
}

Napi::Value to_js(Napi::Env env, CodeResult result) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("type", to_text(env, result.type));
  out.Set("text", to_maybe_text(env, result.text));
  out.Set("html", to_maybe_text(env, result.html));
  out.Set("png", result.png ? to_bytes(env, std::move(*result.png)) : env.Null());
  out.Set("json", to_maybe_text(env, result.json));
  out.Set("chart", to_maybe_text(env, result.chart));
  return out;
}

Napi::Value to_js(Napi::Env env, const CodeError& error) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("name", to_text(env, error.name));
  out.Set("value", to_text(env, error.value));
  out.Set("traceback", to_texts(env, error.traceback));
  return out;
}

Napi::Value to_js(Napi::Env env, CodeExecution execution) {
  Napi::Object out = Napi::Object::New(env);
  Napi::Array results = Napi::Array::New(env, execution.results.size());
  std::uint32_t at = 0;
  for (CodeResult& result : execution.results) results.Set(at++, to_js(env, std::move(result)));
  out.Set("results", results);
  out.Set("stdout", to_text(env, execution.stdout_data));
  out.Set("stderr", to_text(env, execution.stderr_data));
  out.Set("error", execution.error ? to_js(env, *execution.error) : env.Null());
  out.Set("executionCount", to_number(env, execution.execution_count));
  out.Set("contextId", to_text(env, execution.context_id));
  out.Set("durationMs", to_number(env, execution.duration.count()));
  out.Set("interrupted", Napi::Boolean::New(env, execution.interrupted));
  out.Set("restarted", Napi::Boolean::New(env, execution.restarted));
  out.Set("truncated", to_texts(env, execution.truncated));
  return out;
}

Napi::Value to_js(Napi::Env env, CodeEvent event) {
  using Kind = CodeEvent::Kind;
  const bool is_output = event.kind == Kind::output;
  const char* stream = event.stream == OutputStream::standard_output ? "stdout" : "stderr";
  Napi::Object out = Napi::Object::New(env);
  out.Set("kind", to_text(env, to_string(event.kind)));
  out.Set("stream", is_output ? to_text(env, stream) : env.Null());
  out.Set("text", is_output ? to_text(env, event.text) : env.Null());
  out.Set("result", event.kind == Kind::result ? to_js(env, std::move(event.result)) : env.Null());
  out.Set("error", event.kind == Kind::error ? to_js(env, event.error) : env.Null());
  out.Set("execution", event.kind == Kind::done ? to_js(env, std::move(event.execution)) : env.Null());
  return out;
}

Napi::Value to_js(Napi::Env env, const CodeContextInfo& info) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("id", to_text(env, info.id));
  out.Set("language", to_text(env, info.language));
  out.Set("cwd", to_text_or_null(env, info.cwd));
  out.Set("createdAt", to_ms_or_null(env, info.created_at));
  out.Set("lastUsedAt", to_ms_or_null(env, info.last_used_at));
  out.Set("executions", to_number(env, info.executions));
  out.Set("alive", Napi::Boolean::New(env, info.alive));
  return out;
}

CodeOptions code_options(const Napi::Object& arguments) {
  CodeOptions options;
  const auto given = [&](const char* name) { return !is_nothing(arguments.Get(name)); };
  if (given("language")) options.language = get_text(arguments.Get("language"), "language");
  if (given("contextId")) options.context_id = get_text(arguments.Get("contextId"), "contextId");
  if (given("timeoutMs"))
    options.timeout = std::chrono::milliseconds{get_integer(arguments.Get("timeoutMs"), "timeoutMs")};
  return options;
}

Sandbox& sandbox_of(Info info) { return of_handle<Sandbox>(info[0], "sandbox"); }
CodeContext& context_of(Info info) { return of_handle<CodeContext>(info[0], "context"); }
CodeStream& events_of(Info info) { return *of_handle<Events>(info[0], "stream"); }
CodeOptions options_of(Info info) { return code_options(get_object(info[2], "options")); }

Napi::Value to_execution(Napi::Env env, CodeExecution execution) { return to_js(env, std::move(execution)); }
Napi::Value to_handle(Napi::Env env, CodeContext context) { return make_handle(env, std::move(context)); }
Napi::Value to_handles(Napi::Env env, const std::vector<CodeContext>& contexts) {
  Napi::Array out = Napi::Array::New(env, contexts.size());
  for (std::size_t i = 0; i < contexts.size(); ++i)
    out.Set(static_cast<std::uint32_t>(i), make_handle(env, contexts[i]));
  return out;
}

Napi::Value run_code(Info info) {
  auto& sandbox = sandbox_of(info);
  return begin(info.Env(), sandbox.run_code_async(get_text(info[1], "code"), options_of(info)), to_execution);
}

Napi::Value run_code_in(Info info) {
  auto& context = context_of(info);
  return begin(info.Env(), context.run_code_async(get_text(info[1], "code"), options_of(info)), to_execution);
}

Napi::Value run_code_stream(Info info) {
  auto stream = sandbox_of(info).run_code_stream(get_text(info[1], "code"), options_of(info));
  return make_handle<Events>(info.Env(), std::make_shared<CodeStream>(take(info.Env(), std::move(stream))));
}

// An event; null at the end; undefined when there is nothing yet.
Napi::Value next(Info info) {
  const Napi::Env env = info.Env();
  std::optional<CodeEvent> event = take(env, events_of(info).next(kNow));
  if (!event) return env.Null();
  if (event->kind == CodeEvent::Kind::output && event->text.empty()) return env.Undefined();
  return to_js(env, std::move(*event));
}

}  // namespace

void export_code(Napi::Env, Napi::Object exports) {
  add(exports, "runCode", run_code);
  add(exports, "runCodeIn", run_code_in);
  add(exports, "runCodeStream", run_code_stream);
  add(exports, "codeNext", next);
  add(exports, "codeReady", [](Info info) { return ready(info.Env(), of_handle<Events>(info[0], "stream")); });
  add(exports, "codeClose", [](Info info) { events_of(info).close(); });
  add(exports, "createCodeContext", [](Info info) {
    return begin(info.Env(), sandbox_of(info).create_code_context_async(get_text(info[1], "cwd")), to_handle);
  });
  add(exports, "listCodeContexts",
      [](Info info) { return begin(info.Env(), sandbox_of(info).code_contexts_async(), to_handles); });
  add(exports, "codeContextInfo", [](Info info) { return to_js(info.Env(), context_of(info).info()); });
  add(exports, "restartCodeContext",
      [](Info info) { return begin(info.Env(), context_of(info).restart_async(), to_undefined); });
  add(exports, "removeCodeContext",
      [](Info info) { return begin(info.Env(), context_of(info).remove_async(), to_undefined); });
}

}  // namespace orkestr::node
