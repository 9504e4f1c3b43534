#include "registry/pool.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/deadline.hpp"
#include "base/file.hpp"
#include "base/id.hpp"
#include "base/json.hpp"
#include "base/sha256.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "registry/directory.hpp"
#include "registry/registry.hpp"

namespace orkestr::registry {
namespace {

constexpr int kPoolFormat = 1;
constexpr std::size_t kMaxPoolFile = 256U << 10U;
constexpr std::size_t kMaxEntries = 256;
constexpr auto kChangeWithin = std::chrono::seconds(5);
constexpr auto kPoll = std::chrono::milliseconds(2);
constexpr std::int64_t kKeepFailedMs = 60LL * 60 * 1000;
constexpr std::size_t kKeepFailedCount = 8;

std::string config_path(const std::string& state_dir) { return state_dir + "/pool.json"; }

// Where the locks of a key begin: 40 bits of a digest, so that two keys do not meet.
std::int64_t first_byte(std::string_view key) {
  std::int64_t at = 0;
  for (const char digit : base::sha256_hex(key).substr(0, 10)) {
    at = at * 16 + (digit <= '9' ? digit - '0' : digit - 'a' + 10);
  }
  return at * kMaxPoolMembers;
}

Result<base::UniqueFd> open_slots(const std::string& pool_dir) {
  return base::open_at(AT_FDCWD, pool_dir + "/slots", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600);
}

Error unreadable(std::string_view why) {
  return Error(ErrorCode::internal, fmt::format("pool.json: {}; `orkestr pool clear` makes it anew", why));
}

Result<void> check(const PoolEntry& e) {
  if (e.template_name.empty()) return unreadable("an entry has no template");
  if (e.count < 1 || e.count > kMaxPoolMembers) {
    return unreadable(fmt::format("count is {}, allowed are 1 to {}", e.count, kMaxPoolMembers));
  }
  if (!(e.cpu > 0 && e.cpu <= 1024) || e.memory_mb < 1 || e.memory_mb > (1 << 20) || e.disk_mb < 1 ||
      e.disk_mb > (1 << 30) || e.idle_seconds < 1 || e.idle_seconds > 366LL * 86'400 || e.min_available_mb < 0) {
    return unreadable(fmt::format("the entry of {} is no machine that there can be", e.template_name));
  }
  return {};
}

// Nothing unless its supervisor lives.
std::optional<PoolMember> look_at(const std::string& pool_dir, const std::string& id, bool& dead) {
  const auto dir = open_directory(AT_FDCWD, pool_dir + "/" + id);
  if (!dir) return std::nullopt;
  const auto lock = open_lock(dir->get(), O_RDONLY);
  if (!lock) return std::nullopt;  // it has ended
  const auto alive = base::is_byte_locked(lock->get(), kSupervisorByte);
  if (!alive || !*alive) {
    dead = dead || alive.ok();
    return std::nullopt;
  }
  const auto transition = base::is_byte_locked(lock->get(), kTransitionByte);
  auto record = read_record(dir->get(), id);
  if (!record || !transition) return std::nullopt;
  const bool ready = !*transition && record->status == "running";
  return PoolMember{std::move(*record), ready};
}

}  // namespace

std::string pool_to_json(const std::vector<PoolEntry>& entries) {
  base::JsonWriter out;
  out.begin_object().field("format", kPoolFormat).key("pools").begin_array();
  for (const auto& e : entries) {
    out.begin_object()
        .field("template", e.template_name)
        .field("count", std::int64_t{e.count})
        .field("cpu", e.cpu)
        .field("memory_mb", e.memory_mb)
        .field("disk_mb", e.disk_mb)
        .field("idle_seconds", e.idle_seconds)
        .field("min_available_mb", e.min_available_mb)
        .end_object();
  }
  out.end_array().end_object();
  return out.take();
}

Result<std::vector<PoolEntry>> pool_from_json(std::string_view json) {
  auto parsed = base::JsonValue::parse(json);
  if (!parsed) return unreadable(parsed.error().message());
  if (const auto format = parsed->integer_or("format", 0); format != kPoolFormat) {
    return unreadable(fmt::format("it has format {}, this build reads format {}", format, kPoolFormat));
  }
  std::vector<PoolEntry> entries;
  for (const auto& in : (*parsed)["pools"].items()) {
    const PoolEntry defaults;
    PoolEntry e;
    e.template_name = in.string_or("template", "");
    e.count = static_cast<int>(std::clamp<std::int64_t>(in.integer_or("count", 0), -1, kMaxPoolMembers + 1));
    e.cpu = in["cpu"].number().value_or(0);
    e.memory_mb = in.integer_or("memory_mb", 0);
    e.disk_mb = in.integer_or("disk_mb", defaults.disk_mb);
    e.idle_seconds = in.integer_or("idle_seconds", defaults.idle_seconds);
    e.min_available_mb = in.integer_or("min_available_mb", defaults.min_available_mb);
    ORKESTR_CHECK(check(e));
    if (entries.size() >= kMaxEntries) return unreadable(fmt::format("more than {} entries", kMaxEntries));
    entries.push_back(std::move(e));
  }
  return entries;
}

Result<std::vector<PoolEntry>> read_pool(const std::string& state_dir) {
  auto text = base::read_file(config_path(state_dir), kMaxPoolFile);
  if (!text && text.error().code() == ErrorCode::file_not_found) return std::vector<PoolEntry>();
  if (!text) return text.error();
  return pool_from_json(*text);
}

Result<void> change_pool(const std::string& state_dir, const std::function<void(std::vector<PoolEntry>&)>& change) {
  ORKESTR_TRY(const auto pool_dir, prepare_pool_directory(state_dir));
  ORKESTR_TRY(const auto lock,
              base::open_at(AT_FDCWD, pool_dir + "/lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600));
  const auto deadline = base::Deadline::after(kChangeWithin);
  while (true) {
    ORKESTR_TRY(const bool ours, base::try_lock_byte(lock.get(), 0, base::LockKind::write));
    if (ours) break;
    if (deadline.expired()) {
      return Error(ErrorCode::internal, fmt::format("another process has held {}/lock for {} s; try again", pool_dir,
                                                    kChangeWithin.count()));
    }
    std::this_thread::sleep_for(kPoll);
  }
  // One that cannot be read must not stand in the way of writing a good one.
  std::vector<PoolEntry> entries;
  if (auto read = read_pool(state_dir)) entries = std::move(*read);
  change(entries);
  return base::write_file_atomic(config_path(state_dir), pool_to_json(entries) + "\n", 0600);
}

Result<std::string> prepare_pool_directory(const std::string& state_dir) {
  std::string directory = pool_directory(state_dir);
  ORKESTR_CHECK(base::make_directories(directory, 0700));
  return directory;
}

Result<std::optional<PoolSlot>> take_pool_slot(const std::string& pool_dir, std::string_view key, int count) {
  PoolSlot slot;
  ORKESTR_TRY(slot.lock, open_slots(pool_dir));
  const std::int64_t first = first_byte(key);
  for (; slot.number < std::min(count, kMaxPoolMembers); ++slot.number) {
    ORKESTR_TRY(const bool ours, base::try_lock_byte(slot.lock.get(), first + slot.number, base::LockKind::write));
    if (ours) return std::optional<PoolSlot>(std::move(slot));
  }
  return std::optional<PoolSlot>();
}

Result<int> free_pool_slots(const std::string& pool_dir, std::string_view key, int count) {
  ORKESTR_TRY(const auto slots, open_slots(pool_dir));
  const std::int64_t first = first_byte(key);
  int free = 0;
  for (int i = 0; i < std::min(count, kMaxPoolMembers); ++i) {
    ORKESTR_TRY(const bool taken, base::is_byte_locked(slots.get(), first + i));
    if (!taken) ++free;
  }
  return free;
}

std::vector<PoolMember> live_pool_members(const std::string& pool_dir, bool* dead) {
  std::vector<PoolMember> members;
  const auto names = base::list_directory(pool_dir);
  if (!names) return members;
  bool found_dead = false;
  for (const auto& name : *names) {
    if (!base::is_sandbox_id(name)) continue;
    if (auto member = look_at(pool_dir, name, found_dead)) members.push_back(std::move(*member));
  }
  if (dead != nullptr) *dead = found_dead;
  return members;
}

Result<std::vector<Record>> sweep_pool(const std::string& pool_dir) {
  std::vector<Record> failed;
  auto entries = scan(pool_dir);
  if (!entries && entries.error().code() == ErrorCode::file_not_found) return failed;
  if (!entries) return entries.error();
  for (auto& entry : *entries) {
    if (entry.alive || !entry.record.ended()) continue;
    const bool keep = entry.record.status == "failed" && failed.size() < kKeepFailedCount &&
                      base::wall_clock_ms() - entry.record.ended_at_ms < kKeepFailedMs;
    if (!keep) {
      ORKESTR_CHECK(base::remove_tree(pool_dir + "/" + entry.record.id));
      continue;
    }
    failed.push_back(std::move(entry.record));
  }
  return failed;
}

}  // namespace orkestr::registry
