#include "local/pool.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "base/build_stamp.hpp"
#include "base/id.hpp"
#include "base/sha256.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "registry/registry.hpp"

namespace orkestr::local {
namespace {

// A member that waits takes 64 MB with what QEMU translated for it; one that warms up a little more.
constexpr std::int64_t kMemberMb = 128;
constexpr auto kAskWithin = std::chrono::milliseconds(500);

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// Of a file that is replaced as a whole.
std::string identity_of(const std::string& path) {
  struct stat s {};
  if (::stat(path.c_str(), &s) != 0) return "none";
  return fmt::format("{}:{}:{}:{}.{}", s.st_dev, s.st_ino, s.st_size, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
}

std::string key_of(const PoolOrder& order) {
  const auto& r = order.request;
  std::string text =
      fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n", base::kBuildStamp, identity_of(order.supervisor),
                  order.record.template_name, order.record.template_digest, r.base_image, r.initrd, r.accelerator,
                  r.cache_dir, order.entry.idle_seconds);
  text += fmt::format("{}\n{}\n{}\n{}\n", order.entry.cpu, order.entry.memory_mb, order.entry.disk_mb,
                      order.entry.min_available_mb);
  for (const char* name : {"ORKESTR_QEMU", "ORKESTR_UID_RANGE", "ORKESTR_CGROUP"}) text += variable(name) + "\n";
  return base::sha256_hex(text);
}

// The whole request is in the socket before the process is: nobody waits for anybody.
Result<base::Child> start_member(const PoolOrder& order, std::chrono::milliseconds delay) {
  registry::Record record = order.record;
  record.id = base::make_sandbox_id();
  record.created_at_ms = base::wall_clock_ms();
  record.expires_at_ms = record.created_at_ms + record.timeout_seconds * 1000;
  record.metadata[registry::kPoolDelayMs] = std::to_string(delay.count());
  wire::StartRequest request = order.request;
  request.record = record.to_json();
  const std::string bytes = request.encode();
  ORKESTR_TRY(auto ends, base::socket_pair(SOCK_STREAM));
  const ssize_t sent = ::send(ends.first.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != static_cast<ssize_t>(bytes.size())) return base::errno_error("hand over the request", errno);
  ::shutdown(ends.first.get(), SHUT_WR);
  base::ChildOptions options;
  options.argv = {order.supervisor, fmt::format("--stamp={}", base::kBuildStamp), "--pool"};
  options.cwd = "/";
  options.fds = {{ends.second.get(), 3}};
  return base::Child::start(options);
}

}  // namespace

PoolOrder pool_order(const Prepared& prepared, const registry::PoolEntry& entry) {
  PoolOrder order;
  order.entry = entry;
  order.pool_dir = registry::pool_directory(prepared.places.state_dir);
  order.supervisor = prepared.libexec + "/orkestr-supervisor";
  order.record = prepared.record;
  order.record.timeout_seconds = entry.idle_seconds;
  order.record.on_timeout = "kill";
  order.record.auto_resume = false;
  order.request = prepared.request;
  order.request.purpose = "pool";
  order.request.sandboxes_dir = order.pool_dir;
  order.request.env.clear();
  order.request.pool_key = key_of(order);
  order.record.metadata = {{registry::kPoolKey, order.request.pool_key},
                           {registry::kPoolSlots, std::to_string(entry.count)},
                           {registry::kPoolMinAvailableMb, std::to_string(entry.min_available_mb)}};
  return order;
}

StartedMembers start_members(const PoolOrder& order, std::chrono::milliseconds delay) {
  StartedMembers started;
  if (order.request.cache_dir.empty()) {
    started.short_of = Error(ErrorCode::not_supported, "the warm pool needs snapshots, and ORKESTR_SNAPSHOTS is off");
    return started;
  }
  const auto free = registry::free_pool_slots(order.pool_dir, order.request.pool_key, order.entry.count);
  if (!free) {
    started.short_of = free.error();
    return started;
  }
  started.wanted = *free;
  std::int64_t available = read_host_figures().available_mb;
  for (int i = 0; i < *free; ++i) {
    CapacitySettings any_number;
    any_number.max_sandboxes = 1;
    auto fits = check_capacity(0, order.entry.memory_mb, any_number, {1, 0, available});
    if (fits && available != 0 && available < order.entry.min_available_mb) {
      fits =
          Error(ErrorCode::fleet_full_retry,
                fmt::format("this machine has {} MB of memory available, less than the {} that the pool leaves alone",
                            available, order.entry.min_available_mb));
    }
    if (!fits) {
      started.short_of = fits.error();
      return started;
    }
    auto process = start_member(order, delay);
    if (!process) {
      started.short_of = process.error();
      return started;
    }
    started.processes.push_back(std::move(*process));
    available -= kMemberMb;
  }
  return started;
}

std::optional<PoolView> look_into_pool(const Prepared& prepared) {
  if (prepared.request.cache_dir.empty()) return std::nullopt;
  const auto entries = registry::read_pool(prepared.places.state_dir);
  if (!entries) return std::nullopt;
  const auto entry =
      std::find_if(entries->begin(), entries->end(), [&](const auto& e) { return e.is_for(prepared.record); });
  if (entry == entries->end()) return std::nullopt;
  PoolView view;
  view.order = pool_order(prepared, *entry);
  bool dead = false;
  for (const auto& member : registry::live_pool_members(view.order.pool_dir, &dead)) {
    const auto key = member.record.metadata.find(registry::kPoolKey);
    if (key != member.record.metadata.end() && key->second == view.order.request.pool_key) {
      if (member.ready) view.ready.push_back(member.record.id);
    } else if (entry->is_for(member.record)) {
      (void)end_member(view.order.pool_dir, member.record.id, base::Deadline::after(kAskWithin), Wait::no);
    }
  }
  if (dead) (void)registry::sweep_pool(view.order.pool_dir);
  // Many who look at once should not all ask the same one first.
  std::shuffle(view.ready.begin(), view.ready.end(), std::minstd_rand(std::random_device()()));
  return view;
}

}  // namespace orkestr::local
