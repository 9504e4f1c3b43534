// pool_set(), pool_list(), pool_clear().
#include "local/pool.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <thread>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "host/inspect.hpp"
#include "image/store.hpp"
#include "orkestr/host.hpp"
#include "registry/registry.hpp"

namespace orkestr {
namespace {

using local::PoolOrder;
using registry::PoolEntry;

// As long as making the snapshot may take, and then some for every member.
constexpr auto kFilledWithin = std::chrono::seconds(240);
constexpr auto kEndedWithin = std::chrono::seconds(15);
constexpr auto kStartedWithin = std::chrono::seconds(2);
constexpr auto kPoll = std::chrono::milliseconds(25);

Error invalid(std::string text) { return {ErrorCode::invalid_argument, std::move(text)}; }

Result<void> check(const PoolOptions& o) {
  if (o.template_name.empty()) return invalid("template_name is empty; `orkestr template list` shows what there is");
  if (o.count < 0 || o.count > registry::kMaxPoolMembers) {
    return invalid(fmt::format("count is {}; allowed are 0 to {}", o.count, registry::kMaxPoolMembers));
  }
  if (o.cpu && !(*o.cpu >= 0.25 && *o.cpu <= 16)) {
    return invalid(fmt::format("cpu is {}; allowed are 0.25 to 16 CPUs", *o.cpu));
  }
  if (o.memory_mb && (*o.memory_mb < 256 || *o.memory_mb > 65536)) {
    return invalid(fmt::format("memory_mb is {}; allowed are 256 to 65536 MiB", *o.memory_mb));
  }
  if (o.disk_mb && (*o.disk_mb < 8192 || *o.disk_mb > 131072)) {
    return invalid(fmt::format("disk_mb is {}; allowed are 8192 to 131072 MiB", *o.disk_mb));
  }
  if (o.idle_timeout < std::chrono::seconds(10) || o.idle_timeout > std::chrono::hours(366 * 24)) {
    return invalid(fmt::format("idle_timeout is {} s; allowed are 10 s to 366 days", o.idle_timeout.count()));
  }
  if (o.min_available_mb < 0 || o.min_available_mb > (1 << 24)) {
    return invalid(fmt::format("min_available_mb is {}; allowed are 0 to {}", o.min_available_mb, 1 << 24));
  }
  return {};
}

CreateOptions machine_of(const PoolEntry& e) {
  CreateOptions create;
  create.template_name = e.template_name;
  create.cpu = e.cpu;
  create.memory_mb = static_cast<int>(e.memory_mb);
  create.disk_mb = static_cast<int>(e.disk_mb);
  return create;
}

Result<PoolOrder> order_of(const PoolEntry& entry) {
  ORKESTR_TRY(const auto prepared, local::prepare_sandbox(machine_of(entry)));
  return local::pool_order(prepared, entry);
}

std::string metadata_of(const registry::Record& record, const char* name) {
  const auto found = record.metadata.find(name);
  return found == record.metadata.end() ? "" : found->second;
}

int slot_of(const registry::Record& record) {
  const std::string text = metadata_of(record, registry::kPoolSlot);
  int number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

struct Kept {
  std::string key;
  int count = 0;
};

// Ends every member that none of these orders wants: another key, or a slot beyond its count. All are asked before any
// is waited for. Returns how many.
Result<int> end_all_but(const std::string& pool_dir, const std::vector<Kept>& keep) {
  std::vector<std::string> unwanted;
  for (const auto& member : registry::live_pool_members(pool_dir)) {
    const std::string key = metadata_of(member.record, registry::kPoolKey);
    const bool wanted = std::any_of(keep.begin(), keep.end(),
                                    [&](const Kept& k) { return k.key == key && slot_of(member.record) < k.count; });
    if (!wanted) unwanted.push_back(member.record.id);
  }
  const auto deadline = base::Deadline::after(kEndedWithin);
  for (const auto& id : unwanted) {
    (void)local::end_member(pool_dir, id, base::Deadline::after(std::chrono::milliseconds(500)), local::Wait::no);
  }
  for (const auto& id : unwanted) ORKESTR_CHECK(local::end_member(pool_dir, id, deadline, local::Wait::until_gone));
  return static_cast<int>(unwanted.size());
}

struct Pool {
  base::Places places;
  std::string directory;
  std::vector<PoolEntry> entries;
};

Result<Pool> open_pool() {
  Pool pool;
  ORKESTR_TRY(pool.places, base::find_places());
  ORKESTR_CHECK(registry::prepare_state_directory(pool.places.state_dir));
  ORKESTR_TRY(pool.directory, registry::prepare_pool_directory(pool.places.state_dir));
  ORKESTR_TRY(pool.entries, registry::read_pool(pool.places.state_dir));
  return pool;
}

PoolInfo describe(const PoolEntry& e) {
  PoolInfo info;
  info.template_name = e.template_name;
  info.count = e.count;
  info.cpu = e.cpu;
  info.memory_mb = static_cast<int>(e.memory_mb);
  info.disk_mb = static_cast<int>(e.disk_mb);
  info.idle_timeout = std::chrono::seconds(e.idle_seconds);
  info.min_available_mb = static_cast<int>(e.min_available_mb);
  return info;
}

void add_members(PoolInfo& info, const std::string& pool_dir, const std::string& key) {
  info.members.clear();
  for (const auto& member : registry::live_pool_members(pool_dir)) {
    if (metadata_of(member.record, registry::kPoolKey) != key) continue;
    info.members.push_back(
        {member.record.id, member.ready, TimePoint(std::chrono::milliseconds(member.record.created_at_ms))});
  }
}

// What the newest one that failed says. Those of before `since_ms` are other people's.
std::string why_failed(const std::string& pool_dir, const std::string& key, std::int64_t since_ms) {
  const auto failed = registry::sweep_pool(pool_dir);
  if (!failed) return failed.error().message();
  for (const auto& record : *failed) {
    if (metadata_of(record, registry::kPoolKey) == key && record.ended_at_ms >= since_ms) return record.end_reason;
  }
  return "";
}

// Starts what is missing and waits for it.
PoolInfo fill(const PoolOrder& order) {
  PoolInfo info = describe(order.entry);
  const std::int64_t began = base::wall_clock_ms();
  auto started = local::start_members(order, std::chrono::milliseconds(0));
  for (auto& process : started.processes) (void)process.wait(base::Deadline::after(kStartedWithin));
  const auto deadline = base::Deadline::after(kFilledWithin);
  // A member that has its slot is not seen before it has its directory: some milliseconds.
  const auto settle = base::Deadline::after(kStartedWithin);
  while (true) {
    add_members(info, order.pool_dir, order.request.pool_key);
    const bool all_ready = info.ready() == static_cast<int>(info.members.size());
    if (info.ready() >= order.entry.count || deadline.expired()) break;
    if (all_ready && settle.expired()) break;
    std::this_thread::sleep_for(kPoll);
  }
  if (info.ready() >= order.entry.count) return info;
  info.problem = why_failed(order.pool_dir, order.request.pool_key, began);
  if (info.problem.empty() && started.short_of) info.problem = started.short_of->message();
  if (info.problem.empty()) {
    info.problem = fmt::format("{} of {} were ready after {} s", info.ready(), info.count, kFilledWithin.count());
  }
  return info;
}

// What is to stay of all entries but the one like `changed`. An entry whose template cannot be opened has no use for
// members.
std::vector<Kept> keys_of(const std::vector<PoolEntry>& entries) {
  std::vector<Kept> keep;
  for (const auto& entry : entries) {
    if (const auto order = order_of(entry)) keep.push_back({order->request.pool_key, entry.count});
  }
  return keep;
}

Result<std::vector<PoolInfo>> list_pools(bool end_useless) {
  ORKESTR_TRY(const auto pool, open_pool());
  std::vector<PoolInfo> all;
  std::vector<Kept> keep;
  for (const auto& entry : pool.entries) {
    PoolInfo info = describe(entry);
    const auto order = order_of(entry);
    if (!order) {
      info.problem = order.error().message();
    } else {
      keep.push_back({order->request.pool_key, entry.count});
      add_members(info, pool.directory, order->request.pool_key);
      if (static_cast<int>(info.members.size()) < info.count) {
        info.problem = why_failed(pool.directory, order->request.pool_key, 0);
      }
    }
    all.push_back(std::move(info));
  }
  if (end_useless) ORKESTR_CHECK(end_all_but(pool.directory, keep));
  return all;
}

}  // namespace

namespace host {

// Without the state directory there is none; that is said elsewhere.
void inspect_pool(Findings& findings) {
  const auto places = base::name_places();
  if (!places || !base::exists(registry::pool_directory(places->state_dir))) return;
  const auto pools = list_pools(findings.fix());
  if (!pools) return findings.warning("pool", pools.error().message(), "orkestr pool clear");
  for (const auto& info : *pools) {
    const std::string text = fmt::format("{}: {} of {} ready ({} CPU, {} MB)", info.template_name, info.ready(),
                                         info.count, info.cpu, info.memory_mb);
    if (info.ready() >= info.count || info.problem.empty()) {
      findings.ok("pool", text);
    } else {
      findings.warning("pool", text + ": " + info.problem,
                       fmt::format("orkestr pool set {}={}", info.template_name, info.count));
    }
  }
}

}  // namespace host

Result<PoolInfo> pool_set(const PoolOptions& options) {
  ORKESTR_CHECK(check(options));
  CreateOptions create;
  create.template_name = options.template_name;
  create.size = options.size;
  create.cpu = options.cpu;
  create.memory_mb = options.memory_mb;
  create.disk_mb = options.disk_mb;
  ORKESTR_TRY(const auto prepared, local::prepare_sandbox(create));
  // Here, where it is an answer; from its members one would learn only that they failed.
  ORKESTR_CHECK(image::verify_template(prepared.files, prepared.request.stamp_dir));
  PoolEntry wanted;
  wanted.template_name = options.template_name;
  wanted.count = options.count;
  wanted.cpu = prepared.record.cpu;
  wanted.memory_mb = prepared.record.memory_mb;
  wanted.disk_mb = prepared.record.disk_mb;
  wanted.idle_seconds = options.idle_timeout.count();
  wanted.min_available_mb = options.min_available_mb;
  ORKESTR_CHECK(registry::change_pool(prepared.places.state_dir, [&](std::vector<PoolEntry>& entries) {
    std::erase_if(entries, [&](const PoolEntry& e) { return e.same_machine(wanted); });
    if (wanted.count > 0) entries.push_back(wanted);
  }));
  ORKESTR_TRY(const auto pool, open_pool());
  ORKESTR_CHECK(end_all_but(pool.directory, keys_of(pool.entries)));
  (void)registry::sweep_pool(pool.directory);
  if (wanted.count == 0) return describe(wanted);
  return fill(local::pool_order(prepared, wanted));
}

Result<std::vector<PoolInfo>> pool_list() { return list_pools(true); }

Result<int> pool_clear(std::string_view template_name) {
  ORKESTR_TRY(const auto places, base::find_places());
  std::size_t cleared = 0;
  ORKESTR_CHECK(registry::change_pool(places.state_dir, [&](std::vector<PoolEntry>& entries) {
    cleared = std::erase_if(
        entries, [&](const PoolEntry& e) { return template_name.empty() || e.template_name == template_name; });
  }));
  // A name of which there was none may be a mistake; what is in the pool may be of a template that is gone.
  if (cleared == 0 && !template_name.empty()) {
    ORKESTR_CHECK(image::inspect_template(places.cache_search, template_name));
  }
  ORKESTR_TRY(const auto pool, open_pool());
  ORKESTR_TRY(const int ended, end_all_but(pool.directory, keys_of(pool.entries)));
  (void)registry::sweep_pool(pool.directory);
  return ended;
}

}  // namespace orkestr
