// What is pulled or pushed piece by piece: the output of a command, files.
//
// The library allows one user of a stream at a time. Python threads may share one, so each native call holds the
// stream's mutex, taken without the GIL. Waits are cut into slices, hence close() and cancel() from another thread come
// through.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>

#include "convert.hpp"
#include "wait.hpp"

namespace orkestr::python {

namespace py = pybind11;

namespace {

// A stream that can be closed while another thread uses it.
template <class Stream>
class Shared {
 public:
  explicit Shared(Stream stream) : stream_(std::move(stream)) {}

  // work(stream) without the GIL; `closed` when there is no stream any more.
  template <class Work>
  auto with(Work work, decltype(work(std::declval<Stream&>())) closed) {
    return without_gil([&] { return with_lock(std::move(work), std::move(closed)); });
  }
  // Who waits in it meanwhile hears of it after a slice.
  void drop() {
    closing_ = true;
    without_gil([&] {
      const auto lock = exclusive();
      stream_.reset();
      return true;
    });
  }

 protected:
  template <class Work, class Value>
  Value with_lock(Work work, Value closed) {
    const auto lock = exclusive();
    return stream_ && !closing_ ? work(*stream_) : std::move(closed);
  }

 private:
  // In a forked child there is one thread, and the mutex may be for ever in the hands of another one of the parent.
  std::unique_lock<std::mutex> exclusive() {
    return getpid() == owner_ ? std::unique_lock(mutex_) : std::unique_lock<std::mutex>();
  }

  const pid_t owner_ = getpid();
  std::mutex mutex_;
  std::atomic<bool> closing_{false};
  std::optional<Stream> stream_;
};

Error closed_error(const char* what) { return {ErrorCode::not_ready, std::string(what) + " is closed; open it again"}; }

// Reading has one mutex and writing another, so that neither waits for the other; the rest of ExecStream needs none.
// Its close() ends nothing that another thread could be using: it stays until Python lets go of this.
class Output {
 public:
  explicit Output(ExecStream stream) : stream_(std::move(stream)) {}
  using Next = Result<std::optional<ExecChunk>>;

  // The next chunk as a tuple; None at the end and after close().
  py::object next() {
    while (true) {
      Next next = without_gil([this] { return slice(); });
      if (PyErr_CheckSignals() != 0) {
        py::error_already_set interrupt;
        cancel();
        settle(std::move(interrupt), [this] {
          const Next rest = slice();
          return !rest.ok() || !rest->has_value();
        });
      }
      const std::optional<ExecChunk> chunk = take(std::move(next));
      if (!chunk) return py::none();
      if (chunk->is_final() || !chunk->data.empty()) return to_python(*chunk);
    }
  }

  // All of it; `timeout_ms` < 0: as long as the command may run.
  void write(const py::object& content, std::int64_t timeout_ms) {
    const BytesView view(content);
    const auto start = std::chrono::steady_clock::now();
    std::string_view rest = view.get();
    do {
      const std::size_t taken = take(without_gil([&] {
        const auto lock = exclusive(writing_);
        return stream_.write_some(rest, kSlice);
      }));
      rest.remove_prefix(taken);
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      const auto waited = std::chrono::steady_clock::now() - start;
      if (!rest.empty() && timeout_ms >= 0 && waited >= std::chrono::milliseconds{timeout_ms}) {
        const std::size_t all = view.get().size();
        raise_error(Error(ErrorCode::exec_timeout,
                          "write: within " + std::to_string(timeout_ms) + " ms the command took " +
                              std::to_string(all - rest.size()) + " of " + std::to_string(all) +
                              " bytes; it still runs. Read its output beside writing, wait longer, or cancel it"));
      }
    } while (!rest.empty());
  }
  void close_input() {
    without_gil([this] {
      stream_.close_input();
      return true;
    });
  }
  void resize(int cols, int rows) {
    take(without_gil([&] { return stream_.resize(cols, rows); }));
  }
  void cancel() {
    without_gil([this] {
      stream_.cancel();
      return true;
    });
  }
  void close() {
    without_gil([this] {
      const auto lock = exclusive(reading_);
      stream_.close();
      return true;
    });
  }
  std::int64_t pid() {
    return without_gil([this] { return stream_.pid(); });
  }

 private:
  // Without the GIL.
  Next slice() {
    const auto lock = exclusive(reading_);
    return stream_.next(kSlice);
  }
  // As in Shared.
  std::unique_lock<std::mutex> exclusive(std::mutex& mutex) {
    return getpid() == owner_ ? std::unique_lock(mutex) : std::unique_lock<std::mutex>();
  }

  const pid_t owner_ = getpid();
  std::mutex reading_, writing_;
  ExecStream stream_;
};

class Reader : public Shared<FileReader> {
 public:
  using Shared::Shared;
  py::bytes read(std::size_t max_bytes) {
    PyObject* bytes = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(max_bytes));
    if (bytes == nullptr) throw py::error_already_set();
    auto owned = py::reinterpret_steal<py::bytes>(bytes);
    const std::size_t count = read_to(PyBytes_AS_STRING(bytes), max_bytes);
    bytes = owned.release().ptr();
    if (_PyBytes_Resize(&bytes, static_cast<Py_ssize_t>(count)) != 0) throw py::error_already_set();
    return py::reinterpret_steal<py::bytes>(bytes);
  }
  // At most as much as there is room for.
  std::size_t read_into(const py::buffer& room) {
    const py::buffer_info place = room.request(true);
    return read_to(static_cast<char*>(place.ptr), static_cast<std::size_t>(place.size));
  }

