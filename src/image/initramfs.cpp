#include "image/initramfs.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/file.hpp"
#include "base/sha256.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "image/archive.hpp"
#include "image/kernel.hpp"
#include "image/tool.hpp"

namespace orkestr::image {
namespace {

constexpr std::string_view kStage = "initramfs";
constexpr std::size_t kMaxAgentBytes = 64U << 20U;
constexpr std::size_t kMaxModuleBytes = 16U << 20U;
// Part of every key: changes when the archive's layout does.
constexpr int kLayout = 1;

std::string stamp_name(const struct stat& agent, const KernelFiles& kernel) {
  const std::string identity = fmt::format(
      "{}:{}:{}:{}:{}.{}:{}.{}:{}:{}", kLayout, agent.st_dev, agent.st_ino, agent.st_size, agent.st_mtim.tv_sec,
      agent.st_mtim.tv_nsec, agent.st_ctim.tv_sec, agent.st_ctim.tv_nsec, kernel.version, kernel.modules_sha256);
  return base::sha256_hex(identity).substr(0, 32) + ".stamp";
}

bool is_key(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

// The archive that a stamp in `directory` stands for, when both are there.
std::string find_stamped(const std::string& directory, const std::string& stamp) {
  auto key = base::read_file(directory + "/" + stamp, 64);
  if (!key || !is_key(*key)) return {};
  std::string path = fmt::format("{}/{}.cpio", directory, *key);
  return ::access(path.c_str(), R_OK) == 0 ? path : std::string();
}

}  // namespace

void collect_initramfs(const std::string& cache_dir, const std::vector<std::string>& keep) {
  const std::string directory = cache_dir + "/initramfs";
  auto names = base::list_directory(directory);
  if (!names) return;
  for (const auto& name : *names) {
    if (std::find(keep.begin(), keep.end(), name) != keep.end()) continue;
    const std::string path = directory + "/" + name;
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && info.st_mtime < std::time(nullptr) - 3600) {
      ::unlink(path.c_str());
    }
  }
}

Result<std::string> make_initramfs(std::string_view agent, const std::vector<NamedFile>& modules) {
  std::vector<CpioEntry> entries;
  auto directory = [&](std::string path) { entries.push_back({std::move(path), S_IFDIR | 0755, {}, 0, 0}); };
  for (const char* path : {"dev", "proc", "sys", "run", "newroot", "modules"}) directory(path);
  entries.push_back({"dev/console", S_IFCHR | 0600, {}, 5, 1});
  entries.push_back({"init", S_IFREG | 0755, std::string(agent), 0, 0});
  for (const auto& module : modules)
    entries.push_back({"modules/" + module.name, S_IFREG | 0644, module.content, 0, 0});
  return make_cpio(entries);
}

Result<std::string> ensure_initramfs(const std::string& cache_dir, std::string_view kernel_version,
                                     const std::string& agent_path, const std::string& writable_cache_dir) {
  ORKESTR_TRY(const KernelFiles kernel, open_kernel(cache_dir, kernel_version));
  struct stat info {};
  if (::stat(agent_path.c_str(), &info) != 0) {
    return build_error(kStage,
                       fmt::format("the guest agent {} cannot be read: {}. It is installed with the library; in a "
                                   "build tree make it with `./dev build`.",
                                   agent_path, base::errno_error("stat", errno).message()));
  }
  const std::string stamp = stamp_name(info, kernel);
  for (const auto& cache : {cache_dir, writable_cache_dir}) {
    if (auto found = find_stamped(cache + "/initramfs", stamp); !found.empty()) return found;
  }

  ORKESTR_TRY(const std::string agent, base::read_file(agent_path, kMaxAgentBytes));
  if (agent.substr(0, 4) != "\177ELF") {
    return build_error(kStage,
                       fmt::format("{} is not an ELF program; it cannot be the guest's first process", agent_path));
  }
  const std::string key =
      base::sha256_hex(fmt::format("{} {} {}", kLayout, base::sha256_hex(agent), kernel.modules_sha256));
  const std::string directory = writable_cache_dir + "/initramfs";
  const std::string path = fmt::format("{}/{}.cpio", directory, key);
  if (!base::exists(path)) {
    std::vector<NamedFile> modules;
    for (const auto& name : kernel.modules) {
      ORKESTR_TRY(std::string content, base::read_file(kernel.directory + "/modules/" + name, kMaxModuleBytes));
      modules.push_back({name, std::move(content)});
    }
    ORKESTR_TRY(const std::string archive, make_initramfs(agent, modules));
    ORKESTR_CHECK(base::make_directories(directory, 0755));
    ORKESTR_CHECK(base::write_file_atomic(path, archive, 0444));
  }
  // The stamp last: it vouches for the archive. An agent replaced meanwhile has another inode or ctime, and so another
  // stamp.
  ORKESTR_CHECK(base::write_file_atomic(directory + "/" + stamp, key, 0444));
  collect_initramfs(writable_cache_dir, {key + ".cpio", stamp});
  return path;
}

}  // namespace orkestr::image
