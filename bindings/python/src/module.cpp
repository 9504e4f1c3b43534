// The native module orkestr._core: clients and sandboxes. What a person uses are the Python classes over it.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "convert.hpp"
#include "progress.hpp"
#include "wait.hpp"

namespace orkestr::python {

namespace py = pybind11;

namespace {

Client open_client(const std::string& backend, const std::string& api_key, const std::string& base_url,
                   std::int64_t timeout_seconds) {
  ClientOptions options;
  options.backend = backend == "local"    ? BackendKind::local
                    : backend == "remote" ? BackendKind::remote
                                          : BackendKind::automatic;
  options.api_key = api_key;
  options.base_url = base_url;
  options.timeout = std::chrono::seconds{timeout_seconds};
  return take(without_gil([&] { return Client::open(std::move(options)); }));
}

// An interrupted create must not leave behind a sandbox that nobody has the id of: one that was faster than its
// cancellation is ended.
void end_late_sandbox(Operation<Sandbox>& operation) {
  if (!operation.wait(std::chrono::milliseconds{0})) return;
  Result<Sandbox> late = operation.get();
  if (late.ok()) (void)late->terminate_async().wait(kGrace);
}

Sandbox create(const py::dict& arguments, const py::object& on_progress, const std::optional<Client>& client) {
  CreateOptions options = create_options(arguments);
  auto relay = std::make_shared<ProgressRelay>();
  options.on_progress = ProgressRelay::callback(relay);
  auto operation = without_gil([&] { return Sandbox::create_async(std::move(options), client); });
  std::optional<Result<Sandbox>> created;
  try {
    created.emplace(await(operation, OnInterrupt::cancel, [&] { relay->deliver(on_progress); }));
  } catch (py::error_already_set&) {
    without_gil([&] {
      end_late_sandbox(operation);
      return true;
    });
    throw;
  }
  return take(std::move(*created));
}

py::list list(const py::dict& arguments, const std::optional<Client>& client) {
  ListOptions options = list_options(arguments);
  py::list out;
  for (const SandboxInfo& info : finish([&] { return Sandbox::list_async(std::move(options), client); }))
    out.append(to_python(info));
  return out;
}

py::list events(const Sandbox& sandbox, std::optional<std::int64_t> since) {
  EventOptions options;
  if (since) options.since = TimePoint(std::chrono::microseconds(*since));
  py::list out;
  for (const Event& event : finish([&] { return sandbox.events_async(options); })) out.append(to_python(event));
  return out;
}

py::dict run(const Sandbox& sandbox, const py::object& command, const py::dict& arguments) {
  ExecOptions options = exec_options(arguments);
  if (py::isinstance<py::list>(command)) {
    auto argv = command.cast<std::vector<std::string>>();
    return to_python(finish([&] { return sandbox.run_async(std::move(argv), std::move(options)); }));
  }
  const auto line = command.cast<std::string>();
  return to_python(finish([&] { return sandbox.exec_async(line, std::move(options)); }));
}

// Of a code that this library does not know, nothing.
template <std::string_view (*Of)(ErrorCode) noexcept>
py::str about_code(const std::string& name) {
  const auto code = error_code_from_string(name);
  return to_text(code ? Of(*code) : std::string_view());
}

}  // namespace

void bind_sandbox(py::module_& module) {
  module.def("error_class", about_code<error_class>, py::arg("code"));
  module.def("error_hint", about_code<error_hint>, py::arg("code"));
  // Destructors only let go, but the last handle of a client joins its thread: not while the GIL is held.
  py::class_<Client>(module, "Client", py::release_gil_before_calling_cpp_dtor())
      .def_static("open", open_client, py::arg("backend"), py::arg("api_key"), py::arg("base_url"),
                  py::arg("timeout_seconds"))
      .def_property_readonly("backend", &Client::backend)
      .def("close", [](Client& client) {
        without_gil([&] {
          client.close();
          return true;
        });
      });
  module.def("get_default_client", [] { return take(without_gil([] { return get_default_client(); })); });
  module.def("set_default_client", [](std::optional<Client> client) {
    without_gil([&] {  // the one before it may end with its thread
      set_default_client(std::move(client));
      return true;
    });
  });

  py::class_<Sandbox>(module, "Sandbox", py::release_gil_before_calling_cpp_dtor())
      .def_static("create", create, py::arg("arguments"), py::arg("on_progress"), py::arg("client"))
      .def_static(
          "get",
          [](const std::string& id, const std::optional<Client>& client) {
            return finish([&] { return Sandbox::get_async(id, client); });
          },
          py::arg("sandbox_id"), py::arg("client"))
      .def_static("list", list, py::arg("arguments"), py::arg("client"))
      .def_static(
          "resume",
          [](const std::string& id, int max_retries, std::int64_t retry_max_seconds,
             const std::optional<Client>& client) {
            const ResumeOptions options{max_retries, std::chrono::seconds{retry_max_seconds}};
            return finish([&] { return Sandbox::resume_async(id, options, client); });
          },
          py::arg("sandbox_id"), py::arg("max_retries"), py::arg("retry_max_seconds"), py::arg("client"))
      .def("info", [](const Sandbox& sandbox) { return to_python(sandbox.info()); })
      .def("refresh", [](const Sandbox& sandbox) { finish([&] { return sandbox.refresh_async(); }); })
      .def("events", events, py::arg("since"))
      .def("run", run, py::arg("command"), py::arg("arguments"))
      .def("pause", [](const Sandbox& sandbox) { return finish([&] { return sandbox.pause_async(); }); })
      .def("terminate",
           [](const Sandbox& sandbox) { finish([&] { return sandbox.terminate_async(); }, OnInterrupt::let_finish); });
}

}  // namespace orkestr::python

PYBIND11_MODULE(_core, module) {
  module.doc() = "The native half of orkestr; use the package's classes.";
  module.attr("__version__") = orkestr::version();
  orkestr::python::bind_sandbox(module);
  orkestr::python::bind_streams(module);
  orkestr::python::bind_templates(module);
  orkestr::python::bind_commands(module);
  orkestr::python::bind_code(module);
  orkestr::python::bind_account(module);
  orkestr::python::bind_surface(module);
  orkestr::python::bind_pool(module);
}
