// A Landlock ruleset, built where allocation is allowed (before fork) and entered with one system call after it.
#pragma once

#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::vm {

struct LandlockRules {
  std::vector<std::string> read_paths;   // trees or files to read and execute; missing ones are skipped
  std::vector<int> read_fds;             // open files that may be opened again for reading
  std::vector<std::string> write_paths;  // files to read and write
};

struct LandlockRuleset {
  base::UniqueFd fd;
  int abi = 0;
};

// Everything of the file system that is not named is denied; from ABI 4 on all TCP, from ABI 6 on signals and abstract
// sockets that leave the process. not_supported when the kernel has no Landlock.
Result<LandlockRuleset> make_landlock_ruleset(const LandlockRules& rules);

// landlock_restrict_self(2); async-signal-safe. 0 or an errno. Needs no_new_privs.
int enter_landlock(int ruleset_fd) noexcept;

}  // namespace orkestr::vm
