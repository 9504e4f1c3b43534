// Snapshots, templates and this machine. Most of it works in its caller's thread in C++, so here on one of the
// client's.
#include "operation.hpp"
#include "options.hpp"
#include "records.hpp"

using namespace orkestr;
using namespace orkestr::capi;

using Begun = Result<std::shared_ptr<Pending>>;

namespace {

// `work` on a thread of the client's.
template <class T, class Work>
orkestr_operation* begin_work(orkestr_client* client, Work work) noexcept {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    return giving<T>(core, [work = std::move(work)](const auto&) { return work(); });
  });
}

}  // namespace

orkestr_operation* orkestr_snapshot_list(orkestr_client* client) {
  return begin_of(client, [](ClientCore& core) { return giving(Snapshot::list_async(core.client)); });
}

orkestr_operation* orkestr_snapshot_get(orkestr_client* client, const char* snapshot_id) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(const auto id, text("snapshot_id", snapshot_id));
    return giving(Snapshot::get_async(id, core.client));
  });
}

orkestr_operation* orkestr_snapshot_remove(orkestr_client* client, const char* snapshot_id) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(const auto id, text("snapshot_id", snapshot_id));
    return giving(Snapshot::remove_async(id, core.client));
  });
}

orkestr_operation* orkestr_template_build(orkestr_client* client, const char* name,
                                          const orkestr_template_options* options) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(auto chosen, template_options(options));
    auto progress = gate_of(chosen.on_progress);
    return telling(std::move(progress),
                   giving(Template::build_async(text_or_empty(name), std::move(chosen), core.client)));
  });
}

orkestr_operation* orkestr_template_prepare(orkestr_client* client, const char* name,
                                            const orkestr_template_options* options) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(auto chosen, template_options(options));
    auto progress = gate_of(chosen.on_progress);
    return telling(std::move(progress),
                   giving(Template::prepare_async(text_or_empty(name), std::move(chosen), core.client)));
  });
}

orkestr_operation* orkestr_template_list(orkestr_client* client) {
  return begin_of(client, [](ClientCore& core) -> Begun {
    return giving<std::vector<TemplateInfo>>(core, [of = core.client](const auto&) { return Template::list(of); });
  });
}

orkestr_operation* orkestr_template_inspect(orkestr_client* client, const char* name) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(const auto which, text("name", name));
    return giving<TemplateInfo>(core, [which, of = core.client](const auto&) { return Template::inspect(which, of); });
  });
}

orkestr_operation* orkestr_template_remove(orkestr_client* client, const char* name) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(const auto which, text("name", name));
    return giving<void>(core, [which, of = core.client](const auto&) { return Template::remove(which, of); });
  });
}

orkestr_operation* orkestr_host_doctor(orkestr_client* client, int fix) {
  return begin_work<std::vector<Finding>>(client, [fix]() -> Result<std::vector<Finding>> {
    DoctorOptions options;
    options.fix = fix != 0;
    ORKESTR_TRY(auto report, doctor(options));
    return std::move(report.findings);
  });
}

orkestr_operation* orkestr_host_gc(orkestr_client* client) {
  return begin_work<GcReport>(client, [] { return gc(); });
}

orkestr_operation* orkestr_pool_set(orkestr_client* client, const orkestr_pool_options* options) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(auto chosen, pool_options(options));
    return giving<PoolInfo>(core, [chosen = std::move(chosen)](const auto&) { return pool_set(chosen); });
  });
}

orkestr_operation* orkestr_pool_list(orkestr_client* client) {
  return begin_work<std::vector<PoolInfo>>(client, [] { return pool_list(); });
}

orkestr_operation* orkestr_pool_clear(orkestr_client* client, const char* template_name) {
  return begin_of(client, [&](ClientCore& core) -> Begun {
    ORKESTR_TRY(auto operation,
                core.run<int>([name = text_or_empty(template_name)](const auto&) { return pool_clear(name); }));
    return pending(std::move(operation), 0, [](int count) { return std::optional<Node>(Node::integer(count)); });
  });
}
