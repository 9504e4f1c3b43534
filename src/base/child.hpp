// Child processes: start with exactly the descriptors, environment and directory that are named; wait with a deadline.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/deadline.hpp"
#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::base {

struct ChildOptions {
  std::vector<std::string> argv;  // argv[0] is searched on the caller's PATH when it has no slash
  std::vector<std::string> env;   // "NAME=value"; with inherit_env these are added to (override) the caller's own
  bool inherit_env = true;
  std::string cwd;  // empty: the caller's; a relative argv[0] with a slash starts here
  // {ours, theirs}, theirs up to 1023; 0, 1, 2 not named here are /dev/null; everything else is closed
  std::vector<std::pair<int, int>> fds;
  bool new_session = false;  // setsid
  bool new_process_group = false;
};

struct ExitStatus {
  int code = 0;    // exit code when it exited
  int signal = 0;  // or the signal that ended it
  bool success() const { return code == 0 && signal == 0; }
  std::string to_string() const;  // "exit code 3", "signal 9 (Killed)"
};

// A started child, with default signal handling and nothing blocked. Not thread-safe; safe in a multi-threaded process,
// which is never forked for it (posix_spawn). In a forked copy of this process the destructor only closes. The
// destructor kills (SIGKILL, the whole group if it has one) and reaps what was not waited for.
class Child {
 public:
  static Result<Child> start(const ChildOptions& options);
  Child() = default;
  ~Child();
  Child(Child&&) noexcept;
  Child& operator=(Child&&) noexcept;

  pid_t pid() const { return pid_; }  // -1 once the status was taken
  explicit operator bool() const { return pid_ > 0; }
  // Nothing when the deadline passed first. Tolerates ECHILD (the embedder ignores SIGCHLD): then the status is
  // unknown, code -1. Asked again it gives the same answer.
  Result<std::optional<ExitStatus>> wait(Deadline deadline);
  // The whole group if it has one. Nothing once the status was taken, by whomever: the number may be another's by then.
  void kill(int signal);
  // Readable once the child has ended, for poll(2) and the reactor; -1 on kernels before 5.3 and once the status was
  // taken.
  int exit_fd() const { return pidfd_.get(); }
  // Gives up ownership: the child is neither killed nor reaped here.
  pid_t release();

 private:
  std::optional<ExitStatus> poll_status();
  bool keeps_its_number() const;

  pid_t pid_ = -1;
  pid_t owner_ = -1;  // the process that started it
  bool group_ = false;
  UniqueFd pidfd_;
  std::optional<ExitStatus> status_;
};

struct RunResult {
  ExitStatus status;
  std::string output;  // stdout and stderr together; the tail when longer than the cap
};

// Runs to the end, in a process group of its own. `on_line` sees every line as it comes, an unfinished last one too,
// without its newline; lines over 64 KiB come in pieces. Output of descendants that outlive the command is collected
// for another 100 ms. Kills the child's process group at the deadline: then `internal` with the command's name and the
// output so far in details().console_tail. The same within 100 ms of a request to `stop`: then `cancelled`.
Result<RunResult> run_child(ChildOptions options, Deadline deadline,
                            const std::function<void(std::string_view line)>& on_line = {},
                            std::size_t max_output_bytes = 1U << 20U, const std::stop_token& stop = {});

}  // namespace orkestr::base
