// What a sandbox uses and what is allowed, named snapshots, the warm pool.
#include <napi.h>

#include <orkestr/orkestr.hpp>

#include "handle.hpp"
#include "promise.hpp"
#include "surface.hpp"

namespace orkestr::node {

namespace {

using Info = const Napi::CallbackInfo&;

template <class T, class Each>
Napi::Array to_array(Napi::Env env, const std::vector<T>& values, Each each) {
  Napi::Array out = Napi::Array::New(env, values.size());
  for (std::size_t i = 0; i < values.size(); ++i) out.Set(static_cast<std::uint32_t>(i), each(env, values[i]));
  return out;
}

Napi::Value to_js(Napi::Env env, const Limits& limits) {
  const auto seconds = [env](const std::optional<std::chrono::seconds>& time) {
    return time ? to_number(env, time->count()) : env.Null();
  };
  Napi::Object out = Napi::Object::New(env);
  out.Set("plan", to_text(env, limits.plan));
  out.Set("allowedSizes", to_texts(env, limits.allowed_sizes));
  out.Set("sizes", to_array(env, limits.sizes, [](Napi::Env here, const SizeLimit& size) {
            Napi::Object one = Napi::Object::New(here);
            one.Set("size", to_text(here, size.size));
            one.Set("cpu", to_number(here, size.cpu));
            one.Set("memoryMb", to_number(here, size.memory_mb));
            one.Set("allowed", Napi::Boolean::New(here, size.allowed));
            return one;
          }));
  out.Set("regions", to_array(env, limits.regions, [](Napi::Env here, const Region& region) {
            Napi::Object one = Napi::Object::New(here);
            one.Set("id", to_text(here, region.id));
            one.Set("label", to_text(here, region.label));
            return one;
          }));
  out.Set("maxConcurrent", to_number(env, limits.max_concurrent));
  out.Set("maxSnapshots", to_number(env, limits.max_snapshots));
  out.Set("customEgressAllowlist", Napi::Boolean::New(env, limits.custom_egress_allowlist));
  out.Set("defaultEgressDomains", to_texts(env, limits.default_egress_domains));
  out.Set("trialCreditEur", to_number(env, limits.trial_credit_eur));
  out.Set("trialCreditUsedEur", to_number(env, limits.trial_credit_used_eur));
  out.Set("maxRunningLifetimeSeconds", seconds(limits.max_running_lifetime));
  out.Set("maxNamedSnapshots", to_number(env, limits.max_named_snapshots));
  out.Set("maxTimeoutSeconds", seconds(limits.max_timeout));
  out.Set("usageResetsAt", to_text_or_null(env, limits.usage_resets_at));
  return out;
}

Napi::Value to_js(Napi::Env env, const Metrics& metrics) {
  Napi::Object cpu = Napi::Object::New(env), memory = Napi::Object::New(env), lifetime = Napi::Object::New(env);
  cpu.Set("cores", to_number(env, metrics.cpu_cores));
  cpu.Set("usageCores", to_number(env, metrics.cpu_usage_cores));
  cpu.Set("usagePercent", to_number(env, metrics.cpu_usage_percent));
  memory.Set("limitBytes", to_number(env, metrics.memory_limit_bytes));
  memory.Set("usageBytes", to_number(env, metrics.memory_usage_bytes));
  memory.Set("usagePercent", to_number(env, metrics.memory_usage_percent));
  lifetime.Set("cpuSeconds", to_number(env, metrics.lifetime_cpu_seconds));
  lifetime.Set("gbSeconds", to_number(env, metrics.lifetime_gb_seconds));
  Napi::Object out = Napi::Object::New(env);
  out.Set("sandboxId", to_text(env, metrics.sandbox_id));
  out.Set("sandboxStatus", to_text(env, to_string(metrics.status)));
  out.Set("asOf", to_ms(env, metrics.as_of));
  out.Set("sampleIntervalSeconds", to_number(env, metrics.sample_interval_seconds));
  out.Set("windowSeconds", to_number(env, metrics.window_seconds));
  out.Set("cpu", cpu);
  out.Set("memory", memory);
  out.Set("lifetime", lifetime);
  out.Set("samples", to_array(env, metrics.samples, [](Napi::Env here, const MetricsSample& sample) {
            Napi::Object one = Napi::Object::New(here);
            one.Set("t", to_ms(here, sample.time));
            one.Set("cpuPercent", to_number(here, sample.cpu_percent));
            one.Set("memBytes", to_number(here, sample.memory_bytes));
            return one;
          }));
  return out;
}

Napi::Value to_js(Napi::Env env, const SnapshotInfo& info) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("id", to_text(env, info.id));
  out.Set("status", to_text(env, info.status));
  out.Set("template", to_text(env, info.template_name));
  out.Set("cpu", to_number(env, info.cpu));
  out.Set("memoryMb", to_number(env, info.memory_mb));
  out.Set("network", to_text(env, to_string(info.network)));
  out.Set("name", to_text_or_null(env, info.name));
  out.Set("sourceSandboxId", to_text_or_null(env, info.source_sandbox_id));
  out.Set("sizeMb", info.size_mb == 0 ? env.Null() : to_number(env, info.size_mb));
  out.Set("nodeId", to_text_or_null(env, info.node_id));
  out.Set("region", to_text_or_null(env, info.region));
  out.Set("errorMessage", to_text_or_null(env, info.error_message));
  out.Set("createdAt", to_ms(env, info.created_at));
  out.Set("readyAt", to_ms_or_null(env, info.ready_at));
  return out;
}

Napi::Value to_js(Napi::Env env, const PoolInfo& info) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("template", to_text(env, info.template_name));
  out.Set("count", to_number(env, info.count));
  out.Set("cpu", to_number(env, info.cpu));
  out.Set("memoryMb", to_number(env, info.memory_mb));
  out.Set("diskMb", to_number(env, info.disk_mb));
  out.Set("idleSeconds", to_number(env, info.idle_timeout.count()));
  out.Set("minAvailableMb", to_number(env, info.min_available_mb));
  out.Set("problem", to_text(env, info.problem));
  out.Set("ready", to_number(env, info.ready()));
  out.Set("members", to_array(env, info.members, [](Napi::Env here, const PoolMember& member) {
            Napi::Object one = Napi::Object::New(here);
            one.Set("id", to_text(here, member.id));
            one.Set("ready", Napi::Boolean::New(here, member.ready));
            one.Set("createdAt", to_ms(here, member.created_at));
            return one;
          }));
  return out;
}

