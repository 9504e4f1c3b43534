// What goes on by itself and is read as it comes: the log of a command, the events of a run.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#include <atomic>
#include <mutex>

#include "wait.hpp"

namespace orkestr::python {

// As Output in streams.cpp: one user at a time, close() from any thread.
template <class Stream>
class Pulled {
 public:
  explicit Pulled(Stream stream) : stream_(std::move(stream)) {}

  // The next item for which has_come(), as to_python() makes it; None at the end and after close(). An interrupt lets
  // go of nothing. A signal is looked for only where nothing came, so that no item is lost to one.
  pybind11::object next() {
    while (!closing_) {
      const auto item = take(without_gil([this] {
        const auto lock = exclusive();
        return stream_.next(kSlice);
      }));
      if (!item) return pybind11::none();
      if (has_come(*item)) return to_python(*item);
      if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
    }
    return pybind11::none();
  }
  void close() {
    closing_ = true;  // else who waits in next() could take the mutex again and again before this gets it
    without_gil([this] {
      const auto lock = exclusive();
      stream_.close();
      return true;
    });
  }

 private:
  // In a forked child there is one thread, and the mutex may be for ever in the hands of another one of the parent.
  std::unique_lock<std::mutex> exclusive() {
    return getpid() == owner_ ? std::unique_lock(mutex_) : std::unique_lock<std::mutex>();
  }

  const pid_t owner_ = getpid();
  std::mutex mutex_;
  std::atomic<bool> closing_{false};
  Stream stream_;
};

}  // namespace orkestr::python
