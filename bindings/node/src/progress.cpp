#include "progress.hpp"

#include <mutex>
#include <utility>
#include <vector>

#include "convert.hpp"
#include "runtime.hpp"

namespace orkestr::node {

namespace {

struct Reports {
  std::mutex mutex;
  std::vector<TemplateProgress> waiting;
};

// True for the first one that waits: then somebody must be woken.
bool add(Reports& reports, const TemplateProgress& progress) {
  std::lock_guard lock(reports.mutex);
  auto& waiting = reports.waiting;
  if (!waiting.empty() && waiting.back().step == progress.step &&
      waiting.back().template_name == progress.template_name) {
    waiting.back() = progress;
    return false;
  }
  waiting.push_back(progress);
  return waiting.size() == 1;
}

Napi::Object to_js(Napi::Env env, const TemplateProgress& progress) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("template", to_text(env, progress.template_name));
  out.Set("step", to_text(env, progress.step));
  out.Set("index", to_number(env, progress.index));
  out.Set("count", to_number(env, progress.count));
  out.Set("line", to_text(env, progress.line));
  out.Set("elapsedSeconds", to_number(env, std::chrono::duration<double>(progress.elapsed).count()));
  return out;
}

void deliver(Napi::Env env, Reports& reports, const Napi::FunctionReference& function) {
  std::vector<TemplateProgress> now;
  {
    std::lock_guard lock(reports.mutex);
    now.swap(reports.waiting);
  }
  for (const TemplateProgress& progress : now) function.Call({to_js(env, progress)});
}

}  // namespace

Progress progress_to(const Napi::Value& function) {
  Progress progress;
  if (is_nothing(function)) return progress;
  if (!function.IsFunction()) throw Napi::TypeError::New(function.Env(), "onProgress is no function");
  progress.function = std::make_shared<Napi::FunctionReference>(Napi::Persistent(function.As<Napi::Function>()));
  progress.callback = [weak = std::weak_ptr<Napi::FunctionReference>(progress.function),
                       reports = std::make_shared<Reports>(),
                       inbox = Runtime::of(function.Env()).inbox()](const TemplateProgress& report) {
    if (!add(*reports, report)) return;
    // Only there may the reference be taken: its last owner deletes it, which no other thread may.
    inbox->post([weak, reports](Napi::Env env) {
      if (const auto target = weak.lock()) deliver(env, *reports, *target);
    });
  };
  return progress;
}

}  // namespace orkestr::node
