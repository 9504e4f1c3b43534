// The warm pool: sandboxes that nobody has asked for yet, ready and stopped.
//
//   <state>/pool.json        how many of what there are to be (PoolEntry), replaced atomically
//   <state>/pool/slots       one lock a member, held from its start to its claim: no more than were asked for can exist
//                lock        held by who changes pool.json
//                <id>/       a member: laid out, locked, reached and reaped as a sandbox's directory is (registry.hpp),
//                            until its claim; then it becomes a directory of <state>/sandboxes, and this one goes
//
// A member's record is in the state `starting` while it warms up and `running` when it may be claimed; its metadata has
// what the constants below name. It is a hint: who claims tells the member what it wants, and the member decides.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"
#include "registry/record.hpp"

namespace orkestr::registry {

inline constexpr int kMaxPoolMembers = 64;  // of one entry
inline constexpr const char* kPoolKey = "pool_key";
inline constexpr const char* kPoolSlots = "pool_slots";  // how many there may be
inline constexpr const char* kPoolSlot = "pool_slot";    // which one it has
inline constexpr const char* kPoolDelayMs = "pool_delay_ms";
inline constexpr const char* kPoolMinAvailableMb = "pool_min_available_mb";

// What is configured: `count` members for sandboxes of this template and machine.
struct PoolEntry {
  std::string template_name;
  int count = 0;
  double cpu = 1;
  std::int64_t memory_mb = 1024;
  std::int64_t disk_mb = 8192;
  std::int64_t idle_seconds = 3600;      // then a member that nobody claimed ends
  std::int64_t min_available_mb = 1024;  // with less memory available on the host, members end
  // Whether a sandbox with this record is one for this entry.
  bool is_for(const Record& record) const {
    return record.template_name == template_name && record.cpu == cpu && record.memory_mb == memory_mb &&
           record.disk_mb == disk_mb;
  }
  bool same_machine(const PoolEntry& other) const {
    return other.template_name == template_name && other.cpu == cpu && other.memory_mb == memory_mb &&
           other.disk_mb == disk_mb;
  }
  friend bool operator==(const PoolEntry&, const PoolEntry&) = default;
};

std::string pool_to_json(const std::vector<PoolEntry>& entries);
// internal: it is not what pool_to_json() writes; the message says where.
Result<std::vector<PoolEntry>> pool_from_json(std::string_view json);

// No file: nothing is configured.
Result<std::vector<PoolEntry>> read_pool(const std::string& state_dir);
// Reads, changes and replaces the file, one process at a time.
Result<void> change_pool(const std::string& state_dir, const std::function<void(std::vector<PoolEntry>&)>& change);

// Makes and names <state>/pool.
Result<std::string> prepare_pool_directory(const std::string& state_dir);
inline std::string pool_directory(const std::string& state_dir) { return state_dir + "/pool"; }

// A slot among the `count` of this key, and its number; nothing when all are taken. Held until the descriptor is
// closed.
struct PoolSlot {
  base::UniqueFd lock;
  int number = 0;
};
Result<std::optional<PoolSlot>> take_pool_slot(const std::string& pool_dir, std::string_view key, int count);
// How many of them are free. Looks only.
Result<int> free_pool_slots(const std::string& pool_dir, std::string_view key, int count);

struct PoolMember {
  Record record;
  bool ready = false;
};
// The members that have a supervisor. Looks only, reaps nothing; `dead` is set when there is something to reap.
std::vector<PoolMember> live_pool_members(const std::string& pool_dir, bool* dead = nullptr);
// Reaps what killed members left behind; says of those that failed, newest first, what their records say. These are
// kept for an hour.
Result<std::vector<Record>> sweep_pool(const std::string& pool_dir);

}  // namespace orkestr::registry
