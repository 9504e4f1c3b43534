#include "image/recipe.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <initializer_list>

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
  if (object.kind() != JsonValue::Kind::object) return invalid(where, "must be an object");
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
  part.sha256 = json.string_or("sha256", "");
  for (const auto* text : {&part.group, &part.artifact, &part.version}) {
    if (!is_word(*text)) return invalid(where, "'artifact' must be group:name:version");
  }
  if (!part.classifier.empty() && !is_word(part.classifier)) return invalid(where, "'classifier' must be a word");
  if (part.sha256.size() != 64 || part.sha256.find_first_not_of("0123456789abcdef") != part.sha256.npos) {
    return invalid(where, "'sha256' must be 64 lower-case hex digits");
  }
  for (const auto& item : json["unpack"].items()) {
    ORKESTR_CHECK(only_members(item, where, {"from", "to"}));
    UnpackRule rule{item.string_or("from", ""), item.string_or("to", "")};
    if (!is_clean_path(rule.from) || rule.from.front() == '/') return invalid(where, "'from' must be a relative path");
    if (!is_clean_path(rule.to) || rule.to.front() != '/') return invalid(where, "'to' must be an absolute path");
    part.unpack.push_back(std::move(rule));
  }
  if (part.unpack.empty()) return invalid(where, "'unpack' must be a list of {from, to}");
  return part;
}

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

Result<Recipe> parse_recipe(std::string_view text) {
  auto parsed = JsonValue::parse(text);
  if (!parsed) return invalid("text", parsed.error().message());
  const JsonValue& json = *parsed;
  ORKESTR_CHECK(only_members(json, "top level", {"name", "description", "parts", "steps"}));
  Recipe recipe;
  recipe.name = json.string_or("name", "");
  recipe.description = json.string_or("description", "");
  recipe.digest = base::sha256_hex(text);
  if (!is_template_name(recipe.name)) return invalid("name", fmt::format("'{}' is not a template name", recipe.name));
  const auto& parts = json["parts"].items();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string where = fmt::format("part {}", i + 1);
    const std::string source = parts[i].string_or("source", "");
    if (source == "debian" && i == 0) {
      ORKESTR_TRY(recipe.debian, parse_debian(parts[i], where));
    } else if (source == "maven" && i > 0) {
      ORKESTR_TRY(auto part, parse_maven(parts[i], where));
      recipe.maven.push_back(std::move(part));
    } else {
      return invalid(where,
                     fmt::format("'source' is '{}'; the first part is 'debian', further ones are 'maven'", source));
    }
  }
  if (parts.empty()) return invalid("parts", "must begin with a 'debian' part");
  for (const auto& item : json["steps"].items()) {
    const std::string where = fmt::format("step {}", recipe.steps.size() + 1);
    ORKESTR_CHECK(only_members(item, where, {"name", "run"}));
    RecipeStep step;
    step.name = item.string_or("name", "");
    if (step.name.empty()) return invalid(where, "'name' is missing");
    ORKESTR_TRY(step.run, strings(item, where, "run"));
    recipe.steps.push_back(std::move(step));
  }
  return recipe;
}

Result<Recipe> find_recipe(std::string_view name) {
  std::vector<std::string_view> known;
  for (const auto& recipe : builtin_recipes()) {
    if (recipe.name == name) return parse_recipe(recipe.json);
    known.push_back(recipe.name);
  }
  return Error(
      ErrorCode::template_not_found,
      fmt::format("there is no recipe for a template '{}'. Known templates: {}.", name, fmt::join(known, ", ")));
}

}  // namespace orkestr::image
