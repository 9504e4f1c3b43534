// The root file system of a template: the parts and steps of its recipe, done in a directory, as root or in a
// user namespace.
#pragma once

#include <string>
#include <vector>

#include "image/fetch.hpp"
#include "image/recipe.hpp"
#include "image/tool.hpp"
#include "orkestr/error.hpp"

namespace orkestr::image {

// One thing that went into a template, as template.json records it.
struct PartRecord {
  std::string source;   // "debian", "maven", "npm", "pip", "kernel"
  std::string name;     // "bash"
  std::string version;  // "5.2.15-2+b2"; empty for the distribution itself
  std::string origin;   // coordinates, or the mirror's address without credentials
  std::string sha256;   // of the file that was fetched; empty where a package manager checked it by its signatures
  std::uint64_t bytes = 0;
};

struct RootfsContext {
  std::string root;  // the new root; made by the first action
  FetchContext fetch;
  std::vector<PartRecord>* parts = nullptr;  // what actions add to
};

// "fetch npm", "base system", a step's own name.
std::string action_name(const RecipeAction& action);
// template_build_failed when a source cannot be fetched by this version: says so, and what to use instead.
Result<void> check_sources(const Recipe& recipe);
// template_build_failed names the first program that the actions need and that is missing, and its package.
Result<void> check_tools(const Recipe& recipe);
Result<void> run_action(const RecipeAction& action, const RootfsContext& context);

// Runs the step in the new root: own mount, process, network and host name namespaces, so nothing of the host is seen
// or left behind.
Result<void> run_step(const RecipeStep& step, const RootfsContext& context);
// What every template shares: the directories a guest expects, neutral identity files, no package lists, no trace of
// the host's mirrors' credentials.
RecipeStep tidy_step();

// The Debian packages of the new root, from dpkg's own list. Pure.
std::vector<PartRecord> installed_packages(std::string_view dpkg_status);

}  // namespace orkestr::image
