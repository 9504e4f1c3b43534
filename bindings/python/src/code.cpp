// The code interpreter: runs, their events as they come, contexts.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>

#include "convert.hpp"
#include "pulled.hpp"
#include "wait.hpp"

namespace orkestr::python {

namespace py = pybind11;

namespace {

py::object maybe_text(const std::optional<std::string>& text) { return text ? py::object(to_text(*text)) : py::none(); }
py::object maybe_time(const std::optional<TimePoint>& time) {
  return time ? py::object(py::int_(to_microseconds(*time))) : py::none();
}
py::list texts(const std::vector<std::string>& all) {
  py::list out;
  for (const auto& one : all) out.append(to_text(one));
  return out;
}

py::dict to_python(const CodeResult& result) {
  py::dict out;
  out["type"] = to_text(result.type);
  out["text"] = maybe_text(result.text);
  out["html"] = maybe_text(result.html);
  out["png"] = result.png ? py::object(to_bytes(*result.png)) : py::none();
  out["json"] = maybe_text(result.json);
  out["chart"] = maybe_text(result.chart);
  return out;
}

py::dict to_python(const CodeError& error) {
  py::dict out;
  out["name"] = to_text(error.name);
  out["value"] = to_text(error.value);
  out["traceback"] = texts(error.traceback);
  return out;
}

py::dict to_python(const CodeExecution& execution) {
  py::list results;
  for (const auto& result : execution.results) results.append(to_python(result));
  py::dict out;
  out["results"] = results;
  out["stdout"] = to_text(execution.stdout_data);
  out["stderr"] = to_text(execution.stderr_data);
  out["error"] = execution.error ? py::object(to_python(*execution.error)) : py::none();
  out["execution_count"] = execution.execution_count;
  out["context_id"] = to_text(execution.context_id);
  out["duration_ms"] = execution.duration.count();
  out["interrupted"] = execution.interrupted;
  out["restarted"] = execution.restarted;
  out["truncated"] = texts(execution.truncated);
  return out;
}

py::dict to_python(const CodeContextInfo& info) {
  py::dict out;
  out["id"] = to_text(info.id);
  out["language"] = to_text(info.language);
  out["cwd"] = to_text(info.cwd);
  out["created_at"] = maybe_time(info.created_at);
  out["last_used_at"] = maybe_time(info.last_used_at);
  out["executions"] = info.executions;
  out["alive"] = info.alive;
  return out;
}

using CodeOutput = Pulled<CodeStream>;

CodeOptions code_options(const std::string& language, const std::string& context_id, std::int64_t timeout_ms) {
  return {language, context_id, std::chrono::milliseconds{timeout_ms}};
}

}  // namespace

// What its kind does not have is None.
py::dict to_python(const CodeEvent& event) {
  using Kind = CodeEvent::Kind;
  py::dict out;
  for (const char* name : {"stream", "text", "result", "error", "execution"}) out[name] = py::none();
  out["kind"] = to_text(to_string(event.kind));
  switch (event.kind) {
    case Kind::output:
      out["stream"] = event.stream == OutputStream::standard_output ? "stdout" : "stderr";
      out["text"] = to_text(event.text);
      break;
    case Kind::result:
      out["result"] = to_python(event.result);
      break;
    case Kind::error:
      out["error"] = to_python(event.error);
      break;
    case Kind::done:
      out["execution"] = to_python(event.execution);
      break;
  }
  return out;
}

void bind_code(py::module_& module) {
  py::class_<CodeOutput>(module, "CodeOutput", py::release_gil_before_calling_cpp_dtor())
      .def("next", &CodeOutput::next)
      .def("close", &CodeOutput::close);

  py::class_<CodeContext>(module, "CodeContext", py::release_gil_before_calling_cpp_dtor())
      .def("info", [](const CodeContext& context) { return to_python(context.info()); })
      .def(
          "run_code",
          [](const CodeContext& context, const std::string& code, std::int64_t timeout_ms) {
            return to_python(
                finish([&] { return context.run_code_async(code, code_options("python", "", timeout_ms)); }));
          },
          py::arg("code"), py::arg("timeout_ms"))
      .def("restart", [](const CodeContext& context) { finish([&] { return context.restart_async(); }); })
      .def("remove", [](const CodeContext& context) { finish([&] { return context.remove_async(); }); });

  module.def(
      "run_code",
      [](const Sandbox& sandbox, const std::string& code, const std::string& language, const std::string& context_id,
         std::int64_t timeout_ms) {
        return to_python(
            finish([&] { return sandbox.run_code_async(code, code_options(language, context_id, timeout_ms)); }));
      },
      py::arg("sandbox"), py::arg("code"), py::arg("language"), py::arg("context_id"), py::arg("timeout_ms"));
  module.def(
      "run_code_stream",
      [](const Sandbox& sandbox, const std::string& code, const std::string& language, const std::string& context_id,
         std::int64_t timeout_ms) {
        return std::make_unique<CodeOutput>(take(without_gil(
            [&] { return sandbox.run_code_stream(code, code_options(language, context_id, timeout_ms)); })));
      },
      py::arg("sandbox"), py::arg("code"), py::arg("language"), py::arg("context_id"), py::arg("timeout_ms"));
  module.def(
      "create_code_context",
      [](const Sandbox& sandbox, const std::string& cwd) {
        return finish([&] { return sandbox.create_code_context_async(cwd); });
      },
      py::arg("sandbox"), py::arg("cwd"));
  module.def(
      "code_contexts", [](const Sandbox& sandbox) { return finish([&] { return sandbox.code_contexts_async(); }); },
      py::arg("sandbox"));
}

}  // namespace orkestr::python