Sandbox& sandbox_of(Info info) { return of_handle<Sandbox>(info[0], "sandbox"); }
template <class T>
Napi::Value to_value(Napi::Env env, const T& value) {
  return to_js(env, value);
}
template <class T>
Napi::Value to_values(Napi::Env env, const std::vector<T>& values) {
  return to_array(env, values, to_value<T>);
}

Napi::Value set_pool(Info info) {
  const Napi::Object arguments = get_object(info[2], "options");
  PoolOptions options;
  options.template_name = get_text(info[0], "template");
  options.count = *get_optional_int(info[1], "count");
  if (const Napi::Value size = arguments.Get("size"); !is_nothing(size)) {
    options.size = take(info.Env(), parse_size(get_text(size, "size")));
  }
  options.cpu = get_optional_number(arguments.Get("cpu"), "cpu");
  options.memory_mb = get_optional_int(arguments.Get("memoryMb"), "memoryMb");
  options.disk_mb = get_optional_int(arguments.Get("diskMb"), "diskMb");
  if (const Napi::Value idle = arguments.Get("idleSeconds"); !is_nothing(idle)) {
    options.idle_timeout = std::chrono::seconds{get_integer(idle, "idleSeconds")};
  }
  if (const auto least = get_optional_int(arguments.Get("minAvailableMb"), "minAvailableMb")) {
    options.min_available_mb = *least;
  }
  return begin_blocking(
      info.Env(), [options] { return pool_set(options); }, to_value<PoolInfo>);
}

}  // namespace

void export_host(Napi::Env, Napi::Object exports) {
  add(exports, "limits",
      [](Info info) { return begin(info.Env(), Sandbox::limits_async(client_of(info[0])), to_value<Limits>); });
  add(exports, "metrics", [](Info info) {
    return begin(info.Env(), sandbox_of(info).metrics_async(get_time(info[1], "since")), to_value<Metrics>);
  });
  add(exports, "snapshot", [](Info info) {
    return begin(info.Env(), sandbox_of(info).snapshot_async(get_text(info[1], "name")), to_value<SnapshotInfo>);
  });
  add(exports, "listSnapshots",
      [](Info info) { return begin(info.Env(), Snapshot::list_async(client_of(info[0])), to_values<SnapshotInfo>); });
  add(exports, "getSnapshot", [](Info info) {
    return begin(info.Env(), Snapshot::get_async(get_text(info[0], "snapshotId"), client_of(info[1])),
                 to_value<SnapshotInfo>);
  });
  add(exports, "deleteSnapshot", [](Info info) {
    return begin(info.Env(), Snapshot::remove_async(get_text(info[0], "snapshotId"), client_of(info[1])), to_undefined);
  });
  add(exports, "setPool", set_pool);
  add(exports, "listPools", [](Info info) {
    return begin_blocking(
        info.Env(), [] { return pool_list(); }, to_values<PoolInfo>);
  });
  add(exports, "clearPool", [](Info info) {
    return begin_blocking(
        info.Env(), [name = get_text(info[0], "template")] { return pool_clear(name); },
        [](Napi::Env env, int count) { return to_number(env, count); });
  });
}

}  // namespace orkestr::node
