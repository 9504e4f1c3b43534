// The warm pool of this machine.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <orkestr/host.hpp>

#include "convert.hpp"
#include "wait.hpp"

namespace orkestr::python {

namespace py = pybind11;

namespace {

py::dict to_python(const PoolInfo& info) {
  py::list members;
  for (const PoolMember& member : info.members) {
    members.append(py::make_tuple(to_text(member.id), member.ready, to_microseconds(member.created_at)));
  }
  py::dict out;
  out["template"] = to_text(info.template_name);
  out["count"] = info.count;
  out["cpu"] = info.cpu;
  out["memory_mb"] = info.memory_mb;
  out["disk_mb"] = info.disk_mb;
  out["idle_seconds"] = info.idle_timeout.count();
  out["min_available_mb"] = info.min_available_mb;
  out["members"] = members;
  out["problem"] = to_text(info.problem);
  return out;
}

py::dict set(const std::string& name, int count, const std::string& size, std::optional<double> cpu,
             std::optional<int> memory_mb, std::optional<int> disk_mb, std::int64_t idle_seconds,
             int min_available_mb) {
  PoolOptions options;
  options.template_name = name;
  options.count = count;
  options.size = take(parse_size(size));
  options.cpu = cpu;
  options.memory_mb = memory_mb;
  options.disk_mb = disk_mb;
  options.idle_timeout = std::chrono::seconds{idle_seconds};
  options.min_available_mb = min_available_mb;
  return to_python(take(without_gil([&] { return pool_set(options); })));
}

}  // namespace

void bind_pool(py::module_& module) {
  py::module_ pool = module.def_submodule("pool");
  pool.def("set", set, py::arg("template"), py::arg("count"), py::arg("size"), py::arg("cpu"), py::arg("memory_mb"),
           py::arg("disk_mb"), py::arg("idle_seconds"), py::arg("min_available_mb"));
  pool.def("list", [] {
    py::list out;
    for (const PoolInfo& info : take(without_gil([] { return pool_list(); }))) out.append(to_python(info));
    return out;
  });
  pool.def(
      "clear", [](const std::string& name) { return take(without_gil([&] { return pool_clear(name); })); },
      py::arg("template"));
}

}  // namespace orkestr::python
