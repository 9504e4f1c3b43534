// Volumes and webhooks.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "convert.hpp"
#include "wait.hpp"

namespace orkestr::python {

namespace py = pybind11;

namespace {

using MaybeClient = std::optional<Client>;

py::object maybe_time(const std::optional<TimePoint>& time) {
  return time ? py::object(py::int_(to_microseconds(*time))) : py::none();
}

py::dict to_python(const VolumeInfo& info) {
  py::dict out;
  out["id"] = to_text(info.id);
  out["name"] = to_text(info.name);
  out["size_mb"] = info.size_mb;
  out["status"] = to_text(info.status);
  out["region"] = to_text(info.region);
  out["node_id"] = to_text(info.node_id);
  out["attached_sandbox_id"] = to_text(info.attached_sandbox_id);
  out["max_lifetime_days"] = info.max_lifetime_days;
  out["max_lifetime_hours"] = info.max_lifetime_hours;
  out["expires_at"] = maybe_time(info.expires_at);
  return out;
}

py::dict to_python(const WebhookInfo& info) {
  py::object types = py::none();
  if (info.event_types) {
    py::list list;
    for (const auto& type : *info.event_types) list.append(to_text(type));
    types = list;
  }
  py::dict out;
  out["id"] = to_text(info.id);
  out["url"] = to_text(info.url);
  out["event_types"] = types;
  out["active"] = info.active;
  out["consecutive_failures"] = info.consecutive_failures;
  out["last_delivery_at"] = maybe_time(info.last_delivery_at);
  out["last_error"] = to_text(info.last_error);
  out["created_at"] = maybe_time(info.created_at);
  out["secret"] = to_text(info.secret);
  return out;
}

template <class T>
py::list to_python(const std::vector<T>& all) {
  py::list out;
  for (const auto& one : all) out.append(to_python(one));
  return out;
}

py::dict create_volume(const std::string& name, double size_gb, const std::string& region, std::optional<int> days,
                       std::optional<int> hours, const MaybeClient& client) {
  const VolumeOptions options{size_gb, region, days, hours};
  return to_python(finish([&] { return Volume::create_async(name, options, client); }));
}

py::dict update_volume(const std::string& id, bool in_hours, std::optional<int> value, const MaybeClient& client) {
  const VolumeLifetime lifetime{in_hours ? VolumeLifetime::Unit::hours : VolumeLifetime::Unit::days, value};
  return to_python(finish([&] { return Volume::update_async(id, lifetime, client); }));
}

void bind_volumes(py::module_ volumes) {
  volumes.def("create", create_volume, py::arg("name"), py::arg("size_gb"), py::arg("region"), py::arg("days"),
              py::arg("hours"), py::arg("client"));
  volumes.def("update", update_volume, py::arg("volume_id"), py::arg("in_hours"), py::arg("value"), py::arg("client"));
  volumes.def(
      "list", [](const MaybeClient& client) { return to_python(finish([&] { return Volume::list_async(client); })); },
      py::arg("client"));
  volumes.def(
      "move",
      [](const std::string& id, const std::string& region, const MaybeClient& client) {
        return to_python(finish([&] { return Volume::move_async(id, region, client); }));
      },
      py::arg("volume_id"), py::arg("region"), py::arg("client"));
  volumes.def(
      "remove",
      [](const std::string& id, const MaybeClient& client) {
        finish([&] { return Volume::remove_async(id, client); });
      },
      py::arg("volume_id"), py::arg("client"));
}

void bind_webhooks(py::module_ webhooks) {
  webhooks.def(
      "create",
      [](const std::string& url, const std::optional<std::vector<std::string>>& event_types,
         const MaybeClient& client) {
        return to_python(finish([&] { return Webhook::create_async(url, event_types, client); }));
      },
      py::arg("url"), py::arg("event_types"), py::arg("client"));
  webhooks.def(
      "list", [](const MaybeClient& client) { return to_python(finish([&] { return Webhook::list_async(client); })); },
      py::arg("client"));
  webhooks.def(
      "enable",
      [](const std::string& id, const MaybeClient& client) {
        return to_python(finish([&] { return Webhook::enable_async(id, client); }));
      },
      py::arg("webhook_id"), py::arg("client"));
  webhooks.def(
      "remove",
      [](const std::string& id, const MaybeClient& client) {
        finish([&] { return Webhook::remove_async(id, client); });
      },
      py::arg("webhook_id"), py::arg("client"));
  webhooks.def(
      "verify",
      [](const std::string& secret, const py::object& body, const std::string& signature) {
        return verify_webhook_signature(secret, BytesView(body).get(), signature);
      },
      py::arg("secret"), py::arg("body"), py::arg("signature"));
}

}  // namespace

void bind_account(py::module_& module) {
  bind_volumes(module.def_submodule("volumes"));
  bind_webhooks(module.def_submodule("webhooks"));
}

}  // namespace orkestr::python
