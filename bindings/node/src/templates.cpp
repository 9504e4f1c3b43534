// Templates: built, prepared, listed, inspected, removed.
#include <napi.h>

#include <orkestr/orkestr.hpp>

#include "handle.hpp"
#include "progress.hpp"
#include "promise.hpp"
#include "surface.hpp"

namespace orkestr::node {

namespace {

using Info = const Napi::CallbackInfo&;

Napi::Value to_js(Napi::Env env, const TemplatePart& part) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("source", to_text(env, part.source));
  out.Set("name", to_text(env, part.name));
  out.Set("version", to_text(env, part.version));
  out.Set("origin", to_text(env, part.origin));
  out.Set("sha256", to_text_or_null(env, part.sha256));
  out.Set("bytes", part.bytes == 0 ? env.Null() : to_number(env, part.bytes));
  return out;
}

Napi::Value to_js(Napi::Env env, const TemplateInfo& info) {
  Napi::Array parts = Napi::Array::New(env, info.parts.size());
  for (std::size_t i = 0; i < info.parts.size(); ++i) {
    parts.Set(static_cast<std::uint32_t>(i), to_js(env, info.parts[i]));
  }
  Napi::Object out = Napi::Object::New(env);
  out.Set("name", to_text(env, info.name));
  out.Set("description", to_text(env, info.description));
  out.Set("recipeSha256", to_text(env, info.recipe_sha256));
  out.Set("built", Napi::Boolean::New(env, info.built));
  out.Set("current", Napi::Boolean::New(env, info.current));
  out.Set("buildId", to_text_or_null(env, info.build_id));
  out.Set("directory", to_text_or_null(env, info.directory));
  out.Set("createdAt", info.built ? to_ms(env, info.created_at) : env.Null());
  out.Set("bytes", info.bytes == 0 ? env.Null() : to_number(env, info.bytes));
  out.Set("digest", to_text_or_null(env, info.digest));
  out.Set("imageSha256", to_text_or_null(env, info.image_sha256));
  out.Set("kernel", to_text_or_null(env, info.kernel));
  out.Set("parts", parts);
  return out;
}

// (name, options, onProgress, client)
Napi::Value build(Info info, decltype(&Template::build_async) begin_build) {
  const Napi::Object arguments = get_object(info[1], "options");
  TemplateBuildOptions options;
  if (const Napi::Value force = arguments.Get("force"); !is_nothing(force)) options.force = get_flag(force, "force");
  if (const Napi::Value recipe = arguments.Get("recipe"); !is_nothing(recipe)) {
    options.recipe = get_text(recipe, "recipe");
  }
  if (const Napi::Value size = arguments.Get("size"); !is_nothing(size)) {
    options.size = take(info.Env(), parse_size(get_text(size, "size")));
  }
  options.cpu = get_optional_number(arguments.Get("cpu"), "cpu");
  options.memory_mb = get_optional_int(arguments.Get("memoryMb"), "memoryMb");
  options.disk_mb = get_optional_int(arguments.Get("diskMb"), "diskMb");
  Progress progress = progress_to(info[2]);
  options.on_progress = std::move(progress.callback);
  return begin(
      info.Env(), begin_build(get_text(info[0], "name"), std::move(options), client_of(info[3])),
      [keep = std::move(progress.function)](Napi::Env env, const TemplateInfo& built) { return to_js(env, built); });
}

}  // namespace

void export_templates(Napi::Env, Napi::Object exports) {
  add(exports, "buildTemplate", [](Info info) { return build(info, &Template::build_async); });
  add(exports, "prepareTemplate", [](Info info) { return build(info, &Template::prepare_async); });
  add(exports, "listTemplates", [](Info info) {
    return begin_blocking(
        info.Env(), [client = client_of(info[0])] { return Template::list(client); },
        [](Napi::Env env, const std::vector<TemplateInfo>& templates) {
          Napi::Array out = Napi::Array::New(env, templates.size());
          for (std::size_t i = 0; i < templates.size(); ++i) {
            out.Set(static_cast<std::uint32_t>(i), to_js(env, templates[i]));
          }
          return out;
        });
  });
  add(exports, "inspectTemplate", [](Info info) {
    return begin_blocking(
        info.Env(),
        [name = get_text(info[0], "name"), client = client_of(info[1])] { return Template::inspect(name, client); },
        [](Napi::Env env, const TemplateInfo& one) { return to_js(env, one); });
  });
  add(exports, "removeTemplate", [](Info info) {
    return begin_blocking(
        info.Env(),
        [name = get_text(info[0], "name"), client = client_of(info[1])] { return Template::remove(name, client); },
        to_undefined);
  });
}

}  // namespace orkestr::node
