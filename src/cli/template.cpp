#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdio>

#include "base/places.hpp"
#include "cli/commands.hpp"
#include "cli/progress.hpp"
#include "image/builder.hpp"

namespace orkestr::cli {

int template_build(const std::string& name, bool force) {
  // Users read what root builds, whatever root's umask is.
  ::umask(022);
  auto recipe = image::find_recipe(name);
  if (!recipe) return report(recipe.error());
  auto places = base::find_places();
  if (!places) return report(places.error());

  Progress progress;
  image::BuildOptions options;
  options.cache_dir = places->cache_dir;
  options.force = force;
  options.on_progress = [&](const image::BuildProgress& p) {
    progress.update(p.step, p.index, p.count, p.line, p.elapsed);
  };
  auto outcome = image::build_template(*recipe, options);
  progress.finish();
  if (!outcome) return report(outcome.error());
  if (outcome->built) {
    fmt::print("template {} is built ({:.1f} s): {}\n", name, static_cast<double>(outcome->elapsed.count()) / 1000,
               outcome->files.directory);
  } else {
    fmt::print("template {} is there already: {} (--force builds it again)\n", name, outcome->files.directory);
  }
  return kExitOk;
}

int template_list() {
  auto places = base::find_places();
  if (!places) return report(places.error());
  auto all = image::list_templates(places->cache_search);
  if (!all) return report(all.error());
  fmt::print("{:20} {:>8}  {:24} {}\n", "NAME", "SIZE", "BUILT", "DESCRIPTION");
  for (const auto& info : *all) {
    fmt::print("{:20} {:>8}  {:24} {}\n", info.name, info.built ? fmt::format("{} MB", info.bytes >> 20U) : "-",
               info.built ? info.created_at : "no", info.description);
  }
  return kExitOk;
}

}  // namespace orkestr::cli
