// Recipes: what a template is made from, as data. The built-in ones are the JSON files in src/image/recipes/, compiled
// in.
//
// {
//   "name": "python-3.12-bare", "description": "…",
//   "parts": [
//     {"source": "debian", "suite": "bookworm", "packages": ["bash", …]},       the root file system; first, exactly
//     one
//     {"source": "maven", "artifact": "group:name:version", "classifier": "…",   a file that the host's mvn fetches
//      "sha256": "64 hex digits", "unpack": [{"from": "folder/in/it", "to": "/usr/local/lib"}, …]}
//   ],
//   "steps": [{"name": "what it does", "run": ["shell line", …]}, …]
// }
//
// Steps run in the new root by bash with -e, -u and pipefail, as root, with /proc and without a network, in order; one
// that fails fails the build. A check is a step that changes nothing. An unknown member is an error: a misspelt one
// must not be ignored.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::image {

struct DebianPart {
  std::string suite;
  std::vector<std::string> packages;
};

struct UnpackRule {
  std::string from;  // a folder or a file in the archive
  std::string to;    // absolute, in the new root
};

struct MavenPart {
  std::string group;
  std::string artifact;
  std::string version;
  std::string classifier;  // may be empty
  std::string sha256;
  std::vector<UnpackRule> unpack;

  std::string coordinates() const;      // group:artifact:version:jar[:classifier]
  std::string repository_path() const;  // group/as/path/artifact/version/artifact-version[-classifier].jar
};

struct RecipeStep {
  std::string name;
  std::vector<std::string> run;
};

struct Recipe {
  std::string name;
  std::string description;
  DebianPart debian;
  std::vector<MavenPart> maven;
  std::vector<RecipeStep> steps;
  std::string digest;  // SHA-256 of the text
};

// invalid_argument names the member that is wrong.
Result<Recipe> parse_recipe(std::string_view json);

struct BuiltinRecipe {
  std::string_view name;
  std::string_view json;
};
const std::vector<BuiltinRecipe>& builtin_recipes();
// template_not_found lists the known names.
Result<Recipe> find_recipe(std::string_view name);

}  // namespace orkestr::image
