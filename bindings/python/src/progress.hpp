// The progress of a template's build, from the library's thread to a Python callable in the caller's.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <mutex>
#include <orkestr/template.hpp>
#include <vector>

namespace orkestr::python {

// The library reports into it from any thread; who waits delivers. Of the lines of one step that pile up only the last
// is kept, so it stays as small as the number of steps.
class ProgressRelay {
 public:
  // What the library calls; keeps the relay alive.
  static ProgressCallback callback(const std::shared_ptr<ProgressRelay>& relay) {
    return [relay](const TemplateProgress& progress) { relay->add(progress); };
  }

  // With the GIL: calls `callable` with a dict for each report since the last time. Its exceptions pass through.
  void deliver(const pybind11::object& callable);

 private:
  void add(const TemplateProgress& progress);

  std::mutex mutex_;
  std::vector<TemplateProgress> waiting_;
};

}  // namespace orkestr::python
