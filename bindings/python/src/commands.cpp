// Background commands and their logs as they come.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>

#include "convert.hpp"
#include "pulled.hpp"
#include "wait.hpp"

namespace orkestr::python {

namespace py = pybind11;

namespace {

using LogOutput = Pulled<LogStream>;

py::dict to_python(const CommandInfo& info) {
  py::dict out;
  out["id"] = to_text(info.id);
  out["command"] = to_text(info.command);
  out["pid"] = info.pid;
  out["status"] = to_text(to_string(info.status));
  out["exit_code"] = info.exit_code;
  out["started_at"] = info.started_at ? py::object(py::int_(to_microseconds(*info.started_at))) : py::none();
  return out;
}

py::dict to_python(const CommandLogs& logs) {
  py::dict out;
  out["content"] = to_bytes(logs.content);
  out["start_offset"] = logs.start_offset;
  out["size"] = logs.size;
  out["truncated"] = logs.truncated;
  return out;
}

BackgroundCommand start(const Sandbox& sandbox, const std::string& line, const py::dict& arguments) {
  ExecOptions options = exec_options(arguments);
  return finish([&] { return sandbox.start_async(line, std::move(options)); });
}

}  // namespace

void bind_commands(py::module_& module) {
  py::class_<LogOutput>(module, "LogOutput", py::release_gil_before_calling_cpp_dtor())
      .def("next", &LogOutput::next)
      .def("close", &LogOutput::close);

  py::class_<BackgroundCommand>(module, "Command", py::release_gil_before_calling_cpp_dtor())
      .def("info", [](const BackgroundCommand& command) { return to_python(command.info()); })
      .def("refresh", [](const BackgroundCommand& command) { finish([&] { return command.refresh_async(); }); })
      .def("kill", [](const BackgroundCommand& command) { finish([&] { return command.kill_async(); }); })
      .def(
          "logs",
          [](const BackgroundCommand& command, std::uint64_t offset) {
            return to_python(finish([&] { return command.logs_async(offset); }));
          },
          py::arg("offset"))
      .def(
          "stream",
          [](const BackgroundCommand& command, std::uint64_t offset, std::int64_t timeout_seconds) {
            return std::make_unique<LogOutput>(
                take(without_gil([&] { return command.stream(offset, std::chrono::seconds{timeout_seconds}); })));
          },
          py::arg("offset"), py::arg("timeout_seconds"));

  module.def("start_command", start, py::arg("sandbox"), py::arg("line"), py::arg("arguments"));
  module.def(
      "list_commands", [](const Sandbox& sandbox) { return finish([&] { return sandbox.commands_async(); }); },
      py::arg("sandbox"));
  module.def(
      "get_command",
      [](const Sandbox& sandbox, const std::string& id) {
        return take(without_gil([&] { return sandbox.command(id); }));
      },
      py::arg("sandbox"), py::arg("command_id"));
}

}  // namespace orkestr::python
