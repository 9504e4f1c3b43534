#include <fmt/format.h>
#include <fts.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/file.hpp"
#include "base/places.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "image/build_lock.hpp"
#include "image/unused.hpp"
#include "image/user_namespace.hpp"
#include "orkestr/host.hpp"
#include "registry/kept_files.hpp"
#include "registry/pool.hpp"
#include "registry/registry.hpp"

namespace orkestr {
namespace {

// A build takes minutes: who cleans up does not wait for one.
constexpr auto kLockPatience = std::chrono::seconds(1);

// What is allocated under a path, in bytes. 0 for what is not there.
std::uint64_t allocated_bytes(const std::string& path) {
  std::string root = path;
  std::array<char*, 2> roots{root.data(), nullptr};
  const std::unique_ptr<FTS, int (*)(FTS*)> tree(::fts_open(roots.data(), FTS_PHYSICAL | FTS_NOCHDIR, nullptr),
                                                 [](FTS* t) { return t == nullptr ? 0 : ::fts_close(t); });
  std::uint64_t bytes = 0;
  while (FTSENT* entry = tree ? ::fts_read(tree.get()) : nullptr) {
    if (entry->fts_info == FTS_DP || entry->fts_info == FTS_NS || entry->fts_info == FTS_ERR) continue;
    bytes += static_cast<std::uint64_t>(entry->fts_statp->st_blocks) * 512;
  }
  return bytes;
}

Result<void> collect_sandboxes(const std::string& sandboxes, GcReport& report) {
  const std::uint64_t before = allocated_bytes(sandboxes);
  ORKESTR_TRY(const auto dead, registry::find_dead(sandboxes));
  ORKESTR_CHECK(registry::scan(sandboxes));  // reaps
  ORKESTR_TRY(const auto still, registry::find_dead(sandboxes));
  for (const auto& id : dead) {
    if (std::find(still.begin(), still.end(), id) == still.end()) report.reaped.push_back(id);
  }
  ORKESTR_TRY(report.forgotten, registry::forget_old(sandboxes, base::wall_clock_ms()));
  // A sandbox that is born meanwhile must not make this negative.
  const std::uint64_t after = allocated_bytes(sandboxes);
  if (before > after && !(report.reaped.empty() && report.forgotten.empty())) report.bytes += before - after;
  return {};
}

// Killed members of the warm pool. Those that live are in nobody's way: what they are worth says the configuration.
Result<void> collect_pool(const std::string& pool, GcReport& report) {
  const std::uint64_t before = allocated_bytes(pool);
  ORKESTR_TRY(const auto dead, registry::find_dead(pool));
  ORKESTR_CHECK(registry::sweep_pool(pool));
  ORKESTR_TRY(const auto still, registry::find_dead(pool));
  for (const auto& id : dead) {
    if (std::find(still.begin(), still.end(), id) == still.end()) report.reaped.push_back(id);
  }
  const std::uint64_t after = allocated_bytes(pool);
  if (before > after && !dead.empty()) report.bytes += before - after;
  return {};
}

Result<void> remove_each(const std::vector<std::string>& paths, Result<void> (*remove)(const std::string&),
                         GcReport& report) {
  for (const auto& path : paths) {
    const std::uint64_t bytes = allocated_bytes(path);
    ORKESTR_CHECK(remove(path));
    report.removed.push_back(path);
    report.bytes += bytes;
  }
  return {};
}

Result<void> collect_kept(const std::string& state, GcReport& report) {
  ORKESTR_TRY(const auto unlinked, registry::find_unlinked(state));
  return remove_each(unlinked, base::remove_tree, report);
}

Result<void> collect_cache(const std::string& cache, GcReport& report) {
  const auto candidates = image::find_unused(cache);
  if (!candidates) return candidates.error();
  if (candidates->empty()) return {};
  const auto lock = image::BuildLock::take(cache, {}, {base::Deadline::after(kLockPatience), {}, {}}, {});
  if (!lock) {
    report.skipped = "the cache was left alone: " + lock.error().message();
    return {};
  }
  ORKESTR_TRY(const auto unused, image::find_unused(cache));  // now nobody else makes or removes any
  return remove_each(unused, image::remove_built, report);
}

}  // namespace

Result<GcReport> gc() {
  ORKESTR_TRY(const auto places, base::find_places());
  ORKESTR_TRY(const std::string sandboxes, registry::prepare_state_directory(places.state_dir));
  GcReport report;
  ORKESTR_CHECK(collect_sandboxes(sandboxes, report));
  ORKESTR_CHECK(collect_pool(registry::pool_directory(places.state_dir), report));
  ORKESTR_CHECK(collect_kept(places.state_dir, report));
  ORKESTR_CHECK(collect_cache(places.cache_dir, report));
  return report;
}

}  // namespace orkestr
