// Fetching the parts of a recipe through the ordinary clients of their registries (mvn, npm, pip), so that a person's
// mirrors, proxies, credentials and certificates apply. Files are kept in a download directory between builds; what a
// recipe gives the SHA-256 of is taken from there when it has that content, and is checked when it was fetched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/recipe.hpp"
#include "image/tool.hpp"
#include "orkestr/error.hpp"

namespace orkestr::image {

struct FetchContext {
  std::string downloads;  // kept between builds
  std::string work;       // a private directory for temporary files
  ToolContext tools;
};

struct FetchedFile {
  std::string path;
  std::string sha256;
  std::uint64_t bytes = 0;
};

// The step's name in progress and errors: "fetch npm".
std::string fetch_stage(const MavenPart& part);
std::string fetch_stage(const NpmPart& part);
std::string fetch_stage(const PipPart& part);

// Looks for the client that the part needs. template_build_failed names it and its package.
Result<void> check_client(const RecipeAction& action);

// template_build_failed: the client's last lines, and what to look at; or both digests.
Result<FetchedFile> fetch(const MavenPart& part, const FetchContext& context);
Result<FetchedFile> fetch(const NpmPart& part, const FetchContext& context);
// One wheel for each package, in the order of the recipe.
Result<std::vector<FetchedFile>> fetch(const PipPart& part, const FetchContext& context);

// True when the file is a wheel of that package and version, spelled in any of the ways that are the same name. Pure.
bool is_wheel_of(std::string_view file_name, const PipPackage& package);

}  // namespace orkestr::image
