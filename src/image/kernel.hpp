// The guest's kernel: the distribution's cloud kernel, taken apart into what QEMU boots and the agent loads.
//
// kernels/VERSION/ in a cache directory, complete or absent:
//   vmlinux            the ELF inside the bzImage, entered through its PVH note (booting it skips the decompressor)
//   modules/NN-name.ko what the guest needs beyond the built-in drivers, uncompressed, numbered in an order in which
//   each loads kernel.json        version, package, digests
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/tool.hpp"
#include "orkestr/error.hpp"

namespace orkestr::image {

struct KernelFiles {
  std::string version;    // "6.1.0-41-cloud-amd64_6.1.158-1": the release that uname prints, and the package's version
  std::string directory;  // …/kernels/VERSION
  std::string vmlinux;
  std::string vmlinux_sha256;
  std::string modules_sha256;        // over names and contents, in order
  std::vector<std::string> modules;  // file names in modules/, in load order
};

// The kernel `version` of this cache; template_build_failed when it is missing or its kernel.json cannot be read.
Result<KernelFiles> open_kernel(const std::string& cache_dir, std::string_view version);

// The newest kernel that the host's apt offers: downloads and unpacks it into `cache_dir` unless it is there already.
// Needs no root. template_build_failed names the missing tool, or `apt-get update`
// when apt has no lists.
Result<KernelFiles> ensure_kernel(const std::string& cache_dir, const ToolContext& tools);

// The ELF inside a bzImage (setup-header fields payload_offset and payload_length; any compression that decompress()
// knows), checked to have a PVH entry. Pure; nothing in `bzimage` is trusted.
Result<std::string> extract_vmlinux(std::string_view bzimage);

struct Module {
  std::string name;     // with underscores, as the kernel spells it
  std::string content;  // uncompressed
};
// Reads one module by name: nothing when it is built into the kernel, an error when there is none.
using ModuleReader = std::function<Result<std::optional<Module>>(std::string_view name)>;
// The wanted modules and all they depend on, each after its dependencies. A cycle is an error.
Result<std::vector<Module>> order_modules(const std::vector<std::string>& wanted, const ModuleReader& read);

}  // namespace orkestr::image
