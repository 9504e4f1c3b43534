// Waiting from Python: every wait of the native module goes through here.
//
// While it waits the GIL is free. A signal that Python wants handled is noticed within kSlice; when its handler raises
// (Ctrl-C does), the work is cancelled and the exception passes on. The cancellation is given kGrace to take effect, so
// that a program that ends at once does not leave the command running; a second signal cuts even that short.
#pragma once

#include <Python.h>
#include <cxxabi.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <orkestr/orkestr.hpp>
#include <utility>

#include "convert.hpp"

namespace orkestr::python {

inline constexpr std::chrono::milliseconds kSlice{50};
inline constexpr std::chrono::milliseconds kGrace{3000};

// Takes the GIL back. Before Python 3.14 an interpreter that is shutting down ends daemon threads here by unwinding
// their stack (pthread_exit), through frames that hold Python objects, which nobody may touch any more. Such a thread
// stops here instead, as it does in later versions; the process ends without it.
inline void take_gil(PyThreadState* state) {
  try {
    PyEval_RestoreThread(state);
  } catch (abi::__forced_unwind&) {
    while (true) pause();
  }
}

// Calls `work` without the GIL.
template <class Work>
auto without_gil(Work work) {
  PyThreadState* state = PyEval_SaveThread();
  std::optional<decltype(work())> result;
  try {
    result.emplace(work());
  } catch (const std::exception&) {  // out of memory; the library itself does not throw
    take_gil(state);
    throw;
  }
  take_gil(state);
  return std::move(*result);
}

// Calls `step` (a wait of at most kSlice, true when there is nothing more to wait for) until kGrace is over or another
// signal comes, then rethrows `interrupt`.
template <class Step>
[[noreturn]] void settle(pybind11::error_already_set interrupt, Step step) {
  const auto end = std::chrono::steady_clock::now() + kGrace;
  while (std::chrono::steady_clock::now() < end && !without_gil(step)) {
    if (PyErr_CheckSignals() == 0) continue;
    throw pybind11::error_already_set();
  }
  throw interrupt;
}

// What an interrupted wait does to its operation.
enum class OnInterrupt { cancel, let_finish };

// `each_slice` is called with the GIL, every kSlice and at the end; what it raises ends the wait as a signal does.
template <class T, class EachSlice>
Result<T> await(Operation<T>& operation, OnInterrupt on_interrupt, EachSlice each_slice) {
  const auto step = [&operation] { return operation.wait(kSlice); };
  bool done = false;
  while (!done) {
    done = without_gil(step);
    try {
      if (!done && PyErr_CheckSignals() != 0) throw pybind11::error_already_set();  // takes the pending exception
      each_slice();
    } catch (pybind11::error_already_set& interrupt) {
      if (done) throw;
      if (on_interrupt == OnInterrupt::cancel) operation.cancel();
      settle(std::move(interrupt), step);
    }
  }
  return operation.get();
}

template <class T>
Result<T> await(Operation<T>& operation, OnInterrupt on_interrupt = OnInterrupt::cancel) {
  return await(operation, on_interrupt, [] {});
}

// `result`'s value, or its error as the Python exception that belongs to it.
template <class T>
T take(Result<T> result) {
  if (!result.ok()) raise_error(result.error());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// Submits (without the GIL), waits, takes.
template <class Submit>
auto finish(Submit submit, OnInterrupt on_interrupt = OnInterrupt::cancel) {
  auto operation = without_gil(std::move(submit));
  return take(await(operation, on_interrupt));
}

}  // namespace orkestr::python
