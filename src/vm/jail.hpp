// The only place that starts QEMU. Containment is an ordered list of one-line steps (jail.cpp); what was and was not
// applied is reported.
//
// Call from the main thread: the parent-death signal is tied to the thread that forks. Blocks for the milliseconds
// until execve.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::vm {

// One line a step, in order.
struct JailReport {
  struct Step {
    std::string name;  // "own uid"
    bool applied = false;
    std::string detail;  // "700017", or why not: "not started by root"
  };
  std::vector<Step> steps;
  // Nothing when there is no such step.
  const Step* find(std::string_view name) const;
  // "own uid: 700017; landlock: not applied: …"
  std::string to_string() const;
};

struct UidRange {
  uid_t first = 700000;
  uid_t last = 765535;
};
// "first-last"; empty gives the default. Uids below 1000 and above 2^31 are refused. `text` is ORKESTR_UID_RANGE.
Result<UidRange> parse_uid_range(std::string_view text);

// A uid (and the gid of the same number) that no other running sandbox of this lock file has. Held as a byte lock until
// destruction.
class UidLease {
 public:
  static Result<UidLease> acquire(const std::string& lock_path, UidRange range);
  uid_t uid() const { return uid_; }

 private:
  UidLease(base::UniqueFd file, uid_t uid) : file_(std::move(file)), uid_(uid) {}
  base::UniqueFd file_;
  uid_t uid_;
};

struct JailConfig {
  std::vector<std::string> argv;         // argv[0]: absolute path of the program
  std::vector<std::string> env;          // all of its environment
  std::vector<std::pair<int, int>> fds;  // {ours, theirs}; theirs from 3 on, without holes; everything else is closed
  std::optional<uid_t> uid;              // also the gid; needs root
  std::vector<gid_t> groups;             // supplementary groups beside it (kvm's)
  bool landlock = true;  // restrict the file system to what is named here and the program's own libraries and data
  std::vector<std::string> read_paths;  // readable beside those
  // No tree of the program's own becomes readable that holds $HOME or this directory (the sandbox's).
  std::string private_directory;
  std::vector<int> read_fds;             // open files that may be opened again for reading (/proc/self/fd/N)
  std::vector<std::string> write_paths;  // devices that are opened read-write (/dev/kvm)
};

// A started program. The destructor kills and reaps.
class JailedProcess {
 public:
  JailedProcess() = default;
  ~JailedProcess();
  JailedProcess(JailedProcess&& other) noexcept;
  JailedProcess& operator=(JailedProcess&& other) noexcept;

  pid_t pid = -1;            // -1 when there is none, or it is reaped
  base::UniqueFd pidfd;      // readable when it has ended
  base::UniqueFd stderr_fd;  // non-blocking read end of its stderr
  JailReport report;

  // The way it ended once it has ended, and reaps it; nothing before.
  std::optional<std::string> try_reap();
  // SIGKILL, without waiting.
  void kill();
};

// Returns after execve has succeeded. vm_failed names the step that failed.
Result<JailedProcess> start_jailed(const JailConfig& config);

}  // namespace orkestr::vm
