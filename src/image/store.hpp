// The store of templates: finished, read-only files under a cache directory.
//
//   version                                 format of this directory; a newer one is refused by name
//   templates/NAME/current                  a file that names the build in use, replaced atomically
//   templates/NAME/BUILD/base.erofs         the root file system
//                       /scratch.raw        an empty ext4, the backing of every sandbox's disk (sparse)
//                       /scratch.qcow2      an empty overlay over it with no path inside: copied for each sandbox
//                       /template.json      what it was made from, and the SHA-256 of each file
//   kernels/VERSION/{vmlinux,modules/NN-name.ko,kernel.json}
//   initramfs/KEY.cpio                      see initramfs.hpp
//   downloads/                              see fetch.hpp
//   build.lock, build.progress              see build_lock.hpp
//
// All files are 0444 and never written again; a directory appears by rename when it is complete. So reading needs no
// lock, and a template in use survives a rebuild: the old build is removed at the rebuild after next.
//
// Thread safety: free functions without state; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/rootfs.hpp"
#include "image/verify.hpp"
#include "orkestr/error.hpp"

namespace orkestr::image {

// The current build of `name`, from the first directory of `cache_dirs` that has one. The initramfs for `agent_path`
// (the orkestr-agent that this library was built with) is looked up, or made in `writable_cache_dir`; with an empty
// `agent_path` it is left out. Costs a few milliseconds: no large file is read. template_not_found: an unknown name
// lists the known ones; a known one that is not built names the command that builds it. template_build_failed: the
// store holds something else than a finished template.
Result<TemplateFiles> open_template(const std::vector<std::string>& cache_dirs, std::string_view name,
                                    const std::string& agent_path, const std::string& writable_cache_dir);

struct TemplateInfo {
  std::string name;
  std::string description;
  bool built = false;
  std::string build_id;     // of the current build; empty unless built, as are the following
  std::string cache_dir;    // where it was found
  std::string created_at;   // ISO 8601, UTC
  std::uint64_t bytes = 0;  // size of the base image
  std::string recipe_sha256;
  bool current = false;           // made from the recipe that this library has under this name
  TemplateFiles files;            // without an initramfs
  std::vector<PartRecord> parts;  // empty when listed
};

// Every template there is a recipe for or a build of, by name.
Result<std::vector<TemplateInfo>> list_templates(const std::vector<std::string>& cache_dirs);

// One of them, with its parts. template_not_found for an unknown name; a known one that is not built is a value.
Result<TemplateInfo> inspect_template(const std::vector<std::string>& cache_dirs, std::string_view name);

// Removes all builds of the template from `cache_dir`, and the kernels that no other refers to. Sandboxes that run from
// it live on. Under the build lock (see build_lock.hpp). template_not_found: it is not in this directory.
Result<void> remove_template(const std::string& cache_dir, std::string_view name);

// Removes the kernels of `cache_dir` that no build of any template refers to. For the holder of the build lock.
Result<void> collect_kernels(const std::string& cache_dir);

// Makes the directory and its version file. template_build_failed when it cannot be written, or is of another version.
Result<void> prepare_cache(const std::string& cache_dir);

// True for lower-case letters, digits, '.', '-' and '_', starting with a letter or digit, at most 64 bytes: what may
// become a directory.
bool is_template_name(std::string_view name);

// For the builder. The paths of the layout above, and what template.json says.
std::string template_directory(const std::string& cache_dir, std::string_view name);
// The digest of TemplateFiles from its parts.
std::string combined_digest(const TemplateFiles& files);
// The JSON text of template.json. `recipe_digest` and `created_at` are recorded for a person and for rebuild decisions.
std::string encode_manifest(const TemplateFiles& files, std::string_view recipe_digest, std::string_view created_at,
                            const std::vector<PartRecord>& parts = {});

}  // namespace orkestr::image
