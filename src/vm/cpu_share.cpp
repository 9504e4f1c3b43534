#include "vm/cpu_share.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string_view>
#include <utility>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::vm {
namespace {

// The period of the limit: shorter stalls the guest less at a time, longer costs less; the kernel's own default.
constexpr long kPeriodUs = 100'000;
constexpr const char* kPrefix = "orkestr-";
// QEMU's own memory beside the guest's: 64 MiB of translated code, its heap and stacks, the caches of its disks; 70 MiB
// were seen of a guest that had used all of its own.
constexpr int kOverheadMb = 256;
constexpr long kLeastQuotaUs = 1'000;  // the kernel's

Error no_share(std::string why) { return Error(ErrorCode::not_supported, std::move(why)); }

// "" for the root of the tree, else "/a/b".
Result<std::string> own_cgroup(const CgroupPlaces& places) {
  ORKESTR_TRY(const std::string text, base::read_file(places.own, 64U << 10U));
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.substr(0, 4) != "0::/") continue;
    const std::string_view path = line.substr(3);
    return std::string(path == "/" ? "" : path);
  }
  return no_share("this process is in no cgroup of version 2");
}

Result<std::string> parent_directory(const CgroupPlaces& places) {
  if (!places.configured.empty()) return places.configured;
  ORKESTR_TRY(const std::string own, own_cgroup(places));
  return places.mount + own.substr(0, own.empty() ? 0 : own.rfind('/'));
}

bool has_word(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const bool starts = at == 0 || text[at - 1] == ' ';
    const std::size_t end = at + word.size();
    if (starts && (end == text.size() || text[end] == ' ' || text[end] == '\n')) return true;
  }
  return false;
}

// What a supervisor that was killed left: empty cgroups of ours. A young one may be somebody's who is about to fill it.
void sweep(const std::string& parent) {
  constexpr long kYoungSeconds = 60;
  auto names = base::list_directory(parent);
  if (!names) return;
  for (const std::string& name : *names) {
    if (name.substr(0, std::strlen(kPrefix)) != kPrefix) continue;
    const std::string path = parent + "/" + name;
    struct stat s {};
    if (::stat(path.c_str(), &s) == 0 && ::time(nullptr) - s.st_ctim.tv_sec > kYoungSeconds) ::rmdir(path.c_str());
  }
}

Result<void> write_control(const std::string& path, std::string_view text) {
  ORKESTR_TRY(const auto file, base::open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0644));
  return base::write_all(file.get(), text);
}

}  // namespace

Result<CpuShare> CpuShare::create(const CgroupPlaces& places, const std::string& name, double cpus, int memory_mb) {
  ORKESTR_TRY(const std::string parent, parent_directory(places));
  auto controllers = base::read_file(parent + "/cgroup.subtree_control", 4096);
  if (!controllers) return no_share(fmt::format("{} is no cgroup of version 2", parent));
  if (!has_word(*controllers, "cpu")) {
    return no_share(fmt::format(
        "{} does not hand the cpu controller to its children (no `cpu` in cgroup.subtree_control)", parent));
  }
  sweep(parent);
  const std::string path = parent + "/" + kPrefix + name;
  if (::mkdir(path.c_str(), 0755) != 0) return no_share(fmt::format("cannot make {}: {}", path, std::strerror(errno)));
  CpuShare share(path);
  const long quota = std::max(kLeastQuotaUs, std::lround(cpus * kPeriodUs));
  if (auto limited = write_control(path + "/cpu.max", fmt::format("{} {}", quota, kPeriodUs)); !limited) {
    return no_share(limited.error().message());
  }
  if (has_word(*controllers, "memory")) {
    const std::int64_t bytes = std::int64_t{memory_mb + kOverheadMb} << 20U;
    if (auto limited = write_control(path + "/memory.max", std::to_string(bytes)); !limited) {
      return no_share(limited.error().message());
    }
  }
  return share;
}

CpuShare::CpuShare(CpuShare&& other) noexcept : path_(std::exchange(other.path_, {})) {}

CpuShare::~CpuShare() {
  if (!path_.empty()) ::rmdir(path_.c_str());
}

Result<void> CpuShare::add(pid_t pid) const { return write_control(path_ + "/cgroup.procs", std::to_string(pid)); }

}  // namespace orkestr::vm
