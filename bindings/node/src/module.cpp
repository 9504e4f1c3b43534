// The native module of the package `orkestr`. What a person uses are the classes in lib/.
#include <napi.h>

#include <orkestr/orkestr.hpp>

#include "blocking.hpp"
#include "convert.hpp"
#include "runtime.hpp"
#include "surface.hpp"

namespace {

Napi::Object start(Napi::Env env, Napi::Object exports) {
  using namespace orkestr::node;
  env.SetInstanceData(new Runtime(env));                            // owned by the environment from here on
  exports.Set("version", Napi::String::New(env, ORKESTR_VERSION));  // its own, not that of the library it found
  add(exports, "cancel", [](const Napi::CallbackInfo& info) {
    Runtime::of(info.Env()).cancel(static_cast<std::uint32_t>(get_integer(info[0], "id")));
  });
  add(exports, "errorHint", [](const Napi::CallbackInfo& info) {
    const auto code = orkestr::error_code_from_string(get_text(info[0], "code"));
    return to_text(info.Env(), code ? orkestr::error_hint(*code) : std::string_view());
  });
  add(exports, "abandon", [](const Napi::CallbackInfo& info) {
    Runtime::of(info.Env()).abandon();
    end_over_blocking();
  });
  add(exports, "isDetached", [](const Napi::CallbackInfo& info) -> Napi::Value {
    bool detached = false;
    if (napi_is_detached_arraybuffer(info.Env(), info[0], &detached) != napi_ok) throw Napi::Error::New(info.Env());
    return Napi::Boolean::New(info.Env(), detached);
  });
  export_sandboxes(env, exports);
  export_streams(env, exports);
  export_files(env, exports);
  export_commands(env, exports);
  export_code(env, exports);
  export_templates(env, exports);
  export_account(env, exports);
  export_host(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(orkestr, start)
