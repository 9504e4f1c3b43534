#include "guest/users.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>

#include "base/file.hpp"
#include "base/try.hpp"

namespace orkestr::guest {
namespace {

constexpr std::size_t kMaxFileBytes = 4U << 20U;

// (uid_t)-1 means "leave as it is" to the kernel, so it is no user.
std::optional<std::uint32_t> parse_id(std::string_view text) {
  std::uint32_t id = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), id);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  if (id == std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  return id;
}

std::string_view take_until(std::string_view& text, char separator) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(text.size(), end + 1));
  return part;
}

bool is_member(std::string_view members, std::string_view name) {
  while (!members.empty()) {
    if (take_until(members, ',') == name) return true;
  }
  return false;
}

std::vector<gid_t> groups_of(const User& user, std::string_view group) {
  std::vector<gid_t> groups{user.gid};
  while (!group.empty() && groups.size() < kMaxGroups) {
    std::string_view line = take_until(group, '\n');
    take_until(line, ':');  // name
    take_until(line, ':');  // password
    const auto gid = parse_id(take_until(line, ':'));
    if (!gid || std::find(groups.begin(), groups.end(), *gid) != groups.end()) continue;
    if (is_member(line, user.name)) groups.push_back(*gid);
  }
  return groups;
}

// name:password:uid:gid:comment:home:shell
std::optional<User> parse_entry(std::string_view line) {
  std::array<std::string_view, 6> field;
  for (std::string_view& part : field) part = take_until(line, ':');
  const auto uid = parse_id(field[2]);
  const auto gid = parse_id(field[3]);
  if (field[0].empty() || !uid || !gid) return std::nullopt;
  User user;
  user.name = field[0];
  user.uid = *uid;
  user.gid = *gid;
  const bool usable_home =
      !field[5].empty() && field[5].front() == '/' && field[5].find('\0') == std::string_view::npos;
  user.home = usable_home ? field[5] : "/";
  return user;
}

}  // namespace

Result<User> find_user(std::string_view wanted, std::string_view passwd, std::string_view group) {
  const auto number = parse_id(wanted);
  std::optional<User> found;
  while (!passwd.empty() && !found) {
    auto entry = parse_entry(take_until(passwd, '\n'));
    if (entry && (number ? entry->uid == *number : entry->name == wanted)) found = std::move(entry);
  }
  if (!found && !number) {
    return Error(
        ErrorCode::invalid_argument,
        fmt::format("cannot run as user '{}': /etc/passwd of the sandbox has no such user; name another, or give "
                    "a number",
                    wanted.substr(0, 256)));
  }
  if (!found) found = User{std::string(wanted), *number, *number, "/", {}};
  found->groups = groups_of(*found, group);
  return *std::move(found);
}

Result<User> find_user(std::string_view wanted) {
  if (wanted.empty()) return User{"root", 0, 0, "/root", {0}};
  // Missing files are as good as empty ones: a number still works.
  auto passwd = base::read_file("/etc/passwd", kMaxFileBytes);
  auto group = base::read_file("/etc/group", kMaxFileBytes);
  return find_user(wanted, passwd ? *passwd : std::string(), group ? *group : std::string());
}

}  // namespace orkestr::guest
