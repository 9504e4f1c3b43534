// Recipes: what a template is made from, as data. docs/TEMPLATES.md is the format; the built-in ones are the JSON files
// in src/image/recipes/, compiled in.
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

struct ContainerPart {
  std::string image;
  std::string instead;  // the template that is offered until images can be fetched
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
  std::string sha256;      // may be empty, here and below
  std::vector<UnpackRule> unpack;

  std::string coordinates() const;      // group:artifact:version:jar[:classifier]
  std::string repository_path() const;  // group/as/path/artifact/version/artifact-version[-classifier].jar
};

struct NpmPart {
  std::string package;  // "npm", "@scope/name"
  std::string version;
  std::string sha256;
  std::vector<UnpackRule> unpack;

  std::string file_name() const;  // as `npm pack` calls it: scope-name-version.tgz
};

struct PipPackage {
  std::string name;
  std::string version;
  std::string sha256;
};

struct PipPart {
  std::string python;  // "3.12": the interpreter that the wheels are for
  std::vector<PipPackage> packages;
};

struct RecipeStep {
  std::string name;
  std::vector<std::string> run;
};

// One thing that is done to the new root.
using RecipeAction = std::variant<DebianPart, ContainerPart, MavenPart, NpmPart, PipPart, RecipeStep>;

struct Recipe {
  std::string name;
  std::string description;
  std::vector<RecipeAction> actions;  // in order, those of its base first; the first one makes the root
  std::string digest;                 // SHA-256 of the text, its base's and what the builder makes of them
};

// invalid_argument names the member that is wrong, template_not_found an unknown base.
Result<Recipe> parse_recipe(std::string_view json);

struct BuiltinRecipe {
  std::string_view name;
  std::string_view json;
};
const std::vector<BuiltinRecipe>& builtin_recipes();
// The built-in recipe; template_not_found names those with a similar name, and all.
Result<Recipe> find_recipe(std::string_view name);

// The names among `known` that a person may have meant by `name`: at most three, the nearest first (edit distance up to
// a third of its length, or one the beginning of the other). Pure.
std::vector<std::string> similar_names(std::string_view name, const std::vector<std::string>& known);
// template_not_found: "there is no template 'x'. Did you mean …? Known templates: …".
Error unknown_template(std::string_view name, const std::vector<std::string>& known);

}  // namespace orkestr::image