 private:
  std::size_t read_to(char* to, std::size_t size) {
    while (kept_.empty()) {
      const auto count = take(with([&](FileReader& reader) { return reader.read(to, size, kSlice); },
                                   Result<std::optional<std::size_t>>(closed_error("the file"))));
      if (PyErr_CheckSignals() != 0) {
        if (count) kept_.assign(to, *count);
        throw py::error_already_set();
      }
      if (count) return *count;
    }
    const std::size_t count = kept_.copy(to, size);
    kept_.erase(0, count);
    return count;
  }

  std::string kept_;  // what had come when a signal's handler raised: the next read gets it; under the GIL
};

class Writer : public Shared<FileWriter> {
 public:
  using Shared::Shared;
  void write(const py::object& content) {
    // In pieces, so that a signal is noticed in the middle of a large one.
    constexpr std::size_t kPiece = 1U << 20U;
    const BytesView view(content);
    for (std::string_view rest = view.get(); !rest.empty();) {
      auto taken = with([&](FileWriter& writer) { return writer.write_some(rest.substr(0, kPiece), kSlice); },
                        Result<std::size_t>(closed_error("the file")));
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      rest.remove_prefix(take(std::move(taken)));
    }
  }
  void finish_file() {
    bool finished = false;
    while (!finished) {
      auto result =
          with([](FileWriter& writer) { return writer.finish(kSlice); }, Result<bool>(closed_error("the file")));
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      finished = take(std::move(result));
    }
    drop();
  }
};

py::list list(const Files& files, const std::string& path) {
  py::list out;
  for (const FileEntry& entry : finish([&] { return files.list_async(path); })) out.append(to_python(entry));
  return out;
}

void write(const Files& files, const std::string& path, const py::object& content, int mode) {
  std::string bytes(BytesView(content).get());
  finish([&] { return files.write_async(path, std::move(bytes), mode); });
}

}  // namespace

void bind_streams(py::module_& module) {
  py::class_<Output>(module, "Output", py::release_gil_before_calling_cpp_dtor())
      .def("next", &Output::next)
      .def("cancel", &Output::cancel)
      .def("close", &Output::close)
      .def("write", &Output::write, py::arg("content"), py::arg("timeout_ms"))
      .def("close_input", &Output::close_input)
      .def("resize", &Output::resize, py::arg("cols"), py::arg("rows"))
      .def_property_readonly("pid", &Output::pid);
  py::class_<Reader>(module, "Reader", py::release_gil_before_calling_cpp_dtor())
      .def("read", &Reader::read, py::arg("max_bytes"))
      .def("read_into", &Reader::read_into, py::arg("room"))
      .def("close", &Reader::drop);
  py::class_<Writer>(module, "Writer", py::release_gil_before_calling_cpp_dtor())
      .def("write", &Writer::write, py::arg("content"))
      .def("finish", &Writer::finish_file)
      .def("discard", &Writer::drop);

  py::class_<Files>(module, "Files", py::release_gil_before_calling_cpp_dtor())
      .def("read", [](const Files& files,
                      const std::string& path) { return to_bytes(finish([&] { return files.read_async(path); })); })
      .def("write", write, py::arg("path"), py::arg("content"), py::arg("mode"))
      .def("list", list, py::arg("path"))
      .def("stat", [](const Files& files,
                      const std::string& path) { return to_python(finish([&] { return files.stat_async(path); })); })
      .def("delete",
           [](const Files& files, const std::string& path) { finish([&] { return files.remove_async(path); }); })
      .def("mkdir", [](const Files& files, const std::string& path,
                       bool parents) { finish([&] { return files.mkdir_async(path, parents); }); })
      .def("move",
           [](const Files& files, const std::string& source, const std::string& destination) {
             finish([&] { return files.move_async(source, destination); });
           })
      .def("read_stream",
           [](const Files& files, const std::string& path) {
             return std::make_unique<Reader>(take(without_gil([&] { return files.read_stream(path); })));
           })
      .def("write_stream", [](const Files& files, const std::string& path, int mode) {
        return std::make_unique<Writer>(take(without_gil([&] { return files.write_stream(path, mode); })));
      });

  module.def("exec_stream", [](const Sandbox& sandbox, const py::object& command, const py::dict& arguments) {
    ExecOptions options = exec_options(arguments);
    const bool plain = py::isinstance<py::list>(command);
    auto argv = plain ? command.cast<std::vector<std::string>>() : std::vector<std::string>();
    const auto line = plain ? std::string() : command.cast<std::string>();
    return std::make_unique<Output>(take(without_gil([&] {
      return plain ? sandbox.run_stream(std::move(argv), std::move(options))
                   : sandbox.exec_stream(line, std::move(options));
    })));
  });
  module.def("files", [](const Sandbox& sandbox) { return sandbox.files(); });
}

}  // namespace orkestr::python
