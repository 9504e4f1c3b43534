#include "image/store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <set>

#include "base/file.hpp"
#include "base/json.hpp"
#include "base/sha256.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "image/initramfs.hpp"
#include "image/kernel.hpp"
#include "image/recipe.hpp"
#include "image/tool.hpp"
#include "image/user_namespace.hpp"

namespace orkestr::image {
namespace {

constexpr std::string_view kStage = "open template";
constexpr int kManifestVersion = 1;
constexpr int kCacheVersion = 1;

bool is_digest(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::string build_command(std::string_view name) { return fmt::format("orkestr template build {}", name); }

struct Manifest {
  TemplateFiles files;
  std::string created_at;
  std::string description;
  std::string recipe_sha256;
  std::vector<PartRecord> parts;
};

std::vector<PartRecord> read_parts(const base::JsonValue& json) {
  std::vector<PartRecord> parts;
  for (const auto& item : json.items()) {
    parts.push_back({item.string_or("source", ""), item.string_or("name", ""), item.string_or("version", ""),
                     item.string_or("origin", ""), item.string_or("sha256", ""),
                     static_cast<std::uint64_t>(std::max<std::int64_t>(0, item.integer_or("bytes", 0)))});
  }
  return parts;
}

// A directory without the file is of the first version, or not made yet.
Result<void> check_cache_version(const std::string& cache_dir) {
  auto text = base::read_file(cache_dir + "/version", 64);
  if (!text || *text == fmt::format("{}\n", kCacheVersion)) return {};
  return build_error(kStage,
                     fmt::format("{} has format '{}', this version of orkestr reads {}: a newer one has used it. "
                                 "Upgrade this one, or set ORKESTR_HOME to another directory.",
                                 cache_dir, text->substr(0, text->find('\n')), kCacheVersion));
}

// The build that `current` names, as its template.json describes it; nothing when there is none.
Result<std::optional<Manifest>> read_current(const std::string& cache_dir, std::string_view name) {
  ORKESTR_CHECK(check_cache_version(cache_dir));
  const std::string home = template_directory(cache_dir, name);
  auto current = base::read_file(home + "/current", 256);
  if (!current) {
    if (current.error().code() == ErrorCode::file_not_found || current.error().code() == ErrorCode::not_a_directory) {
      return std::optional<Manifest>();
    }
    return current.error();
  }
  const std::string build_id = current->substr(0, current->find('\n'));
  Manifest manifest;
  TemplateFiles& files = manifest.files;
  files.directory = home + "/" + build_id;
  auto refuse = [&](std::string_view what) {
    return build_error(kStage, fmt::format("{} is damaged: {}. Build it again with `{} --force`.", files.directory,
                                           what, build_command(name)));
  };
  if (!is_template_name(build_id)) return refuse("its 'current' file names no build");
  auto text = base::read_file(files.directory + "/template.json");
  if (!text) return refuse(text.error().message());
  auto json = base::JsonValue::parse(*text);
  if (!json) return refuse(json.error().message());
  if (json->integer_or("version", 0) != kManifestVersion) {
    return refuse(fmt::format("its template.json has version {}, this library reads {}", json->integer_or("version", 0),
                              kManifestVersion));
  }
  files.name = json->string_or("name", "");
  files.build_id = json->string_or("build_id", "");
  files.base_image = files.directory + "/base.erofs";
  files.scratch_image = files.directory + "/scratch.raw";
  files.scratch_overlay = files.directory + "/scratch.qcow2";
  files.base_sha256 = json->string_or("base_sha256", "");
  files.scratch_sha256 = json->string_or("scratch_sha256", "");
  files.overlay_sha256 = json->string_or("overlay_sha256", "");
  files.scratch_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(0, json->integer_or("scratch_bytes", 0)));
  files.kernel_version = json->string_or("kernel_version", "");
  files.kernel_sha256 = json->string_or("kernel_sha256", "");
  files.digest = json->string_or("digest", "");
  manifest.created_at = json->string_or("created_at", "");
  manifest.recipe_sha256 = json->string_or("recipe_sha256", "");
  manifest.parts = read_parts((*json)["parts"]);
  if (files.name != name || files.build_id != build_id) return refuse("its template.json describes another build");
  for (const auto* digest : {&files.base_sha256, &files.scratch_sha256, &files.overlay_sha256, &files.kernel_sha256}) {
    if (!is_digest(*digest)) return refuse("its template.json lacks a digest");
  }
  if (files.digest != combined_digest(files)) return refuse("the digests in its template.json contradict each other");
  return std::optional<Manifest>(std::move(manifest));
}

// Nothing for a name that there is a recipe for.
std::optional<Error> unknown(const std::vector<std::string>& cache_dirs, std::string_view name) {
  std::vector<std::string> known;
  if (auto all = list_templates(cache_dirs)) {
    for (const auto& info : *all) known.push_back(info.name);
  }
  if (std::find(known.begin(), known.end(), name) != known.end()) return std::nullopt;
  return unknown_template(name, known);
}

Error unknown_or_unbuilt(const std::vector<std::string>& cache_dirs, std::string_view name) {
  if (auto error = unknown(cache_dirs, name)) return std::move(*error);
  return Error(ErrorCode::template_not_found,
               fmt::format("template '{}' is not built yet on this machine (looked in {}). Build it once with `{}`, in "
                           "a checkout of the source with `./dev {}`.",
                           name, fmt::join(cache_dirs, ", "), build_command(name), build_command(name)));
}

}  // namespace

bool is_template_name(std::string_view name) {
  constexpr std::string_view kFirst = "abcdefghijklmnopqrstuvwxyz0123456789";
  constexpr std::string_view kRest = "abcdefghijklmnopqrstuvwxyz0123456789.-_";
  return !name.empty() && name.size() <= 64 && kFirst.find(name.front()) != kFirst.npos &&
         name.find_first_not_of(kRest) == name.npos;
}

std::string template_directory(const std::string& cache_dir, std::string_view name) {
  return fmt::format("{}/templates/{}", cache_dir, name);
}

std::string combined_digest(const TemplateFiles& files) {
  return base::sha256_hex(fmt::format("base {}\nscratch {}\noverlay {}\nkernel {}\n", files.base_sha256,
                                      files.scratch_sha256, files.overlay_sha256, files.kernel_sha256));
}

std::string encode_manifest(const TemplateFiles& files, std::string_view recipe_digest, std::string_view created_at,
                            const std::vector<PartRecord>& parts) {
  base::JsonWriter json;
  json.begin_object();
  json.field("version", kManifestVersion);
  json.field("name", files.name);
  json.field("build_id", files.build_id);
  json.field("created_at", created_at);
  json.field("recipe_sha256", recipe_digest);
  json.field("base_sha256", files.base_sha256);
  json.field("scratch_sha256", files.scratch_sha256);
  json.field("scratch_bytes", files.scratch_bytes);
  json.field("overlay_sha256", files.overlay_sha256);
  json.field("kernel_version", files.kernel_version);
  json.field("kernel_sha256", files.kernel_sha256);
  json.field("digest", combined_digest(files));
  json.key("parts").begin_array();
  for (const auto& part : parts) {
    json.begin_object();
    json.field("source", part.source).field("name", part.name).field("version", part.version);
    json.field("origin", part.origin).field("sha256", part.sha256).field("bytes", part.bytes);
    json.end_object();
  }
  json.end_array();
  json.end_object();
  return json.take() + "\n";
}

Result<TemplateFiles> open_template(const std::vector<std::string>& cache_dirs, std::string_view name,
                                    const std::string& agent_path, const std::string& writable_cache_dir) {
  if (!is_template_name(name)) return unknown_or_unbuilt(cache_dirs, name);
  for (const auto& cache_dir : cache_dirs) {
    ORKESTR_TRY(auto manifest, read_current(cache_dir, name));
    if (!manifest) continue;
    TemplateFiles files = std::move(manifest->files);
    ORKESTR_TRY(const KernelFiles kernel, open_kernel(cache_dir, files.kernel_version));
    files.kernel = kernel.vmlinux;
    for (const auto* path : {&files.base_image, &files.scratch_image, &files.scratch_overlay, &files.kernel}) {
      if (::access(path->c_str(), R_OK) == 0) continue;
      return build_error(kStage, fmt::format("template '{}': {}. Build it again with `{} --force`.", name,
                                             base::errno_error("read " + *path, errno).message(), build_command(name)));
    }
    if (!agent_path.empty()) {
      ORKESTR_TRY(files.initrd, ensure_initramfs(cache_dir, files.kernel_version, agent_path, writable_cache_dir));
    }
    return files;
  }
  return unknown_or_unbuilt(cache_dirs, name);
}

namespace {

// What there is to know without a build.
TemplateInfo known_template(const BuiltinRecipe& builtin) {
  TemplateInfo info;
  info.name = builtin.name;
  if (auto recipe = parse_recipe(builtin.json)) {
    info.description = recipe->description;
    info.recipe_sha256 = recipe->digest;
  }
  return info;
}

// Fills in the build, when there is a usable one in `cache_dir`.
void add_build(const std::string& cache_dir, TemplateInfo& info) {
  auto manifest = read_current(cache_dir, info.name);
  if (!manifest || !*manifest) return;
  Manifest& found = **manifest;
  info.built = true;
  // A recipe that is not built in is known by what it made only.
  info.current = info.recipe_sha256.empty() || found.recipe_sha256 == info.recipe_sha256;
  info.recipe_sha256 = std::move(found.recipe_sha256);
  info.cache_dir = cache_dir;
  info.build_id = found.files.build_id;
  info.created_at = std::move(found.created_at);
  info.parts = std::move(found.parts);
  info.files = std::move(found.files);
  struct stat base_image {};
  if (::stat(info.files.base_image.c_str(), &base_image) == 0) {
    info.bytes = static_cast<std::uint64_t>(base_image.st_size);
  }
}

}  // namespace

Result<std::vector<TemplateInfo>> list_templates(const std::vector<std::string>& cache_dirs) {
  std::map<std::string, TemplateInfo> all;
  for (const auto& recipe : builtin_recipes()) all.emplace(recipe.name, known_template(recipe));
  for (const auto& cache_dir : cache_dirs) {
    auto names = base::list_directory(cache_dir + "/templates");
    if (!names) continue;  // not made yet, or not ours to read: then nothing there can be used either
    for (const auto& name : *names) {
      if (!is_template_name(name)) continue;
      TemplateInfo& info = all[name];
      info.name = name;
      if (!info.built) add_build(cache_dir, info);
      info.parts.clear();
    }
  }
  std::vector<TemplateInfo> out;
  for (auto& [name, info] : all) out.push_back(std::move(info));
  return out;
}

Result<TemplateInfo> inspect_template(const std::vector<std::string>& cache_dirs, std::string_view name) {
  TemplateInfo info;
  info.name = name;
  for (const auto& recipe : builtin_recipes()) {
    if (recipe.name == name) info = known_template(recipe);
  }
  if (is_template_name(name)) {
    for (const auto& cache_dir : cache_dirs) {
      ORKESTR_TRY(const auto manifest, read_current(cache_dir, name));  // damage is what a person looks for here
      if (!manifest) continue;
      add_build(cache_dir, info);
      return info;
    }
  }
  if (info.recipe_sha256.empty()) return unknown_or_unbuilt(cache_dirs, name);
  return info;
}

Result<void> prepare_cache(const std::string& cache_dir) {
  ORKESTR_CHECK(check_cache_version(cache_dir));
  auto made = base::make_directories(cache_dir, 0755);
  if (made && !base::exists(cache_dir + "/version")) {
    made = base::write_file_atomic(cache_dir + "/version", fmt::format("{}\n", kCacheVersion), 0644);
  }
  if (made && ::access(cache_dir.c_str(), W_OK) != 0) made = base::errno_error("write in " + cache_dir, errno);
  if (made) return {};
  return build_error("prepare the cache",
                     fmt::format("the cache {} cannot be written: {}. Make it writable for this user, or set "
                                 "ORKESTR_HOME to a directory that is.",
                                 cache_dir, made.error().message()));
}

Result<void> remove_template(const std::string& cache_dir, std::string_view name) {
  const std::string home = template_directory(cache_dir, name);
  if (!is_template_name(name) || !base::exists(home)) {
    if (auto error = unknown({cache_dir}, name)) return std::move(*error);
    return Error(ErrorCode::template_not_found,
                 fmt::format("template '{}' is not built in {}; there is nothing to remove", name, cache_dir));
  }
  // First what makes it a template: a removal that is interrupted must not leave half of one.
  if (::unlink((home + "/current").c_str()) != 0 && errno != ENOENT) {
    return base::errno_error(fmt::format("remove template '{}': remove {}/current", name, home), errno);
  }
  ORKESTR_CHECK(remove_built(home));
  return collect_kernels(cache_dir);
}

Result<void> collect_kernels(const std::string& cache_dir) {
  std::set<std::string> used;
  if (auto names = base::list_directory(cache_dir + "/templates")) {
    for (const auto& name : *names) {
      ORKESTR_TRY(const auto builds, base::list_directory(template_directory(cache_dir, name)));
      for (const auto& build : builds) {
        auto text = base::read_file(fmt::format("{}/{}/template.json", template_directory(cache_dir, name), build));
        if (!text) continue;  // `current`, or no build
        const auto json = base::JsonValue::parse(*text);
        if (!json) return {};  // which kernel it needs is unknown, so none may go
        used.insert(json->string_or("kernel_version", ""));
      }
    }
  }
  auto kernels = base::list_directory(cache_dir + "/kernels");
  if (!kernels) return {};
  bool removed = false;
  for (const auto& kernel : *kernels) {
    if (used.contains(kernel)) continue;
    ORKESTR_CHECK(base::remove_tree(fmt::format("{}/kernels/{}", cache_dir, kernel)));
    removed = true;
  }
  // Which of them are of that kernel is not written anywhere; the others are made again in a moment.
  if (removed) collect_initramfs(cache_dir, {});
  return {};
}

}  // namespace orkestr::image
