// Builds templates: from a recipe to a directory of the store (see store.hpp).
//
// Everything is made in a staging directory and appears by rename; `current` is replaced last. A build that is killed
// at any step leaves nothing that passes for a template, and the next one removes what it left. Two builds in one cache
// directory run one after the other, and the second finds the work done.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "base/deadline.hpp"
#include "image/recipe.hpp"
#include "image/store.hpp"
#include "orkestr/error.hpp"

namespace orkestr::image {

struct BuildProgress {
  std::string_view step;  // "base system"
  int index = 0;          // 1 … count
  int count = 0;
  std::string_view line;  // the last line of output of the step; empty at its start
  std::chrono::milliseconds elapsed{};
};

struct BuildOptions {
  std::string cache_dir;  // where the template goes, and what is downloaded for it
  bool force = false;     // build although the recipe's current build is there
  base::Deadline deadline = base::Deadline::after(std::chrono::hours(1));
  // Called on the building thread, also while it waits for another build (then index is 0).
  std::function<void(const BuildProgress&)> on_progress;
};

struct BuildOutcome {
  TemplateFiles files;  // opened without an initramfs
  bool built = false;   // false: it was there already
  std::chrono::milliseconds elapsed{};
};

// Needs root, the host's apt (for packages and the kernel), mvn for recipes with Maven parts, and a network; tools are
// looked for before anything starts. template_build_failed carries the step and its output in details(), and says what
// to do.
Result<BuildOutcome> build_template(const Recipe& recipe, const BuildOptions& options);

}  // namespace orkestr::image
