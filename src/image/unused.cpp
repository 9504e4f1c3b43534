#include "image/unused.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <ctime>
#include <set>

#include "base/file.hpp"
#include "base/json.hpp"
#include "base/try.hpp"
#include "image/store.hpp"

namespace orkestr::image {
namespace {

constexpr std::time_t kYoung_s = 3600;
constexpr std::time_t kUnused_s = std::time_t{24} * 3600;  // a snapshot says by its time when it was last used
constexpr std::size_t kMaxNameBytes = 256;

// A directory of entries that may not be there; with the names that are directories.
Result<std::vector<std::string>> directories_in(const std::string& path) {
  auto names = base::list_directory(path);
  if (!names && names.error().code() == ErrorCode::file_not_found) return std::vector<std::string>();
  if (!names) return names.error();
  std::erase_if(*names, [&](const std::string& name) {
    struct stat info {};
    return ::lstat(fmt::format("{}/{}", path, name).c_str(), &info) != 0 || !S_ISDIR(info.st_mode);
  });
  return names;
}

bool is_young(const std::string& path, std::time_t age_s = kYoung_s) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && info.st_mtime > std::time(nullptr) - age_s;
}

std::string current_build(const std::string& directory) {
  auto text = base::read_file(directory + "/current", kMaxNameBytes);
  if (!text) return {};
  while (!text->empty() && (text->back() == '\n' || text->back() == ' ')) text->pop_back();
  return *text;
}

}  // namespace

Result<std::vector<std::string>> find_unused(const std::string& cache_dir) {
  std::vector<std::string> unused;
  std::set<std::string> kernels_in_use;
  std::set<std::string> digests;
  ORKESTR_TRY(const auto templates, directories_in(cache_dir + "/templates"));
  for (const auto& name : templates) {
    const std::string directory = template_directory(cache_dir, name);
    const std::string current = current_build(directory);
    ORKESTR_TRY(const auto builds, directories_in(directory));
    for (const auto& build : builds) {
      const std::string path = directory + "/" + build;
      if (build.starts_with('.') || (build != current && !is_young(path) && !is_young(directory + "/current"))) {
        unused.push_back(path);
        continue;
      }
      auto text = base::read_file(path + "/template.json");
      if (!text) continue;
      const auto json = base::JsonValue::parse(*text);
      // Which kernel it needs is unknown, so none may go.
      if (!json) return json.error().with_context(path + "/template.json");
      kernels_in_use.insert(json->string_or("kernel_version", ""));
      digests.insert(json->string_or("digest", ""));
    }
  }
  ORKESTR_TRY(const auto kernels, directories_in(cache_dir + "/kernels"));
  for (const auto& kernel : kernels) {
    const std::string path = cache_dir + "/kernels/" + kernel;
    if (kernel.starts_with('.') || (!kernels_in_use.contains(kernel) && !is_young(path))) unused.push_back(path);
  }
  ORKESTR_TRY(const auto snapshots, directories_in(cache_dir + "/snapshots"));
  for (const auto& snapshot : snapshots) {
    const std::string path = cache_dir + "/snapshots/" + snapshot;
    if (is_young(path)) continue;
    const auto text = base::read_file(path + "/snapshot.json");
    const auto json = text ? base::JsonValue::parse(*text) : Result<base::JsonValue>(text.error());
    const bool finished = !snapshot.starts_with('.') && json;
    // One of a template that is not here may be of one in the system's cache: then its use keeps it.
    const bool wanted =
        finished && (digests.contains(json->string_or("template_digest", "")) || is_young(path, kUnused_s));
    if (!wanted) unused.push_back(path);
  }
  return unused;
}

}  // namespace orkestr::image
