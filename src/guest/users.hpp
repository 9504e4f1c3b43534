// Users of the guest, read from its /etc/passwd and /etc/group: a static program has no NSS. The files belong to the
// guest and may hold anything; lines that make no sense are passed over.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::guest {

struct User {
  std::string name = "root";
  uid_t uid = 0;
  gid_t gid = 0;
  std::string home = "/root";
  std::vector<gid_t> groups;  // of which the user is a member, the primary one included; at most kMaxGroups
};

inline constexpr std::size_t kMaxGroups = 1024;

// `wanted`: a name, or a number (which needs no entry: then its group is the same number and its home "/"). Pure.
// invalid_argument names the user when there is none.
Result<User> find_user(std::string_view wanted, std::string_view passwd, std::string_view group);

// The same with the system's files; an empty `wanted` is root and reads nothing.
Result<User> find_user(std::string_view wanted);

}  // namespace orkestr::guest
