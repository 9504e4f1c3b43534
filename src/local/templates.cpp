// LocalBackend: the templates of this machine, between the public values and src/image.
#include <fcntl.h>
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.hpp"
#include "base/places.hpp"
#include "base/try.hpp"
#include "image/builder.hpp"
#include "image/store.hpp"
#include "local/local_backend.hpp"
#include "local/make_snapshot.hpp"
#include "local/prepare.hpp"
#include "local/supervisor_path.hpp"

namespace orkestr::local {
namespace {

constexpr auto kLockPatience = std::chrono::seconds(10);

// "2026-11-21T06:14:07.123Z"; the epoch for anything else.
TimePoint parse_time(const std::string& text) {
  tm parts{};
  if (::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts) == nullptr) return {};
  return std::chrono::system_clock::from_time_t(::timegm(&parts));
}

TemplateInfo to_public(const image::TemplateInfo& from) {
  TemplateInfo info;
  info.name = from.name;
  info.description = from.description;
  info.built = from.built;
  info.current = from.current;
  info.build_id = from.build_id;
  info.directory = from.files.directory;
  info.created_at = parse_time(from.created_at);
  info.bytes = from.bytes;
  info.digest = from.files.digest;
  info.image_sha256 = from.files.base_sha256;
  info.recipe_sha256 = from.recipe_sha256;
  info.kernel = from.files.kernel_version;
  for (const auto& part : from.parts) {
    info.parts.push_back({part.source, part.name, part.version, part.origin, part.sha256, part.bytes});
  }
  return info;
}

Result<image::Recipe> recipe_of(const std::string& name, const std::string& text) {
  if (text.empty()) return image::find_recipe(name);
  ORKESTR_TRY(auto recipe, image::parse_recipe(text));
  const auto& known = image::builtin_recipes();
  const bool taken = std::any_of(known.begin(), known.end(), [&](const auto& one) { return one.name == recipe.name; });
  if (taken) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("recipe: name: '{}' is a template that comes with the library; give yours another name",
                             recipe.name));
  }
  if (!name.empty() && name != recipe.name) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("name is '{}', but the recipe's own name is '{}'; give that, or none", name, recipe.name));
  }
  return recipe;
}

Result<image::BuildOutcome> build(const base::Places& places, const image::Recipe& recipe,
                                  const TemplateBuildOptions& options, const std::stop_token& stop) {
  image::BuildOptions build;
  build.cache_dir = places.cache_dir;
  build.force = options.force;
  build.stop = stop;
  if (options.on_progress) {
    build.on_progress = [&](const image::BuildProgress& p) {
      options.on_progress(
          {std::string(p.template_name), std::string(p.step), p.index, p.count, std::string(p.line), p.elapsed});
    };
  }
  return image::build_template(recipe, build);
}

}  // namespace

Result<TemplateInfo> LocalBackend::build_template(const std::string& name, const TemplateBuildOptions& options,
                                                  const std::stop_token& stop) {
  ORKESTR_TRY(const auto recipe, recipe_of(name, options.recipe));
  ORKESTR_TRY(const auto places, base::find_places());
  if (!options.force) {
    // Maybe the system has it, where this user could not build.
    const auto there = image::inspect_template(places.cache_search, recipe.name);
    if (there && there->built && there->recipe_sha256 == recipe.digest) return to_public(*there);
  }
  ORKESTR_CHECK(build(places, recipe, options, stop));
  ORKESTR_TRY(const auto info, image::inspect_template({places.cache_dir}, recipe.name));
  return to_public(info);
}

Result<TemplateInfo> LocalBackend::prepare_template(const std::string& name, const TemplateBuildOptions& options,
                                                    const std::stop_token& stop) {
  ORKESTR_TRY(const auto places, base::find_places());
  ORKESTR_TRY(const auto libexec, find_libexec());
  auto open = [&](const std::string& which) {
    return image::open_template(places.cache_search, which, libexec + "/orkestr-agent", places.cache_dir);
  };
  auto files = options.force || !options.recipe.empty() ? Error(ErrorCode::template_not_found, "") : open(name);
  if (!files && files.error().code() == ErrorCode::template_not_found) {
    ORKESTR_TRY(const auto recipe, recipe_of(name, options.recipe));
    ORKESTR_CHECK(build(places, recipe, options, stop));
    files = open(recipe.name);
  }
  if (!files) return files.error();
  CreateOptions create;
  create.template_name = files->name;
  create.size = options.size;
  create.cpu = options.cpu;
  create.memory_mb = options.memory_mb;
  create.disk_mb = options.disk_mb;
  ORKESTR_TRY(auto prepared, prepare_sandbox(create));
  if (prepared.request.cache_dir.empty()) {
    ORKESTR_CHECK(image::verify_template(prepared.files, prepared.request.stamp_dir, stop));
  } else {  // the supervisor verifies the template
    ORKESTR_CHECK(make_snapshot(loop_, shared_->ledger, std::move(prepared), options.on_progress, stop));
  }
  ORKESTR_TRY(const auto info, image::inspect_template(places.cache_search, files->name));
  return to_public(info);
}

Result<std::vector<TemplateInfo>> LocalBackend::list_templates() {
  ORKESTR_TRY(const auto places, base::find_places());
  ORKESTR_TRY(const auto all, image::list_templates(places.cache_search));
  std::vector<TemplateInfo> out;
  for (const auto& info : all) out.push_back(to_public(info));
  return out;
}

Result<TemplateInfo> LocalBackend::inspect_template(const std::string& name) {
  ORKESTR_TRY(const auto places, base::find_places());
  ORKESTR_TRY(const auto info, image::inspect_template(places.cache_search, name));
  return to_public(info);
}

Result<void> LocalBackend::remove_template(const std::string& name) {
  ORKESTR_TRY(const auto places, base::find_places());
  ORKESTR_TRY(const auto info, image::inspect_template(places.cache_search, name));
  if (info.built && info.cache_dir != places.cache_dir) {
    return Error(ErrorCode::not_permitted,
                 fmt::format("template '{}' is in {}, which is not this user's. Remove it with `sudo orkestr template "
                             "remove {}`.",
                             name, info.cache_dir, name));
  }
  if (!base::exists(image::template_directory(places.cache_dir, name))) {
    return image::remove_template(places.cache_dir, name);  // says what there is
  }
  ORKESTR_TRY(const auto lock,
              image::BuildLock::take(places.cache_dir, {}, {base::Deadline::after(kLockPatience), {}, {}}, {}));
  return image::remove_template(places.cache_dir, name);
}

}  // namespace orkestr::local
