// Copies of files that paused sandboxes need and that cannot be linked: those of another user (a system's templates),
// or on another file system. One of each, next to the sandboxes, that all of a user's paused sandboxes link.
//
//   <state>/kept/<device>-<inode>-<size>-<time of its last write>
#pragma once

#include <string>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::registry {

inline constexpr const char* kKeptDirectory = "kept";

// Makes `path` a second name of the open file `fd`, or of the copy that is kept of it. A new copy takes the place of
// those that nothing links.
Result<void> link_or_keep(int fd, const std::string& state_dir, const std::string& path);
// Those that no paused sandbox links.
Result<std::vector<std::string>> find_unlinked(const std::string& state_dir);

}  // namespace orkestr::registry
