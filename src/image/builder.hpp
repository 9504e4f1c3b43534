// Builds templates: from a recipe to a directory of the store (see store.hpp).
//
// Everything is made in a staging directory and appears by rename; `current` is replaced last. A build that is killed
// at any step leaves nothing that passes for a template, and the next one removes what it left. Two builds in one cache
// directory run one after the other (build_lock.hpp), and the second finds the work done.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>

#include "base/deadline.hpp"
#include "image/build_lock.hpp"
#include "image/recipe.hpp"
#include "image/store.hpp"
#include "orkestr/error.hpp"

namespace orkestr::image {

struct BuildOptions {
  std::string cache_dir;  // where the template goes, and what is downloaded for it
  bool force = false;     // build although the recipe's current build is there
  base::Deadline deadline = base::Deadline::after(std::chrono::hours(1));
  std::stop_token stop;  // ends the build with `cancelled` within a second or so
  // Called on the building thread, also while it waits for another build, with that one's progress.
  ProgressSink on_progress;
};

struct BuildOutcome {
  TemplateFiles files;  // opened without an initramfs
  bool built = false;   // false: it was there already
  std::chrono::milliseconds elapsed{};
};

// Needs root or a user namespace (user_namespace.hpp), the host's apt (for packages and the kernel), mvn, npm and pip
// for recipes with such parts, and a network; tools are looked for before anything starts. template_build_failed
// carries the step and its output in details(), and says what to do.
Result<BuildOutcome> build_template(const Recipe& recipe, const BuildOptions& options);

}  // namespace orkestr::image
