#include "sandbox.hpp"

#include "guard.hpp"
#include "options.hpp"
#include "records.hpp"

using namespace orkestr;
using namespace orkestr::capi;

using Begun = Result<std::shared_ptr<Pending>>;

orkestr_sandbox* orkestr::capi::make_handle(Sandbox sandbox, std::shared_ptr<ClientCore> core) {
  std::string id = sandbox.id();
  return std::make_unique<orkestr_sandbox>(SandboxBody{std::move(sandbox), std::move(core)}, std::move(id)).release();
}

namespace {

// What an operation on `sandbox` gives that changes it.
std::shared_ptr<Pending> giving_info(const Sandbox& sandbox, Operation<void> operation) {
  return giving(std::move(operation), [sandbox] { return to_node(sandbox.info()); });
}

}  // namespace

orkestr_operation* orkestr_sandbox_create(orkestr_client* client, const orkestr_create_options* options) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    if (options == nullptr) return is_null("options");
    ORKESTR_TRY(auto chosen, create_options(options));
    auto progress = gate_of(chosen.on_progress);
    return telling(std::move(progress), giving(Sandbox::create_async(std::move(chosen), core.client)));
  });
}

orkestr_operation* orkestr_sandbox_get(orkestr_client* client, const char* sandbox_id) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(const auto id, text("sandbox_id", sandbox_id));
    return giving(Sandbox::get_async(id, core.client));
  });
}

orkestr_operation* orkestr_sandbox_resume(orkestr_client* client, const char* sandbox_id,
                                          const orkestr_resume_options* options) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(const auto id, text("sandbox_id", sandbox_id));
    ORKESTR_TRY(const auto chosen, resume_options(options));
    return giving(Sandbox::resume_async(id, chosen, core.client));
  });
}

orkestr_operation* orkestr_sandbox_list(orkestr_client* client, const orkestr_list_options* options) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(auto chosen, list_options(options));
    return giving(Sandbox::list_async(std::move(chosen), core.client));
  });
}

const char* orkestr_sandbox_id(const orkestr_sandbox* sandbox) {
  return orkestr_sandbox::is_live(sandbox) ? sandbox->id.c_str() : "";
}

orkestr_status orkestr_sandbox_info(const orkestr_sandbox* sandbox, orkestr_value** info, orkestr_error** error) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_CHECK(clear_output("info", info));
    ORKESTR_TRY(const auto body, orkestr_sandbox::open("sandbox", sandbox));
    *info = make_value(to_node(body->sandbox.info()));
    return {};
  });
}

orkestr_operation* orkestr_sandbox_refresh(orkestr_sandbox* sandbox) {
  return begin_of(sandbox, [](SandboxBody& body) { return giving_info(body.sandbox, body.sandbox.refresh_async()); });
}

orkestr_operation* orkestr_sandbox_set_timeout(orkestr_sandbox* sandbox, int64_t timeout_ms) {
  return begin_of(sandbox, [&](SandboxBody& body) {
    return giving_info(body.sandbox, body.sandbox.set_timeout_async(seconds(timeout_ms, std::chrono::seconds(0))));
  });
}

orkestr_operation* orkestr_sandbox_terminate(orkestr_sandbox* sandbox) {
  return begin_of(sandbox, [](SandboxBody& body) { return giving_info(body.sandbox, body.sandbox.terminate_async()); });
}

orkestr_operation* orkestr_sandbox_pause(orkestr_sandbox* sandbox) {
  return begin_of(sandbox, [](SandboxBody& body) { return giving(body.sandbox.pause_async()); });
}

orkestr_operation* orkestr_sandbox_events(orkestr_sandbox* sandbox, int64_t since, size_t limit) {
  return begin_of(sandbox, [&](SandboxBody& body) {
    EventOptions options;
    if (since != 0) options.since = time_point(since);
    if (limit != 0) options.limit = limit;
    return giving(body.sandbox.events_async(options));
  });
}

orkestr_operation* orkestr_sandbox_metrics(orkestr_sandbox* sandbox, int64_t since) {
  return begin_of(sandbox, [&](SandboxBody& body) {
    std::optional<TimePoint> from;
    if (since != 0) from = time_point(since);
    return giving(body.sandbox.metrics_async(from));
  });
}

orkestr_operation* orkestr_sandbox_snapshot(orkestr_sandbox* sandbox, const char* name) {
  return begin_of(sandbox, [&](SandboxBody& body) { return giving(body.sandbox.snapshot_async(text_or_empty(name))); });
}

orkestr_operation* orkestr_sandbox_get_host(orkestr_sandbox* sandbox, int port) {
  return begin_of(sandbox, [&](SandboxBody& body) { return giving(body.sandbox.get_host_async(port)); });
}

void orkestr_sandbox_free(orkestr_sandbox* sandbox) { orkestr_sandbox::free(sandbox); }
