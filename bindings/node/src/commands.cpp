// Background commands.
#include <napi.h>

#include <orkestr/orkestr.hpp>

#include "handle.hpp"
#include "promise.hpp"
#include "surface.hpp"

namespace orkestr::node {

namespace {

using Info = const Napi::CallbackInfo&;

Napi::Value to_js(Napi::Env env, const CommandInfo& info) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("id", to_text(env, info.id));
  out.Set("command", to_text(env, info.command));
  out.Set("pid", to_number(env, info.pid));
  out.Set("status", to_text(env, to_string(info.status)));
  out.Set("exitCode", to_number(env, info.exit_code));
  out.Set("startedAt", to_ms_or_null(env, info.started_at));
  return out;
}

Napi::Value to_logs(Napi::Env env, CommandLogs logs) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("content", to_bytes(env, std::move(logs.content)));
  out.Set("startOffset", to_number(env, logs.start_offset));
  out.Set("size", to_number(env, logs.size));
  out.Set("truncated", Napi::Boolean::New(env, logs.truncated));
  return out;
}

Sandbox& sandbox_of(Info info) { return of_handle<Sandbox>(info[0], "sandbox"); }
BackgroundCommand& command_of(Info info) { return of_handle<BackgroundCommand>(info[0], "command"); }
Napi::Value to_handle(Napi::Env env, BackgroundCommand command) { return make_handle(env, std::move(command)); }

}  // namespace

void export_commands(Napi::Env, Napi::Object exports) {
  add(exports, "startCommand", [](Info info) {
    ExecOptions options = exec_options(get_object(info[2], "options"));
    return begin(info.Env(), sandbox_of(info).start_async(get_text(info[1], "command"), std::move(options)), to_handle);
  });
  add(exports, "listCommands", [](Info info) {
    return begin(info.Env(), sandbox_of(info).commands_async(),
                 [](Napi::Env env, const std::vector<BackgroundCommand>& commands) {
                   Napi::Array out = Napi::Array::New(env, commands.size());
                   for (std::size_t i = 0; i < commands.size(); ++i) {
                     out.Set(static_cast<std::uint32_t>(i), make_handle(env, commands[i]));
                   }
                   return out;
                 });
  });
  add(exports, "getCommand", [](Info info) {
    return begin_blocking(
        info.Env(), [sandbox = sandbox_of(info), id = get_text(info[1], "commandId")] { return sandbox.command(id); },
        to_handle);
  });
  add(exports, "commandInfo", [](Info info) { return to_js(info.Env(), command_of(info).info()); });
  add(exports, "refreshCommand",
      [](Info info) { return begin(info.Env(), command_of(info).refresh_async(), to_undefined); });
  add(exports, "killCommand", [](Info info) { return begin(info.Env(), command_of(info).kill_async(), to_undefined); });
  add(exports, "commandLogs", [](Info info) {
    const auto offset = static_cast<std::uint64_t>(std::max<std::int64_t>(0, get_integer(info[1], "offset")));
    return begin(info.Env(), command_of(info).logs_async(offset), to_logs);
  });
}

}  // namespace orkestr::node
