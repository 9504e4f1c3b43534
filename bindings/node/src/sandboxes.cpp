// Clients and sandboxes: life, attributes, commands that are waited for.
#include <napi.h>

#include <algorithm>
#include <iterator>
#include <orkestr/orkestr.hpp>

#include "handle.hpp"
#include "progress.hpp"
#include "promise.hpp"
#include "surface.hpp"

namespace orkestr::node {

namespace {

using Info = const Napi::CallbackInfo&;

Napi::Value open_client(Info info) {
  ClientOptions options;
  const std::string backend = get_text(info[0], "backend");
  options.backend = backend == "local"    ? BackendKind::local
                    : backend == "remote" ? BackendKind::remote
                                          : BackendKind::automatic;
  options.api_key = get_text(info[1], "apiKey");
  options.base_url = get_text(info[2], "baseUrl");
  options.timeout = std::chrono::seconds{get_integer(info[3], "timeout")};
  return make_handle(info.Env(), take(info.Env(), Client::open(std::move(options))));
}

// Joins the client's thread.
Napi::Value close_client(Info info) {
  return begin_blocking(
      info.Env(),
      [client = of_handle<Client>(info[0], "client")]() mutable {
        client.close();
        return Result<void>();
      },
      to_undefined);
}

Sandbox& sandbox_of(Info info) { return of_handle<Sandbox>(info[0], "sandbox"); }
Napi::Value to_handle(Napi::Env env, Sandbox sandbox) { return make_handle(env, std::move(sandbox)); }
template <class T>
Napi::Value to_value(Napi::Env env, const T& value) {
  return to_js(env, value);
}

Napi::Value create(Info info) {
  CreateOptions options = create_options(get_object(info[0], "options"));
  Progress progress = progress_to(info[1]);
  options.on_progress = std::move(progress.callback);
  return begin(info.Env(), Sandbox::create_async(std::move(options), client_of(info[2])),
               [keep = std::move(progress.function)](Napi::Env env, Sandbox sandbox) {
                 return to_handle(env, std::move(sandbox));
               });
}

Napi::Value resume(Info info) {
  const ResumeOptions options{static_cast<int>(get_integer(info[1], "maxRetries")),
                              std::chrono::seconds{get_integer(info[2], "retryMaxSeconds")}};
  return begin(info.Env(), Sandbox::resume_async(get_text(info[0], "sandboxId"), options, client_of(info[3])),
               to_handle);
}

Napi::Value run(Info info) {
  ExecOptions options = exec_options(get_object(info[2], "options"));
  const Sandbox& sandbox = sandbox_of(info);
  auto operation = info[1].IsArray() ? sandbox.run_async(get_texts(info[1], "command"), std::move(options))
                                     : sandbox.exec_async(get_text(info[1], "command"), std::move(options));
  return begin(info.Env(), std::move(operation), [](Napi::Env env, ExecResult result) { return to_js(env, result); });
}

using Events = std::vector<Event>;

// A handle: a hundred thousand at once would hold up the event loop.
Napi::Value events(Info info) {
  EventOptions options;
  options.since = get_time(info[1], "since");
  return begin(info.Env(), sandbox_of(info).events_async(options),
               [](Napi::Env env, Events all) { return make_handle(env, std::move(all)); });
}

// `count` of them, from `first` on; each is given once, so that letting go of the rest takes no time either.
Napi::Value some_events(Info info) {
  auto& all = of_handle<Events>(info[0], "events");
  const auto at = [&](std::int64_t index) {
    return all.begin() + std::clamp<std::int64_t>(index, 0, static_cast<std::int64_t>(all.size()));
  };
  const std::int64_t first = get_integer(info[1], "first");
  const Events some(std::make_move_iterator(at(first)),
                    std::make_move_iterator(at(first + get_integer(info[2], "count"))));
  return node::to_js(info.Env(), some);
}

}  // namespace

void export_sandboxes(Napi::Env, Napi::Object exports) {
  add(exports, "openClient", open_client);
  add(exports, "clientBackend",
      [](Info info) { return to_text(info.Env(), of_handle<Client>(info[0], "client").backend()); });
  add(exports, "closeClient", close_client);
  add(exports, "getDefaultClient",
      [](Info info) -> Napi::Value { return make_handle(info.Env(), take(info.Env(), get_default_client())); });
  add(exports, "setDefaultClient", [](Info info) { set_default_client(client_of(info[0])); });

  add(exports, "create", create);
  add(exports, "get", [](Info info) {
    return begin(info.Env(), Sandbox::get_async(get_text(info[0], "sandboxId"), client_of(info[1])), to_handle);
  });
  add(exports, "list", [](Info info) {
    return begin(info.Env(), Sandbox::list_async(list_options(get_object(info[0], "options")), client_of(info[1])),
                 to_value<std::vector<SandboxInfo>>);
  });
  add(exports, "resume", resume);
  add(exports, "info", [](Info info) { return to_js(info.Env(), sandbox_of(info).info()); });
  add(exports, "refresh", [](Info info) { return begin(info.Env(), sandbox_of(info).refresh_async(), to_undefined); });
  add(exports, "run", run);
  add(exports, "events", events);
  add(exports, "someEvents", some_events);
  add(exports, "pause", [](Info info) {
    return begin(info.Env(), sandbox_of(info).pause_async(),
                 [](Napi::Env env, const std::string& id) { return to_text(env, id); });
  });
  add(exports, "setTimeout", [](Info info) {
    const std::chrono::seconds timeout{get_integer(info[1], "timeoutSeconds")};
    return begin(info.Env(), sandbox_of(info).set_timeout_async(timeout), to_undefined);
  });
  add(exports, "getHost", [](Info info) {
    return begin(info.Env(), sandbox_of(info).get_host_async(static_cast<int>(get_integer(info[1], "port"))),
                 [](Napi::Env env, const std::string& host) { return to_text(env, host); });
  });
  add(exports, "terminate",
      [](Info info) { return begin(info.Env(), sandbox_of(info).terminate_async(), to_undefined); });
}

}  // namespace orkestr::node
