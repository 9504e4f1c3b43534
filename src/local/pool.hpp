// The warm pool as the library uses it: which members fit a new sandbox, and starting those that are missing. What the
// members are is in registry/pool.hpp, how they live in supervisor/pool.hpp.
//
// Thread safety: values and free functions; any thread. Blocking for a millisecond or two, unless said otherwise.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/child.hpp"
#include "base/deadline.hpp"
#include "local/prepare.hpp"
#include "registry/pool.hpp"

namespace orkestr::local {

// Everything that is needed to start members of one entry.
struct PoolOrder {
  registry::PoolEntry entry;
  std::string pool_dir;
  std::string supervisor;      // the program
  registry::Record record;     // of a member, but for its id
  wire::StartRequest request;  // likewise; with the key
};

// `prepared` is a sandbox as `entry` has them; of what is asked for beyond the machine nothing counts. The key of its
// request stands for all that must be the same in a member and a sandbox made from it, as far as the library knows it:
// this build, the template, the agent, the machine, the environment that chooses QEMU and its place, the entry's
// limits.
PoolOrder pool_order(const Prepared& prepared, const registry::PoolEntry& entry);

struct StartedMembers {
  int wanted = 0;
  std::vector<base::Child> processes;  // each forks and exits at once: to be waited for
  std::optional<Error> short_of;       // why there are fewer than wanted
};
// Starts as many as there are free slots. Each begins after `delay`. Does not wait for them.
StartedMembers start_members(const PoolOrder& order, std::chrono::milliseconds delay);

// For a create of `prepared`.
struct PoolView {
  PoolOrder order;
  std::vector<std::string> ready;  // ids of members that may be claimed, in no particular order
};
// Nothing unless something is configured for it. Ends members that were made for another build, template or agent, and
// reaps dead ones. A pool that cannot be read is no pool: it must not keep anybody from a sandbox.
std::optional<PoolView> look_into_pool(const Prepared& prepared);

// Has a member end, unless it was claimed meanwhile. With `wait` it returns when its processes are gone, and a member
// that does not answer is killed; without, it only asks. Errors: it could not be ended by the deadline.
enum class Wait { no, until_gone };
Result<void> end_member(const std::string& pool_dir, const std::string& id, base::Deadline deadline, Wait wait);

}  // namespace orkestr::local
