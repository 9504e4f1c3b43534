// The rest of a sandbox's surface: its clock, what it uses, what is allowed, snapshots, batches of files, URLs.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "convert.hpp"
#include "wait.hpp"

namespace orkestr::python {

namespace py = pybind11;

namespace {

py::dict to_python(const Limits& limits) {
  py::list sizes, regions;
  for (const SizeLimit& size : limits.sizes) {
    py::dict one;
    one["size"] = to_text(size.size);
    one["cpu"] = size.cpu;
    one["memory_mb"] = size.memory_mb;
    one["allowed"] = size.allowed;
    sizes.append(one);
  }
  for (const Region& region : limits.regions) {
    py::dict one;
    one["id"] = to_text(region.id);
    one["label"] = to_text(region.label);
    regions.append(one);
  }
  const auto seconds = [](const std::optional<std::chrono::seconds>& time) -> py::object {
    return time ? py::object(py::int_(time->count())) : py::none();
  };
  py::dict out;
  out["plan"] = to_text(limits.plan);
  out["allowed_sizes"] = limits.allowed_sizes;
  out["sizes"] = sizes;
  out["regions"] = regions;
  out["max_concurrent"] = limits.max_concurrent;
  out["max_snapshots"] = limits.max_snapshots;
  out["custom_egress_allowlist"] = limits.custom_egress_allowlist;
  out["default_egress_domains"] = limits.default_egress_domains;
  out["trial_credit_eur"] = limits.trial_credit_eur;
  out["trial_credit_used_eur"] = limits.trial_credit_used_eur;
  out["max_running_lifetime_seconds"] = seconds(limits.max_running_lifetime);
  out["max_named_snapshots"] = limits.max_named_snapshots;
  out["max_timeout_seconds"] = seconds(limits.max_timeout);
  out["usage_resets_at"] = to_text(limits.usage_resets_at);
  return out;
}

py::dict to_python(const Metrics& metrics) {
  py::list samples;
  for (const MetricsSample& sample : metrics.samples) {
    samples.append(py::make_tuple(to_microseconds(sample.time), sample.cpu_percent, sample.memory_bytes));
  }
  py::dict out;
  out["sandbox_id"] = to_text(metrics.sandbox_id);
  out["status"] = to_text(to_string(metrics.status));
  out["as_of"] = to_microseconds(metrics.as_of);
  out["sample_interval_seconds"] = metrics.sample_interval_seconds;
  out["window_seconds"] = metrics.window_seconds;
  out["cpu_cores"] = metrics.cpu_cores;
  out["cpu_usage_cores"] = metrics.cpu_usage_cores;
  out["cpu_usage_percent"] = metrics.cpu_usage_percent;
  out["memory_limit_bytes"] = metrics.memory_limit_bytes;
  out["memory_usage_bytes"] = metrics.memory_usage_bytes;
  out["memory_usage_percent"] = metrics.memory_usage_percent;
  out["lifetime_cpu_seconds"] = metrics.lifetime_cpu_seconds;
  out["lifetime_gb_seconds"] = metrics.lifetime_gb_seconds;
  out["samples"] = samples;
  return out;
}

py::dict to_python(const SnapshotInfo& info) {
  py::dict out;
  out["id"] = to_text(info.id);
  out["status"] = to_text(info.status);
  out["template"] = to_text(info.template_name);
  out["cpu"] = info.cpu;
  out["memory_mb"] = info.memory_mb;
  out["network"] = to_text(to_string(info.network));
  out["name"] = to_text(info.name);
  out["source_sandbox_id"] = to_text(info.source_sandbox_id);
  out["size_mb"] = info.size_mb;
  out["node_id"] = to_text(info.node_id);
  out["region"] = to_text(info.region);
  out["error_message"] = to_text(info.error_message);
  out["created_at"] = to_microseconds(info.created_at);
  out["ready_at"] = info.ready_at ? py::object(py::int_(to_microseconds(*info.ready_at))) : py::none();
  return out;
}

py::dict to_python(const BatchWriteResult& result) {
  py::dict out;
  out["path"] = to_text(result.path);
  out["bytes_written"] = result.error ? py::none() : py::object(py::int_(result.bytes_written));
  out["error"] = result.error ? py::object(to_text(to_string(result.error->code()))) : py::none();
  out["message"] = result.error ? py::object(to_text(result.error->message())) : py::none();
  return out;
}

py::dict to_python(const PresignedUrl& url) {
  py::dict out;
  out["url"] = to_text(url.url);
  out["method"] = to_text(url.method);
  out["path"] = to_text(url.path);
  out["expires_at"] = to_microseconds(url.expires_at);
  return out;
}

py::list write_batch(const Files& files, const py::list& entries, int mode) {
  std::vector<BatchFile> batch;
  for (const auto& entry : entries) {
    const auto pair = entry.cast<py::tuple>();
    batch.push_back({pair[0].cast<std::string>(), std::string(BytesView(pair[1]).get()), mode});
  }
  py::list out;
  for (const auto& result : finish([&] { return files.write_batch_async(std::move(batch)); })) {
    out.append(to_python(result));
  }
  return out;
}

py::dict presign(const Files& files, bool upload, const std::string& path, std::int64_t expires_in) {
  const std::chrono::seconds time{expires_in};
  return to_python(finish(
      [&] { return upload ? files.presign_upload_async(path, time) : files.presign_download_async(path, time); }));
}

py::dict metrics(const Sandbox& sandbox, std::optional<std::int64_t> since) {
  std::optional<TimePoint> moment;
  if (since) moment = TimePoint(std::chrono::microseconds(*since));
  return to_python(finish([&] { return sandbox.metrics_async(moment); }));
}

void bind_snapshots(py::module_ snapshots) {
  snapshots.def(
      "list",
      [](const std::optional<Client>& client) {
        py::list out;
        for (const auto& info : finish([&] { return Snapshot::list_async(client); })) out.append(to_python(info));
        return out;
      },
      py::arg("client"));
  snapshots.def(
      "get",
      [](const std::string& id, const std::optional<Client>& client) {
        return to_python(finish([&] { return Snapshot::get_async(id, client); }));
      },
      py::arg("snapshot_id"), py::arg("client"));
  snapshots.def(
      "remove",
      [](const std::string& id, const std::optional<Client>& client) {
        finish([&] { return Snapshot::remove_async(id, client); });
      },
      py::arg("snapshot_id"), py::arg("client"));
}

}  // namespace

void bind_surface(py::module_& module) {
  module.def(
      "limits",
      [](const std::optional<Client>& client) {
        return to_python(finish([&] { return Sandbox::limits_async(client); }));
      },
      py::arg("client"));
  module.def(
      "set_timeout",
      [](const Sandbox& sandbox, std::int64_t seconds) {
        finish([&] { return sandbox.set_timeout_async(std::chrono::seconds{seconds}); });
      },
      py::arg("sandbox"), py::arg("timeout_seconds"));
  module.def("metrics", metrics, py::arg("sandbox"), py::arg("since"));
  module.def(
      "snapshot",
      [](const Sandbox& sandbox, const std::string& name) {
        return to_python(finish([&] { return sandbox.snapshot_async(name); }));
      },
      py::arg("sandbox"), py::arg("name"));
  module.def(
      "get_host",
      [](const Sandbox& sandbox, int port) { return to_text(finish([&] { return sandbox.get_host_async(port); })); },
      py::arg("sandbox"), py::arg("port"));
  module.def("write_batch", write_batch, py::arg("files"), py::arg("entries"), py::arg("mode"));
  module.def("presign", presign, py::arg("files"), py::arg("upload"), py::arg("path"), py::arg("expires_in"));
  bind_snapshots(module.def_submodule("snapshots"));
}

}  // namespace orkestr::python
