#include "image/recipe.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <initializer_list>
#include <numeric>
#include <utility>

#include "base/json.hpp"
#include "base/sha256.hpp"
#include "base/try.hpp"
#include "image/store.hpp"

namespace orkestr::image {
namespace {

using base::JsonValue;

Error invalid(std::string_view where, std::string_view what) {
  return Error(ErrorCode::invalid_argument, fmt::format("recipe: {}: {}", where, what));
}

Result<void> only_members(const JsonValue& object, std::string_view where,
                          std::initializer_list<std::string_view> allowed) {
  if (object.kind() != JsonValue::Kind::object) {
    return invalid(where, fmt::format("must be an object; its members are {}", fmt::join(allowed, ", ")));
  }
  for (const auto& [name, value] : object.members()) {
    if (std::find(allowed.begin(), allowed.end(), name) == allowed.end()) {
      return invalid(where, fmt::format("unknown member '{}'; known are {}", name, fmt::join(allowed, ", ")));
    }
  }
  return {};
}

// Words that become arguments of apt and mvn or parts of paths: nothing that starts an option, leaves a directory or
// needs quoting.
bool is_word(std::string_view text) {
  return !text.empty() && text.size() <= 128 && text.front() != '-' && text.find("..") == text.npos &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-_") == text.npos;
}

Result<std::string> word(const JsonValue& object, std::string_view where, std::string_view name) {
  std::string text = object.string_or(name, "");
  if (!is_word(text)) return invalid(where, fmt::format("'{}' must be a word of letters, digits and . + - _", name));
  return text;
}

Result<std::vector<std::string>> strings(const JsonValue& object, std::string_view where, std::string_view name) {
  std::vector<std::string> out;
  for (const auto& item : object[name].items()) {
    auto text = item.string();
    if (!text || text->empty()) return invalid(where, fmt::format("'{}' must hold non-empty strings", name));
    out.emplace_back(*text);
  }
  if (out.empty()) return invalid(where, fmt::format("'{}' must be a list with at least one string", name));
  return out;
}

bool is_clean_path(std::string_view path) {
  return !path.empty() && path.find("..") == path.npos && path.find("//") == path.npos && path.back() != '/';
}

Result<DebianPart> parse_debian(const JsonValue& json, std::string_view where) {
  ORKESTR_CHECK(only_members(json, where, {"source", "suite", "packages"}));
  DebianPart part;
  ORKESTR_TRY(part.suite, word(json, where, "suite"));
  ORKESTR_TRY(part.packages, strings(json, where, "packages"));
  for (const auto& package : part.packages) {
    if (!is_word(package)) return invalid(where, fmt::format("'{}' is not a package name", package));
  }
  return part;
}

Result<ContainerPart> parse_container(const JsonValue& json, std::string_view where) {
  ORKESTR_CHECK(only_members(json, where, {"source", "image", "instead"}));
  ContainerPart part{json.string_or("image", ""), json.string_or("instead", "")};
  if (part.image.empty()) return invalid(where, "'image' is missing");
  if (!is_template_name(part.instead)) return invalid(where, "'instead' must be the name of a template");
  return part;
}

// Empty, or 64 hex digits.
Result<std::string> digest(const JsonValue& object, std::string_view where) {
  std::string text = object.string_or("sha256", "");
  const bool good = text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
  if (good || object["sha256"].is_null()) return text;
  return invalid(where, "'sha256' must be 64 lower-case hex digits");
}

Result<std::vector<UnpackRule>> parse_unpack(const JsonValue& json, std::string_view where) {
  std::vector<UnpackRule> rules;
  for (const auto& item : json["unpack"].items()) {
    ORKESTR_CHECK(only_members(item, fmt::format("{}: unpack[{}]", where, rules.size()), {"from", "to"}));
    UnpackRule rule{item.string_or("from", ""), item.string_or("to", "")};
    if (!is_clean_path(rule.from) || rule.from.front() == '/') return invalid(where, "'from' must be a relative path");
    if (!is_clean_path(rule.to) || rule.to.front() != '/') return invalid(where, "'to' must be an absolute path");
    rules.push_back(std::move(rule));
  }
  if (rules.empty()) return invalid(where, "'unpack' must be a list of {from, to}");
  return rules;
}

Result<NpmPart> parse_npm(const JsonValue& json, std::string_view where) {
  ORKESTR_CHECK(only_members(json, where, {"source", "package", "version", "sha256", "unpack"}));
  NpmPart part;
  part.package = json.string_or("package", "");
  std::string_view name = part.package;
  if (!name.empty() && name.front() == '@' && name.find('/') != name.npos) {
    if (!is_word(name.substr(1, name.find('/') - 1))) return invalid(where, "'package' must be name or @scope/name");
    name.remove_prefix(name.find('/') + 1);
  }
  if (!is_word(name)) return invalid(where, "'package' must be name or @scope/name");
  ORKESTR_TRY(part.version, word(json, where, "version"));
  ORKESTR_TRY(part.sha256, digest(json, where));
  ORKESTR_TRY(part.unpack, parse_unpack(json, where));
  return part;
}

Result<PipPart> parse_pip(const JsonValue& json, std::string_view where) {
  ORKESTR_CHECK(only_members(json, where, {"source", "python", "packages"}));
  PipPart part;
  ORKESTR_TRY(part.python, word(json, where, "python"));
  for (const auto& item : json["packages"].items()) {
    const std::string here = fmt::format("{}: packages[{}]", where, part.packages.size());
    ORKESTR_CHECK(only_members(item, here, {"name", "version", "sha256"}));
    PipPackage package;
    ORKESTR_TRY(package.name, word(item, here, "name"));
    ORKESTR_TRY(package.version, word(item, here, "version"));
    ORKESTR_TRY(package.sha256, digest(item, here));
    part.packages.push_back(std::move(package));
  }
  if (part.packages.empty()) return invalid(where, "'packages' must be a list of {name, version, sha256}");
  return part;
}

Result<MavenPart> parse_maven(const JsonValue& json, std::string_view where) {
  ORKESTR_CHECK(only_members(json, where, {"source", "artifact", "classifier", "sha256", "unpack"}));
  MavenPart part;
  const std::string artifact = json.string_or("artifact", "");
  const auto first = artifact.find(':');
  const auto second = artifact.find(':', first == artifact.npos ? first : first + 1);
  if (second == artifact.npos) return invalid(where, "'artifact' must be group:name:version");
  part.group = artifact.substr(0, first);
  part.artifact = artifact.substr(first + 1, second - first - 1);
  part.version = artifact.substr(second + 1);
  part.classifier = json.string_or("classifier", "");
  for (const auto* text : {&part.group, &part.artifact, &part.version}) {
    if (!is_word(*text)) return invalid(where, "'artifact' must be group:name:version");
  }
  if (!part.classifier.empty() && !is_word(part.classifier)) return invalid(where, "'classifier' must be a word");
  ORKESTR_TRY(part.sha256, digest(json, where));
  ORKESTR_TRY(part.unpack, parse_unpack(json, where));
  return part;
}

// `is_root`: the part that makes the root file system, which comes first and only once.
Result<RecipeAction> parse_part(const JsonValue& json, std::string_view where, bool is_root) {
  const std::string source = json.string_or("source", "");
  auto as_action = [](auto part) -> Result<RecipeAction> {
    if (!part) return part.error();
    return RecipeAction(std::move(*part));
  };
  if (is_root && source == "debian") return as_action(parse_debian(json, where));
  if (is_root && source == "container") return as_action(parse_container(json, where));
  if (!is_root && source == "maven") return as_action(parse_maven(json, where));
  if (!is_root && source == "npm") return as_action(parse_npm(json, where));
  if (!is_root && source == "pip") return as_action(parse_pip(json, where));
  return invalid(where, fmt::format("'source' is '{}'; the first part of a recipe without a base is 'debian' or "
                                    "'container', all others are 'maven', 'npm' or 'pip'",
                                    source));
}

Result<RecipeStep> parse_step(const JsonValue& json, std::string_view where) {
  ORKESTR_CHECK(only_members(json, where, {"name", "run"}));
  RecipeStep step;
  step.name = json.string_or("name", "");
  if (step.name.empty()) return invalid(where, "'name' is missing");
  ORKESTR_TRY(step.run, strings(json, where, "run"));
  return step;
}

std::vector<std::string> builtin_names() {
  std::vector<std::string> names;
  for (const auto& recipe : builtin_recipes()) names.emplace_back(recipe.name);
  std::sort(names.begin(), names.end());
  return names;
}

// Levenshtein's distance: one insertion, deletion or replacement counts one.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

constexpr int kMaxBases = 8;
// Part of every digest: changes when the builder makes something else of the same recipe, so that it is built anew.
constexpr std::string_view kBuilder = "builder 2\n";

Result<Recipe> parse_nested(std::string_view text, int depth);

}  // namespace

std::string MavenPart::coordinates() const {
  return fmt::format("{}:{}:{}:jar{}{}", group, artifact, version, classifier.empty() ? "" : ":", classifier);
}

std::string MavenPart::repository_path() const {
  std::string folder = group;
  std::replace(folder.begin(), folder.end(), '.', '/');
  return fmt::format("{}/{}/{}/{}-{}{}{}.jar", folder, artifact, version, artifact, version,
                     classifier.empty() ? "" : "-", classifier);
}

std::string NpmPart::file_name() const {
  std::string name = package.front() == '@' ? package.substr(1) : package;
  std::replace(name.begin(), name.end(), '/', '-');
  return fmt::format("{}-{}.tgz", name, version);
}

namespace {

Result<Recipe> parse_nested(std::string_view text, int depth) {
  auto parsed = JsonValue::parse(text);
  if (!parsed) return invalid("text", parsed.error().message());
  const JsonValue& json = *parsed;
  ORKESTR_CHECK(only_members(json, "top level", {"name", "description", "base", "parts", "steps"}));
  Recipe recipe;
  const std::string base = json.string_or("base", "");
  if (!base.empty()) {
    if (depth >= kMaxBases) return invalid("base", "the recipes are based on each other in a circle");
    auto found = std::find_if(builtin_recipes().begin(), builtin_recipes().end(),
                              [&](const BuiltinRecipe& one) { return one.name == base; });
    if (found == builtin_recipes().end()) return unknown_template(base, builtin_names()).with_context("recipe: base");
    ORKESTR_TRY(recipe, parse_nested(found->json, depth + 1));
  }
  recipe.digest = base::sha256_hex(fmt::format("{}{}\n{}", kBuilder, recipe.digest, text));
  recipe.name = json.string_or("name", "");
  recipe.description = json.string_or("description", "");
  if (!is_template_name(recipe.name)) return invalid("name", fmt::format("'{}' is not a template name", recipe.name));
  int number = 0;
  for (const auto& item : json["parts"].items()) {
    ORKESTR_TRY(auto part, parse_part(item, fmt::format("part {}", ++number), recipe.actions.empty()));
    recipe.actions.push_back(std::move(part));
  }
  if (recipe.actions.empty()) return invalid("parts", "must begin with a 'debian' part, or there must be a 'base'");
  number = 0;
  for (const auto& item : json["steps"].items()) {
    ORKESTR_TRY(auto step, parse_step(item, fmt::format("step {}", ++number)));
    recipe.actions.emplace_back(std::move(step));
  }
  return recipe;
}

}  // namespace

Result<Recipe> parse_recipe(std::string_view text) { return parse_nested(text, 0); }

Result<Recipe> find_recipe(std::string_view name) {
  for (const auto& recipe : builtin_recipes()) {
    if (recipe.name == name) return parse_recipe(recipe.json);
  }
  return unknown_template(name, builtin_names());
}

std::vector<std::string> similar_names(std::string_view name, const std::vector<std::string>& known) {
  constexpr std::size_t kLongest = 64;  // longer ones are no names, and the distance costs length times length
  if (name.empty() || name.size() > kLongest) return {};
  std::vector<std::pair<std::size_t, std::string>> near;
  for (const auto& one : known) {
    std::size_t distance = edit_distance(name, one.substr(0, kLongest));
    const bool begins = name.starts_with(one) || one.starts_with(name);
    if (distance <= std::max<std::size_t>(2, name.size() / 3) || (begins && name.size() >= 3)) {
      near.emplace_back(distance, one);
    }
  }
  std::sort(near.begin(), near.end());
  std::vector<std::string> out;
  for (auto& [distance, one] : near) {
    if (out.size() < 3) out.push_back(std::move(one));
  }
  return out;
}

Error unknown_template(std::string_view name, const std::vector<std::string>& known) {
  const auto near = similar_names(name, known);
  const std::string hint = near.empty() ? "" : fmt::format(" Did you mean {}?", fmt::join(near, " or "));
  return Error(ErrorCode::template_not_found, fmt::format("there is no template '{}'.{} Known templates: {}.",
                                                          name.substr(0, 64), hint, fmt::join(known, ", ")));
}

}  // namespace orkestr::image
