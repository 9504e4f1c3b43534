#include "vm/landlock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::vm {
namespace {

// linux/landlock.h of Debian 12 ends at ABI 2; these are from later kernels' headers.
struct RulesetAttr {
  std::uint64_t handled_access_fs;
  std::uint64_t handled_access_net;  // ABI 4
  std::uint64_t scoped;              // ABI 6
};
constexpr std::uint64_t kAccessFsTruncate = 1ULL << 14U;  // ABI 3
constexpr std::uint64_t kAccessNetTcp = 3;                // bind, connect
constexpr std::uint64_t kScopeAll = 3;                    // abstract unix sockets, signals

constexpr std::uint64_t kReadFile = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE;
constexpr std::uint64_t kReadTree = kReadFile | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t kReadWriteFile = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
constexpr std::uint64_t kAllOfAbi1 = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1U) - 1;

RulesetAttr everything(int abi) {
  RulesetAttr a{kAllOfAbi1, 0, 0};
  if (abi >= 2) a.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) a.handled_access_fs |= kAccessFsTruncate;
  if (abi >= 4) a.handled_access_net = kAccessNetTcp;
  if (abi >= 6) a.scoped = kScopeAll;
  return a;
}

std::size_t attr_size(int abi) {
  if (abi >= 6) return sizeof(RulesetAttr);
  return abi >= 4 ? offsetof(RulesetAttr, scoped) : offsetof(RulesetAttr, handled_access_net);
}

Result<void> allow(int ruleset, int fd, std::uint64_t access, const std::string& what) {
  landlock_path_beneath_attr rule{};
  rule.allowed_access = access;
  rule.parent_fd = fd;
  if (::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0) return {};
  return base::errno_error("landlock rule for " + what, errno);
}

Result<void> allow_path(int ruleset, const std::string& path, std::uint64_t file_access, std::uint64_t tree_access) {
  base::UniqueFd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd) return {};
  struct stat s {};
  if (::fstat(fd.get(), &s) != 0) return base::errno_error("stat " + path, errno);
  return allow(ruleset, fd.get(), S_ISDIR(s.st_mode) ? tree_access : file_access, path);
}

}  // namespace

Result<LandlockRuleset> make_landlock_ruleset(const LandlockRules& rules) {
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1) {
    return Error(ErrorCode::not_supported, fmt::format("the kernel has no Landlock ({})", std::strerror(errno)));
  }
  LandlockRuleset ruleset;
  ruleset.abi = static_cast<int>(abi);
  const RulesetAttr attr = everything(ruleset.abi);
  ruleset.fd.reset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attr, attr_size(ruleset.abi), 0)));
  if (!ruleset.fd) return base::errno_error("landlock_create_ruleset", errno);
  for (const auto& path : rules.read_paths) ORKESTR_CHECK(allow_path(ruleset.fd.get(), path, kReadFile, kReadTree));
  for (const auto& path : rules.write_paths) {
    ORKESTR_CHECK(allow_path(ruleset.fd.get(), path, kReadWriteFile, kReadWriteFile));
  }
  for (int fd : rules.read_fds) {
    ORKESTR_CHECK(allow(ruleset.fd.get(), fd, LANDLOCK_ACCESS_FS_READ_FILE, fmt::format("descriptor {}", fd)));
  }
  return ruleset;
}

int enter_landlock(int ruleset_fd) noexcept {
  return ::syscall(SYS_landlock_restrict_self, ruleset_fd, 0) == 0 ? 0 : errno;
}

}  // namespace orkestr::vm
