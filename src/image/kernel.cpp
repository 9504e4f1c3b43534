#include "image/kernel.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "base/file.hpp"
#include "base/json.hpp"
#include "base/sha256.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "image/archive.hpp"
#include "image/elf.hpp"
#include "image/staging.hpp"
#include "image/tool.hpp"

namespace orkestr::image {
namespace {

constexpr std::string_view kStage = "kernel";
constexpr const char* kAdvice =
    "Is the Debian mirror reachable? `apt-get update` tells; proxies and mirrors are set in /etc/apt.";
constexpr std::size_t kMaxKernelBytes = 256U << 20U;
constexpr std::size_t kMaxModuleBytes = 16U << 20U;

// What the guest needs: the channel to the host, its two disks, entropy, and the two file systems of its root.
const std::vector<std::string>& wanted_modules() {
  static const std::vector<std::string> names = {"virtio_mmio", "virtio_console", "virtio_blk", "virtio_rng",
                                                 "erofs",       "overlay",        "ext4"};
  return names;
}

std::string normalised(std::string_view module) {
  std::string name(module);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// "kernel/fs/erofs/erofs.ko.xz" → "erofs"; empty for anything that is not a module.
std::string module_name(std::string_view path) {
  const auto slash = path.rfind('/');
  if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  const auto dot = path.find(".ko");
  return dot == std::string_view::npos ? std::string() : normalised(path.substr(0, dot));
}

template <class T>
T load(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

// ---- the package

struct Package {
  std::string name;     // linux-image-6.1.0-41-cloud-amd64
  std::string version;  // 6.1.158-1
  std::string release() const { return name.substr(std::strlen("linux-image-")); }
  std::string directory() const { return release() + "_" + version; }
};

// A package name or version as Debian's policy allows them; these become file names and arguments.
bool is_package_word(std::string_view text) {
  return !text.empty() && text.front() != '-' && text.front() != '.' &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-~:") == text.npos;
}

// The package behind the meta package, from a line "Depends: linux-image-6.1.0-41-cloud-amd64 (= 6.1.158-1)".
Result<Package> newest_package(const ToolContext& tools) {
  ORKESTR_TRY(const std::string apt_cache, find_tool(kStage, "apt-cache", "apt"));
  constexpr std::string_view kMeta = "linux-image-cloud-amd64";
  ToolRun run{std::string(kStage), {apt_cache, "show", "--no-all-versions", std::string(kMeta)}, {}, {}, {}};
  auto shown = run_tool(run, {tools.deadline, {}, tools.stop});
  const std::string refresh = fmt::format("apt knows no package {}. Refresh its lists with: {}apt-get update", kMeta,
                                          ::geteuid() == 0 ? "" : "sudo ");
  if (!shown) {
    const std::string& output = shown.error().details().console_tail;
    const bool unknown =
        output.find("No packages found") != output.npos || output.find("Unable to locate") != output.npos;
    if (!unknown) return shown.error();
    return build_error(kStage, refresh, output);
  }
  const std::string_view text = *shown;
  constexpr std::string_view kDepends = "\nDepends: linux-image-";
  const auto at = text.find(kDepends);
  if (at == text.npos) return build_error(kStage, refresh, *shown);
  std::string_view depends = text.substr(at + std::strlen("\nDepends: "));
  depends = depends.substr(0, depends.find_first_of(",\n"));
  const auto open = depends.find(" (= ");
  const auto close = depends.find(')');
  if (open == depends.npos || close == depends.npos || close < open) return build_error(kStage, refresh, *shown);
  Package package{std::string(depends.substr(0, open)), std::string(depends.substr(open + 4, close - open - 4))};
  if (!is_package_word(package.name) || !is_package_word(package.version)) {
    return build_error(kStage, "apt gave a package name that is none", *shown);
  }
  return package;
}

// Downloads and unpacks the package; returns the directory of its content.
Result<std::string> fetch_package(const Package& package, const std::string& work, const ToolContext& tools) {
  ORKESTR_TRY(const std::string apt_get, find_tool(kStage, "apt-get", "apt"));
  ORKESTR_TRY(const std::string dpkg_deb, find_tool(kStage, "dpkg-deb", "dpkg"));
  ToolRun download{std::string(kStage), {apt_get, "download"}, work, {}, kAdvice};
  // apt's own download user cannot write into our private directory; apt would only warn and do this itself.
  if (::geteuid() == 0) download.argv.insert(download.argv.begin() + 1, {"-o", "APT::Sandbox::User=root"});
  download.argv.push_back(package.name + "=" + package.version);
  ORKESTR_TRY(const std::string output, run_tool(download, tools));
  ORKESTR_TRY(const auto names, base::list_directory(work));
  auto deb = std::find_if(names.begin(), names.end(), [](const std::string& n) { return n.ends_with(".deb"); });
  if (deb == names.end()) return build_error(kStage, "apt-get download left no package file", output);
  std::string content = work + "/package";
  ToolRun unpack{std::string(kStage), {dpkg_deb, "-x", *deb, content}, work, {}, {}};
  ORKESTR_CHECK(run_tool(unpack, tools));
  return content;
}

// ---- the modules

// Every module file below `directory` by name.
Result<void> index_modules(const std::string& directory, int depth, std::map<std::string, std::string>& out) {
  if (depth > 16) return build_error(kStage, "module directories are nested too deeply: " + directory);
  ORKESTR_TRY(const auto names, base::list_directory(directory));
  for (const auto& name : names) {
    const std::string path = directory + "/" + name;
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0) return base::errno_error("look at " + path, errno);
    if (S_ISDIR(info.st_mode)) {
      ORKESTR_CHECK(index_modules(path, depth + 1, out));
    } else if (S_ISREG(info.st_mode)) {
      if (auto module = module_name(name); !module.empty()) out.emplace(std::move(module), path);
    }
  }
  return {};
}

// The package brings no modules.dep (depmod runs when a kernel is installed), so each module is asked itself.
Result<std::vector<Module>> read_modules(const std::string& directory) {
  std::map<std::string, std::string> files;
  ORKESTR_CHECK(index_modules(directory, 0, files));
  ORKESTR_TRY(const std::string builtin_text, base::read_file(directory + "/modules.builtin"));
  std::set<std::string> builtin;
  std::string_view rest = builtin_text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    builtin.insert(module_name(line));
  }
  return order_modules(wanted_modules(), [&](std::string_view name) -> Result<std::optional<Module>> {
    const std::string key(name);
    if (builtin.contains(key)) return std::optional<Module>();
    const auto file = files.find(key);
    if (file == files.end()) {
      return build_error(kStage,
                         fmt::format("the kernel package has no module '{}', and it is not built in either", name));
    }
    ORKESTR_TRY(const std::string packed, base::read_file(file->second, kMaxModuleBytes));
    auto content = decompress(packed, kMaxModuleBytes);
    if (!content) return content.error().with_context(file->second);
    return std::optional<Module>(Module{key, std::move(*content)});
  });
}

// ---- kernels/VERSION

std::string encode_kernel(const KernelFiles& kernel) {
  base::JsonWriter json;
  json.begin_object();
  json.field("version", kernel.version);
  json.field("vmlinux_sha256", kernel.vmlinux_sha256);
  json.field("modules_sha256", kernel.modules_sha256);
  json.key("modules").begin_array();
  for (const auto& name : kernel.modules) json.value(name);
  json.end_array().end_object();
  return json.take() + "\n";
}

Result<KernelFiles> write_kernel(const std::string& content, const Package& package, const std::string& directory) {
  KernelFiles kernel;
  kernel.version = package.directory();
  ORKESTR_TRY(const std::string bzimage,
              base::read_file(content + "/boot/vmlinuz-" + package.release(), kMaxKernelBytes));
  ORKESTR_TRY(const std::string vmlinux, extract_vmlinux(bzimage));
  kernel.vmlinux_sha256 = base::sha256_hex(vmlinux);
  ORKESTR_CHECK(base::write_file_atomic(directory + "/vmlinux", vmlinux, 0444));

  std::string tree = content + "/lib/modules/" + package.release();
  if (!base::exists(tree)) tree = content + "/usr/lib/modules/" + package.release();
  ORKESTR_TRY(const auto modules, read_modules(tree));
  ORKESTR_CHECK(base::make_directories(directory + "/modules", 0755));
  std::string digests;
  for (const Module& module : modules) {
    std::string name = fmt::format("{:02}-{}.ko", kernel.modules.size(), module.name);
    ORKESTR_CHECK(base::write_file_atomic(directory + "/modules/" + name, module.content, 0444));
    digests += fmt::format("{} {}\n", base::sha256_hex(module.content), name);
    kernel.modules.push_back(std::move(name));
  }
  kernel.modules_sha256 = base::sha256_hex(digests);
  ORKESTR_CHECK(base::write_file_atomic(directory + "/kernel.json", encode_kernel(kernel), 0444));
  return kernel;
}

}  // namespace

Result<std::string> extract_vmlinux(std::string_view bzimage) {
  auto refuse = [](std::string_view what) {
    return Error(ErrorCode::template_build_failed, fmt::format("the kernel image is not usable: {}", what));
  };
  // Documentation/x86/boot.rst: setup_sects 0x1f1, "HdrS" 0x202, protocol version 0x206, payload_offset 0x248 and
  // payload_length 0x24c, relative to the start of the protected-mode code, since protocol 2.08.
  constexpr std::size_t kHeaderEnd = 0x250;
  if (bzimage.size() < kHeaderEnd || bzimage.substr(0x202, 4) != "HdrS") return refuse("no Linux boot header");
  if (load<std::uint16_t>(bzimage, 0x206) < 0x208) return refuse("its boot protocol is older than 2.08");
  const auto sectors = load<std::uint8_t>(bzimage, 0x1f1);
  const std::uint64_t start =
      (std::uint64_t{sectors == 0 ? 4U : sectors} + 1) * 512 + load<std::uint32_t>(bzimage, 0x248);
  const std::uint64_t length = load<std::uint32_t>(bzimage, 0x24c);
  if (start > bzimage.size() || length > bzimage.size() - start) return refuse("its payload lies outside of the file");
  std::string_view payload = bzimage.substr(start, length);
  if (payload.size() < 8) return refuse("its payload is empty");

  // The kernel's build appends the uncompressed size to every format but gzip, which ends in it anyway.
  const std::uint32_t size = load<std::uint32_t>(payload, payload.size() - 4);
  if (size > kMaxKernelBytes) return refuse(fmt::format("it unpacks to {} bytes", size));
  if (payload.substr(0, 2) != "\x1f\x8b") payload.remove_suffix(4);
  auto vmlinux = decompress(payload, size);
  if (!vmlinux) return refuse(vmlinux.error().message());
  if (vmlinux->size() != size)
    return refuse(fmt::format("it unpacks to {} bytes instead of {}", vmlinux->size(), size));
  if (auto pvh = check_pvh_kernel(*vmlinux); !pvh) return refuse(pvh.error().message());
  return vmlinux;
}

Result<std::vector<Module>> order_modules(const std::vector<std::string>& wanted, const ModuleReader& read) {
  enum class State { in_progress, done };
  std::map<std::string, State> seen;
  std::vector<Module> ordered;
  std::function<Result<void>(const std::string&)> visit = [&](const std::string& name) -> Result<void> {
    if (auto found = seen.find(name); found != seen.end()) {
      if (found->second == State::done) return {};
      return build_error(kStage, fmt::format("kernel module '{}' depends on itself", name));
    }
    seen[name] = State::in_progress;
    ORKESTR_TRY(auto module, read(name));
    if (module) {
      auto depends = module_depends(module->content);
      if (!depends) return depends.error().with_context("module " + name);
      for (const auto& other : *depends) ORKESTR_CHECK(visit(normalised(other)));
      ordered.push_back(std::move(*module));
    }
    seen[name] = State::done;
    return {};
  };
  for (const auto& name : wanted) ORKESTR_CHECK(visit(normalised(name)));
  return ordered;
}

Result<KernelFiles> open_kernel(const std::string& cache_dir, std::string_view version) {
  KernelFiles kernel;
  kernel.directory = fmt::format("{}/kernels/{}", cache_dir, version);
  auto refuse = [&](std::string_view what) {
    return build_error(kStage,
                       fmt::format("{} is not a usable kernel ({}). Build the template again with `orkestr template "
                                   "build NAME --force`.",
                                   kernel.directory, what));
  };
  const auto split = version.find('_');
  if (split == version.npos || !is_package_word(version.substr(0, split)) ||
      !is_package_word(version.substr(split + 1))) {
    return refuse("not a kernel version");
  }
  auto text = base::read_file(kernel.directory + "/kernel.json");
  if (!text) return refuse(text.error().message());
  auto json = base::JsonValue::parse(*text);
  if (!json) return refuse(json.error().message());
  kernel.version = json->string_or("version", "");
  kernel.vmlinux = kernel.directory + "/vmlinux";
  kernel.vmlinux_sha256 = json->string_or("vmlinux_sha256", "");
  kernel.modules_sha256 = json->string_or("modules_sha256", "");
  for (const auto& item : (*json)["modules"].items()) {
    const auto name = item.string().value_or("");
    if (module_name(name).empty() || name.find('/') != name.npos) return refuse("bad module name");
    kernel.modules.emplace_back(name);
  }
  if (kernel.version != version || kernel.vmlinux_sha256.size() != 64 || kernel.modules.empty()) {
    return refuse("kernel.json is incomplete");
  }
  return kernel;
}

Result<KernelFiles> ensure_kernel(const std::string& cache_dir, const ToolContext& tools) {
  ORKESTR_TRY(const Package package, newest_package(tools));
  if (auto present = open_kernel(cache_dir, package.directory())) {
    ORKESTR_TRY(const std::string digest, base::sha256_file(present->vmlinux));
    if (digest == present->vmlinux_sha256) return present;
  }
  if (tools.on_line) tools.on_line(fmt::format("kernel {} ({})", package.release(), package.version));
  const std::string kernels = cache_dir + "/kernels";
  ORKESTR_TRY(Staging staging, Staging::create(kernels));
  ORKESTR_TRY(const std::string content, fetch_package(package, staging.path(), tools));
  const std::string made = staging.path() + "/kernel";
  ORKESTR_CHECK(base::make_directories(made, 0755));
  ORKESTR_CHECK(write_kernel(content, package, made));
  ORKESTR_CHECK(publish_directory(made, kernels + "/" + package.directory()));
  return open_kernel(cache_dir, package.directory());
}

}  // namespace orkestr::image
