#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/file.hpp"
#include "base/system.hpp"
#include "host/inspect.hpp"
#include "image/build_lock.hpp"
#include "image/unused.hpp"
#include "registry/pool.hpp"
#include "registry/registry.hpp"

namespace orkestr::host {
namespace {

constexpr std::uint64_t kMb = 1U << 20U;
// A sandbox's disk holds what its guest writes; a template is at most half a gigabyte, its build several.
constexpr std::uint64_t kLittleDisk = 2048 * kMb;
constexpr std::uint64_t kNoDisk = 256 * kMb;
// A small sandbox may grow to its 1 GiB; a cold boot holds a quarter of that.
constexpr std::uint64_t kLittleMemory = 1536 * kMb;
constexpr std::uint64_t kNoMemory = 320 * kMb;

bool fix_mode(const std::string& path, unsigned mode) { return ::chmod(path.c_str(), mode) == 0; }

bool inspect_directory(const std::string& check, const std::string& path, unsigned mode, Findings& findings) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno != ENOENT) {
      findings.problem(
          check, fmt::format("{}: {}", path, std::strerror(errno)),
          fmt::format("make it reachable for user {}, or set ORKESTR_HOME to another directory", ::geteuid()));
      return false;
    }
    if (!findings.fix()) {
      findings.warning(check, fmt::format("{} is not there yet; the first sandbox makes it", path),
                       "orkestr doctor --fix");
      return false;
    }
    // As the library would: with the right modes for the directories above it, too.
    if (const auto made = base::find_places(); !made) {
      findings.problem(check, made.error().message(), "mkdir -p " + path);
      return false;
    }
    findings.fixed(check, fmt::format("{} is made", path));
    return true;
  }
  if (S_ISLNK(info.st_mode) && ::stat(path.c_str(), &info) != 0) {
    findings.problem(check, fmt::format("{} is a link that leads nowhere", path), "rm " + path);
    return false;
  }
  if (!S_ISDIR(info.st_mode)) {
    findings.problem(check, fmt::format("{} is no directory", path), fmt::format("mv {0} {0}.away", path));
    return false;
  }
  if (info.st_uid != ::geteuid()) {
    findings.problem(check, fmt::format("{} belongs to user {}, this is user {}", path, info.st_uid, ::geteuid()),
                     fmt::format("sudo chown {} {}", ::geteuid(), path));
    return false;
  }
  if (const unsigned excess = info.st_mode & 0777U & ~mode; excess != 0) {
    const std::string was =
        fmt::format("{} has mode {:04o}: others can read or change it", path, info.st_mode & 07777U);
    if (findings.fix() && fix_mode(path, mode)) {
      findings.fixed(check, fmt::format("{}; now it has {:04o}", was, mode));
      return true;
    }
    findings.problem(check, was, fmt::format("chmod {:04o} {}", mode, path));
    return false;
  }
  findings.ok(check, fmt::format("{} ({:04o})", path, info.st_mode & 07777U));
  return true;
}

void inspect_space(std::string_view what, const std::string& path, Findings& findings) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) return;  // it is not there: already said
  const std::uint64_t free = std::uint64_t{info.f_bavail} * info.f_frsize;
  const std::string message = fmt::format("{} free for {} in {}", size_text(free), what, path);
  const std::string remedy = "orkestr gc; df -h " + path;
  if (free < kNoDisk) return findings.problem("disk space", message, remedy);
  if (free < kLittleDisk) return findings.warning("disk space", message, remedy);
  findings.ok("disk space", message);
}

std::uint64_t available_memory() {
  auto text = base::read_file("/proc/meminfo", 64U << 10U);
  if (!text) return 0;
  constexpr std::string_view kName = "MemAvailable:";
  const auto at = text->find(kName);
  if (at == std::string::npos) return 0;
  const auto digits = text->find_first_not_of(' ', at + kName.size());
  std::uint64_t kb = 0;
  if (digits != std::string::npos) std::from_chars(text->data() + digits, text->data() + text->size(), kb);
  return kb * 1024;
}

}  // namespace

std::string size_text(std::uint64_t bytes) {
  if (bytes >= 1024 * kMb) return fmt::format("{:.1f} GB", static_cast<double>(bytes) / (1024.0 * kMb));
  if (bytes >= kMb) return fmt::format("{} MB", bytes / kMb);
  return fmt::format("{} KB", (bytes + 1023) / 1024);
}

bool inspect_places(const base::Places& places, Findings& findings) {
  if (const auto home = base::check_home(places.home); !home) {
    findings.problem("ORKESTR_HOME", home.error().message(), "see the message, or set it to another directory");
    return false;
  }
  const bool state = inspect_directory("state directory", places.state_dir, base::state_dir_mode(), findings);
  const bool cache = inspect_directory("cache directory", places.cache_dir, base::cache_dir_mode(), findings);
  if (state) {
    if (const auto file = base::make_unnamed_file(places.state_dir); !file) {
      findings.problem("state directory", file.error().message(),
                       "set ORKESTR_HOME to a directory on ext4, xfs, btrfs or tmpfs");
      return false;
    }
  }
  return state && cache;
}

void inspect_room(const base::Places& places, Findings& findings) {
  inspect_space("sandboxes", places.state_dir, findings);
  inspect_space("templates", places.cache_dir, findings);
  const std::uint64_t memory = available_memory();
  if (memory == 0) return;
  const std::string message = fmt::format("{} of memory available", size_text(memory));
  if (memory < kNoMemory) return findings.problem("memory", message, "orkestr ls; end what is not needed");
  if (memory < kLittleMemory) return findings.warning("memory", message, "orkestr ls; end what is not needed");
  findings.ok("memory", message);
}

void inspect_leftovers(const base::Places& places, Findings& findings) {
  const std::string sandboxes = places.state_dir + "/sandboxes";
  auto dead = registry::find_dead(sandboxes);
  auto unused = image::find_unused(places.cache_dir);
  // What a build under way has made looks the same.
  if (unused && image::is_building(places.cache_dir)) unused->clear();
  const auto in_pool = registry::find_dead(registry::pool_directory(places.state_dir));
  if (dead && in_pool) dead->insert(dead->end(), in_pool->begin(), in_pool->end());
  if (!dead) return findings.warning("leftovers", dead.error().message(), "orkestr gc");
  if (!unused) return findings.warning("leftovers", unused.error().message(), "orkestr template list");
  if (dead->empty() && unused->empty()) return findings.ok("leftovers", "none");
  const std::string message =
      fmt::format("{} dead sandboxes, {} unused directories in the cache", dead->size(), unused->size());
  if (!findings.fix()) return findings.warning("leftovers", message, "orkestr gc");
  const auto cleaned = gc();
  if (!cleaned) return findings.warning("leftovers", cleaned.error().message(), "orkestr gc");
  if (!cleaned->skipped.empty()) return findings.warning("leftovers", cleaned->skipped, "orkestr gc");
  findings.fixed("leftovers", fmt::format("{}; removed, {}", message, size_text(cleaned->bytes)));
}

}  // namespace orkestr::host
