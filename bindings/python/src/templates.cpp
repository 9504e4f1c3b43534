// Templates: built, listed, inspected, removed.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "convert.hpp"
#include "progress.hpp"
#include "wait.hpp"

namespace orkestr::python {

namespace py = pybind11;

namespace {

py::dict to_python(const TemplatePart& part) {
  py::dict out;
  out["source"] = to_text(part.source);
  out["name"] = to_text(part.name);
  out["version"] = to_text(part.version);
  out["origin"] = to_text(part.origin);
  out["sha256"] = to_text(part.sha256);
  out["bytes"] = part.bytes;
  return out;
}

py::dict to_python(const TemplateInfo& info) {
  py::list parts;
  for (const TemplatePart& part : info.parts) parts.append(to_python(part));
  py::dict out;
  out["name"] = to_text(info.name);
  out["description"] = to_text(info.description);
  out["built"] = info.built;
  out["current"] = info.current;
  out["build_id"] = to_text(info.build_id);
  out["directory"] = to_text(info.directory);
  out["created_at"] = to_microseconds(info.created_at);
  out["bytes"] = info.bytes;
  out["digest"] = to_text(info.digest);
  out["image_sha256"] = to_text(info.image_sha256);
  out["recipe_sha256"] = to_text(info.recipe_sha256);
  out["kernel"] = to_text(info.kernel);
  out["parts"] = parts;
  return out;
}

using Begin = Operation<TemplateInfo> (*)(std::string_view, TemplateBuildOptions, std::optional<Client>);

py::dict build(Begin begin, const std::string& name, TemplateBuildOptions options, const py::object& on_progress,
               const std::optional<Client>& client) {
  auto relay = std::make_shared<ProgressRelay>();
  options.on_progress = ProgressRelay::callback(relay);
  auto operation = without_gil([&] { return begin(name, std::move(options), client); });
  auto built = await(operation, OnInterrupt::cancel, [&] { relay->deliver(on_progress); });
  return to_python(take(std::move(built)));
}

}  // namespace

void ProgressRelay::add(const TemplateProgress& progress) {
  std::lock_guard lock(mutex_);
  if (!waiting_.empty() && waiting_.back().step == progress.step &&
      waiting_.back().template_name == progress.template_name) {
    waiting_.back() = progress;
  } else {
    waiting_.push_back(progress);
  }
}

void ProgressRelay::deliver(const py::object& callable) {
  std::vector<TemplateProgress> reports;
  {
    std::lock_guard lock(mutex_);
    reports.swap(waiting_);
  }
  if (callable.is_none()) return;
  for (const TemplateProgress& progress : reports) {
    py::dict out;
    out["template"] = to_text(progress.template_name);
    out["step"] = to_text(progress.step);
    out["index"] = progress.index;
    out["count"] = progress.count;
    out["line"] = to_text(progress.line);
    out["elapsed_seconds"] = std::chrono::duration<double>(progress.elapsed).count();
    callable(out);
  }
}

void bind_templates(py::module_& module) {
  py::module_ templates = module.def_submodule("templates");
  templates.def(
      "build",
      [](const std::string& name, bool force, const std::string& recipe, const py::object& on_progress,
         const std::optional<Client>& client) {
        TemplateBuildOptions options;
        options.force = force;
        options.recipe = recipe;
        return build(&Template::build_async, name, std::move(options), on_progress, client);
      },
      py::arg("name"), py::arg("force"), py::arg("recipe"), py::arg("on_progress"), py::arg("client"));
  templates.def(
      "prepare",
      [](const std::string& name, const std::string& size, std::optional<double> cpu, std::optional<int> memory_mb,
         std::optional<int> disk_mb, const py::object& on_progress, const std::optional<Client>& client) {
        TemplateBuildOptions options;
        options.size = take(parse_size(size));
        options.cpu = cpu;
        options.memory_mb = memory_mb;
        options.disk_mb = disk_mb;
        return build(&Template::prepare_async, name, std::move(options), on_progress, client);
      },
      py::arg("name"), py::arg("size"), py::arg("cpu"), py::arg("memory_mb"), py::arg("disk_mb"),
      py::arg("on_progress"), py::arg("client"));
  templates.def(
      "list",
      [](const std::optional<Client>& client) {
        py::list out;
        for (const TemplateInfo& info : take(without_gil([&] { return Template::list(client); }))) {
          out.append(to_python(info));
        }
        return out;
      },
      py::arg("client"));
  templates.def(
      "inspect",
      [](const std::string& name, const std::optional<Client>& client) {
        return to_python(take(without_gil([&] { return Template::inspect(name, client); })));
      },
      py::arg("name"), py::arg("client"));
  templates.def(
      "remove",
      [](const std::string& name, const std::optional<Client>& client) {
        take(without_gil([&] { return Template::remove(name, client); }));
      },
      py::arg("name"), py::arg("client"));
}

}  // namespace orkestr::python
