// Templates: the images that sandboxes start from. A template is built once from its recipe, on this machine, and is
// read-only from then on; every sandbox of it adds a disk of its own.
//
//   for (const auto& info : orkestr::Template::list().value()) …
//   orkestr::Template::build("python-3.12", {.on_progress = show}).value();
//
// Building takes minutes and needs the network and the clients mmdebstrap, mvn, npm and pip, whose own settings
// (mirrors, proxies, certificates) apply; using a template needs none of these. What root builds is in
// /var/lib/orkestr/cache, for every user. An ordinary user builds the same image into a cache of its own, in a user
// namespace: for that it needs subordinate ids (subuid(5)) and newuidmap, and is told so. ORKESTR_HOME names another
// place. Two builds at once in one place run one after the other, whatever processes they are in, and the second finds
// the work done.
//
// Thread safety: static functions without state; any thread. The plain functions work in the caller's thread. The
// *_async ones work on a thread of the client, which Client::close() ends (the operation is `cancelled`); progress is
// reported on the thread that works.
#pragma once

#include <cstdint>
#include <optional>
#include <orkestr/client.hpp>
#include <orkestr/operation.hpp>
#include <orkestr/options.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace orkestr {

// One thing that went into a template.
struct TemplatePart {
  std::string source;       // "kernel", "debian", "maven", "npm", "pip"
  std::string name;         // "bash", "numpy"; for the distribution itself its suite, "bookworm"
  std::string version;      // exact; empty for the distribution itself
  std::string origin;       // where from: the coordinates, the wheel's name, the mirrors' addresses
  std::string sha256;       // of the file as the registry served it; empty for packages that apt checks by signature
  std::uint64_t bytes = 0;  // of that file; 0 where unknown
};

struct TemplateInfo {
  std::string name;
  std::string description;
  bool built = false;         // the fields below are empty or 0 unless built
  bool current = false;       // built from the recipe that this library has; otherwise build() makes it anew
  std::string build_id;       //
  std::string directory;      // of the build's files
  TimePoint created_at;       //
  std::uint64_t bytes = 0;    // size of the image of the root file system
  std::string digest;         // over image, disk and kernel: two templates with the same digest start the same machine
  std::string image_sha256;   //
  std::string recipe_sha256;  // of the recipe it was built from (of the one there is, when not built)
  std::string kernel;         // release and package version
  std::vector<TemplatePart> parts;  // where everything came from, in order; only from inspect(), build() and prepare()
};

struct TemplateBuildOptions {
  bool force = false;  // build although it is there and current
  // The text of a recipe of your own: JSON, described in docs/TEMPLATES.md. Its name must not be a built-in one.
  std::string recipe{};
  // prepare() only: the machine whose snapshot is made ready; limits and meaning as in CreateOptions.
  Size size = Size::small;
  std::optional<double> cpu{};
  std::optional<int> memory_mb{};
  std::optional<int> disk_mb{};
  ProgressCallback on_progress{};
};

class ORKESTR_API Template {
 public:
  // Builds the template unless it is there already, made from the same recipe. `name` may be empty with a recipe of
  // your own, which names itself. Errors: template_not_found for an unknown name (with the nearest ones);
  // template_build_failed with the step (details().stage), its output (details().console_tail) and what to do;
  // invalid_argument for a recipe that is wrong.
  static Result<TemplateInfo> build(std::string_view name, TemplateBuildOptions options = {},
                                    std::optional<Client> client = {});
  // Makes everything ready that a first create() would otherwise have to do or could stumble over: builds the template
  // if it is missing, makes the guest's initramfs, compares all files with their checksums, and makes the snapshot of a
  // running machine that every create() of this size is a copy of. For installers and images of machines.
  static Result<TemplateInfo> prepare(std::string_view name, TemplateBuildOptions options = {},
                                      std::optional<Client> client = {});
  // Every template there is a recipe for or a build of, by name.
  static Result<std::vector<TemplateInfo>> list(std::optional<Client> client = {});
  // One of them, with its parts. A known template that is not built is a value with `built == false`. Errors:
  // template_not_found, template_build_failed when it is damaged.
  static Result<TemplateInfo> inspect(std::string_view name, std::optional<Client> client = {});
  // Removes its builds, and kernels that only they used. Sandboxes that run from it live on. Errors:
  // template_not_found, also when it is not built, so that nothing is removed; not_permitted when it is another user's.
  static Result<void> remove(std::string_view name, std::optional<Client> client = {});

  static Operation<TemplateInfo> build_async(std::string_view name, TemplateBuildOptions options = {},
                                             std::optional<Client> client = {});
  static Operation<TemplateInfo> prepare_async(std::string_view name, TemplateBuildOptions options = {},
                                               std::optional<Client> client = {});
};

}  // namespace orkestr
