// One sandbox's directory as the registry's sources see it. Internal to src/registry.
#pragma once

#include <string>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"
#include "registry/record.hpp"

namespace orkestr::registry {

inline constexpr const char* kNewPrefix = ".new-";

// A directory, never through a link at its last component.
Result<base::UniqueFd> open_directory(int parent_fd, const std::string& path);
// The lock file, a new description each time. `flags` adds to those that keep a hostile file from blocking or leading
// elsewhere.
Result<base::UniqueFd> open_lock(int dir_fd, int flags);
// The record of the sandbox `id`: a regular file of bounded size whose content says the same id.
Result<Record> read_record(int dir_fd, const std::string& id);
// Removes everything but record.json and events.jsonl, the lock file last: while there is one, something may be left to
// remove.
Result<void> remove_all_but_history(int dir_fd);
// Removes `<sandboxes>/.new-<id>` if its maker is gone; leaves it alone otherwise.
void remove_half_made(int sandboxes_fd, const std::string& name);

}  // namespace orkestr::registry
