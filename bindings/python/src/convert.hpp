// Values of the library as Python objects, and errors as Python exceptions. Conversion only: ranges are checked by the
// library, types by the Python classes.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <orkestr/orkestr.hpp>
#include <string>
#include <string_view>

namespace orkestr::python {

// Raises what orkestr.errors.from_native() makes of `error`: the one place where codes become classes.
[[noreturn]] void raise_error(const Error& error);

// Keys are the names that the Python dataclasses use; bytes stay bytes, times are microseconds since the epoch.
pybind11::dict to_python(const SandboxInfo& info);
pybind11::dict to_python(const ExecResult& result);
pybind11::dict to_python(const FileEntry& entry);
pybind11::dict to_python(const FileStat& stat);
pybind11::dict to_python(const Event& event);
// (is_stdout, data, exit_code or None, duration_ms)
pybind11::tuple to_python(const ExecChunk& chunk);
pybind11::dict to_python(const CodeEvent& event);

// Not what a stream gives when nothing came in time.
inline bool has_come(const ExecChunk& chunk) { return chunk.is_final() || !chunk.data.empty(); }
inline bool has_come(const CodeEvent& event) { return event.kind != CodeEvent::Kind::output || !event.text.empty(); }

pybind11::bytes to_bytes(std::string_view data);
// Hosts, rules and console lines come from a guest: text for people, so damage is shown rather than raised.
pybind11::str to_text(std::string_view text);
std::int64_t to_microseconds(TimePoint time);

// Keyword arguments as options. Names are those of the public Python functions.
CreateOptions create_options(const pybind11::dict& arguments);
ListOptions list_options(const pybind11::dict& arguments);
ExecOptions exec_options(const pybind11::dict& arguments);

// The bytes of any contiguous bytes-like object, borrowed while this lives.
class BytesView {
 public:
  explicit BytesView(pybind11::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &buffer_, PyBUF_SIMPLE) != 0) throw pybind11::error_already_set();
  }
  ~BytesView() { PyBuffer_Release(&buffer_); }
  BytesView(const BytesView&) = delete;
  BytesView& operator=(const BytesView&) = delete;

  std::string_view get() const {
    return {static_cast<const char*>(buffer_.buf), static_cast<std::size_t>(buffer_.len)};
  }

 private:
  Py_buffer buffer_{};
};

// Adds the classes to the module.
void bind_sandbox(pybind11::module_& module);
void bind_streams(pybind11::module_& module);
void bind_templates(pybind11::module_& module);
void bind_commands(pybind11::module_& module);
void bind_code(pybind11::module_& module);
void bind_account(pybind11::module_& module);
void bind_surface(pybind11::module_& module);
// orkestr._core.pool
void bind_pool(pybind11::module_& module);

}  // namespace orkestr::python
