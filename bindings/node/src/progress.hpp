// The progress of a template's build, from the library's thread to a JavaScript function.
#pragma once

#include <napi.h>

#include <memory>
#include <orkestr/template.hpp>

namespace orkestr::node {

// `callback` is for the library. It has the function called on the JavaScript thread with an object for each report, as
// long as `function` is kept there: the pending operation keeps it. Of the reports of one step that pile up while that
// thread is busy the last is kept. The function must not throw.
struct Progress {
  std::shared_ptr<Napi::FunctionReference> function;
  ProgressCallback callback;
};
Progress progress_to(const Napi::Value& function);  // undefined, null: to nobody

}  // namespace orkestr::node
