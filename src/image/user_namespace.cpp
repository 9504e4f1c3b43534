#include "image/user_namespace.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/file.hpp"
#include "base/try.hpp"
#include "image/tool.hpp"

namespace orkestr::image {
namespace {

// Debian's ids go up to nogroup, 65534; its tools give ranges of a whole 16 bits.
constexpr std::uint64_t kWantedIds = 65536;
constexpr std::uint64_t kNogroup = 65534;
constexpr std::uint64_t kFirstSubordinate = 100000;

// One line "NAME:FIRST:COUNT", taken off `rest`; nothing for a line that is none.
struct Line {
  std::string_view user;
  IdRange range;
};
std::optional<Line> take_range(std::string_view& rest) {
  std::string_view line = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  const auto first = line.find(':');
  const auto second = first == line.npos ? line.npos : line.find(':', first + 1);
  if (second == line.npos) return std::nullopt;
  const auto number = [](std::string_view text, std::uint64_t& value) {
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    return read.ec == std::errc() && read.ptr == text.data() + text.size();
  };
  Line out{line.substr(0, first), {}};
  if (!number(line.substr(first + 1, second - first - 1), out.range.first)) return std::nullopt;
  if (!number(line.substr(second + 1), out.range.count)) return std::nullopt;
  return out;
}

std::string user_name() {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 16384> buffer{};
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found) return found->pw_name;
  return {};
}

// Why the attempt failed, from what the machine is configured to.
Obstacle explain(const Error& attempt) {
  const std::string user = user_name();
  if (user.empty()) {
    return {fmt::format("user {} has no entry in the password database, and so no subordinate ids", ::geteuid()),
            "build as a user that has one"};
  }
  std::string all;
  bool enough = true;
  for (const char* path : {"/etc/subuid", "/etc/subgid"}) {
    const auto text = base::read_file(path);
    const auto range = subordinate_ids(text ? *text : "", user, ::geteuid());
    enough = enough && range && range->count >= kNogroup;
    if (text) all += *text + "\n";
  }
  if (!enough) {
    const std::uint64_t first = free_subordinate_ids(all);
    const std::uint64_t last = first + kWantedIds - 1;
    return {fmt::format("user {} has no {} subordinate ids in /etc/subuid and /etc/subgid", user, kWantedIds),
            fmt::format("sudo usermod --add-subuids {0}-{1} --add-subgids {0}-{1} {2}", first, last, user)};
  }
  return {fmt::format("user {} cannot make a user namespace: {}", user, last_lines(attempt.details().console_tail, 3)),
          "sysctl user.max_user_namespaces kernel.unprivileged_userns_clone "
          "kernel.apparmor_restrict_unprivileged_userns (they, or a container around this process, forbid it)"};
}

}  // namespace

std::vector<std::string> root_mapping() {
  if (::geteuid() == 0) return {};
  return {"--map-root-user", "--map-auto"};
}

std::optional<Obstacle> obstacle_to_root() {
  if (::geteuid() == 0) return std::nullopt;
  for (const char* tool : {"newuidmap", "newgidmap"}) {
    if (find_tool({}, tool, {})) continue;
    return Obstacle{fmt::format("the program {}, without which an ordinary user cannot build, is not installed", tool),
                    "sudo apt-get install uidmap"};
  }
  // Tried rather than read: subordinate ids may come from elsewhere than the two files, and kernels differ.
  const std::string nogroup = std::to_string(kNogroup);
  ToolRun attempt;
  attempt.argv = {"/usr/bin/setpriv", "--reuid=" + nogroup, "--regid=" + nogroup, "--clear-groups", "/bin/true"};
  attempt.as_root = true;
  const auto done = run_tool(attempt, {base::Deadline::after(std::chrono::seconds(15)), {}, {}});
  if (!done) return explain(done.error());
  return std::nullopt;
}

Result<void> remove_built(const std::string& path) {
  auto gone = base::remove_tree(path);
  if (gone || ::geteuid() == 0) return gone;
  ToolRun remove{"remove " + path, {"/bin/rm", "-rf", "--one-file-system", "--", path}, {}, {}, {}};
  remove.as_root = true;
  if (!run_tool(remove, {base::Deadline::after(std::chrono::minutes(5)), {}, {}})) return gone;
  return {};
}

std::optional<IdRange> subordinate_ids(std::string_view text, std::string_view user, std::uint32_t uid) {
  const std::string number = std::to_string(uid);
  while (!text.empty()) {
    const auto line = take_range(text);
    if (line && (line->user == user || line->user == number)) return line->range;
  }
  return std::nullopt;
}

std::uint64_t free_subordinate_ids(std::string_view text) {
  std::uint64_t first = kFirstSubordinate;
  while (!text.empty()) {
    if (const auto line = take_range(text)) first = std::max(first, line->range.first + line->range.count);
  }
  return first;
}

}  // namespace orkestr::image
