// The root file system of a template: base system, further parts and steps of its recipe, in a directory. Needs root.
#pragma once

#include <string>

#include "base/deadline.hpp"
#include "image/recipe.hpp"
#include "image/tool.hpp"
#include "orkestr/error.hpp"

namespace orkestr::image {

struct RootfsContext {
  std::string root;       // the new root; made by make_base_system
  std::string work;       // a private directory beside it for temporary files
  std::string downloads;  // kept between builds
  base::Deadline deadline = base::Deadline::never();
  LineSink on_line;
};

// Looks for every program these functions need. template_build_failed names the first that is missing, and its package.
Result<void> check_rootfs_tools(const Recipe& recipe);

Result<void> make_base_system(const DebianPart& part, const RootfsContext& context);
Result<void> add_maven_part(const MavenPart& part, const RootfsContext& context);
// Runs the step in the new root: own mount, process, network and host name namespaces, so nothing of the host is seen
// or left behind.
Result<void> run_step(const RecipeStep& step, const RootfsContext& context);
// What every template shares: the directories a guest expects, neutral identity files, no package lists, no trace of
// the host's mirrors' credentials.
RecipeStep tidy_step();

}  // namespace orkestr::image
