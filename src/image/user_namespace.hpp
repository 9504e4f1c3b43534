// How an ordinary user's build comes to be root's: in a user namespace in which this user is root, and everybody else
// (the group mail, the user man) is one of the subordinate ids that subuid(5) gives this user. The image is the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::image {

// The options of unshare(1) that make this user root, none for root itself.
std::vector<std::string> root_mapping();

// Why tools cannot be run as root here, and what to install, to configure or to look at. Nothing when they can.
struct Obstacle {
  std::string what;
  std::string remedy;
};
std::optional<Obstacle> obstacle_to_root();

// base::remove_tree() for what a build made, the files of subordinate ids included.
Result<void> remove_built(const std::string& path);

// ---- subuid(5), pure

struct IdRange {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};
// The first range of a user, by name or number: the one that unshare takes.
std::optional<IdRange> subordinate_ids(std::string_view text, std::string_view user, std::uint32_t uid);
// Where 65536 ids begin that no line gives to anybody.
std::uint64_t free_subordinate_ids(std::string_view text);

}  // namespace orkestr::image
