// One command: from ExecRequest to ExecExit. Its standard streams are pipes, or all three one terminal, of which the
// agent has the master. In what follows "both pipes" are then that master, whose end is that nobody has the terminal
// open.
//
// When it is over. The result is sent when the leader has exited and both pipes are at their end; or, kGrace after the
// leader's exit, with what the pipes hold at that moment, however slowly it is read. So `server &` does not hold its
// command open, and is not killed: its pipes are drained to nowhere. After a timeout or a cancel (SIGTERM to the whole
// tree, kTermGrace later SIGKILL) the result also waits until the tree is empty, but at most kKillWait after the
// SIGKILL.
//
// With a log instead of a caller it is a background command: both output streams are one pipe, so that they keep their
// order, and go to a ring; there is no answer, the owner looks at finished() and exit(). A command whose caller is lost
// goes on like that from where it was.
#pragma once

#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "guest/flow.hpp"
#include "guest/output_ring.hpp"
#include "guest/pipes.hpp"
#include "guest/process_tree.hpp"
#include "guest/services.hpp"
#include "wire/message.hpp"

namespace orkestr::guest {

// A command that has ended and was answered; the caller may be gone before it has the answer.
struct EndedExec {
  std::string line;
  pid_t pid = -1;
  std::int64_t started_ns = 0;
  wire::ExecExit exit;
};

class Exec {
 public:
  static constexpr std::chrono::milliseconds kGrace{100};
  static constexpr std::chrono::milliseconds kTermGrace{2000};
  static constexpr std::chrono::milliseconds kKillWait{1000};

  // Starts it and sends `started`. An error means that nothing runs, and is the operation's answer.
  static Result<std::unique_ptr<Exec>> start(Services& services, std::uint32_t id, wire::ExecRequest request,
                                             Wake wake);
  // The same, with `log` in the caller's place; it must outlive the command. No input, no terminal.
  static Result<std::unique_ptr<Exec>> start_logged(Services& services, wire::ExecRequest request, OutputRing& log,
                                                    Wake wake);
  ~Exec();
  Exec(const Exec&) = delete;
  Exec& operator=(const Exec&) = delete;

  // False when the peer broke the flow control.
  [[nodiscard]] bool on_input(std::string_view bytes, bool end);
  [[nodiscard]] bool on_credit(std::uint32_t bytes);
  void cancel();
  // False when it has no terminal.
  [[nodiscard]] bool resize(const wire::ResizeMessage& size);
  // The connection is gone: from now on output goes to `log`, which must outlive the command. Its input ends; its
  // timeout stays.
  void log_to(OutputRing& log, Wake wake);
  // Ends the whole tree, also what the leader has left behind.
  void kill();
  // Moves output; true when it wants another turn at once.
  bool produce();
  bool finished() const { return finished_; }
  const wire::ExecExit& exit() const { return exit_; }  // once finished
  bool is_ending() const { return ending_ == Ending::terminating || ending_ == Ending::killing; }
  // All output that will come is in the pipes.
  bool is_closing() const { return closing_; }
  bool left_processes() const { return !tree_->is_empty(); }
  pid_t pid() const { return pid_; }
  std::int64_t started_ns() const { return started_ns_; }
  std::uint64_t output_bytes() const { return output_.bytes() + error_output_.bytes(); }
  // What runs, in one line.
  std::string line() const;
  EndedExec ended() const { return {line(), pid_, started_ns_, exit_}; }

 private:
  enum class Ending { none, terminating, killing, done };

  Exec(Services& services, std::uint32_t id, wire::ExecRequest request, Wake wake);
  struct Wiring;
  Result<void> spawn();
  Result<Wiring> make_pipes() const;
  Result<Wiring> make_terminal(std::optional<uid_t> owner) const;
  void on_exit(int status, const rusage& usage);
  void end_tree(bool& reason);
  void check_tree();
  void stop_waiting_for_leader();
  void abandon_output();
  void close_output();
  std::uint64_t elapsed_us() const;
  void try_finish();

  Services& services_;
  wire::ExecRequest request_;
  Wake wake_;
  Outlet outlet_;
  OutputRing* log_ = nullptr;  // instead of the outlet
  InputPipe input_;
  OutputPipe output_, error_output_;
  // The master once more, until the leader has exited: it hangs the terminal up to close the last copy, and a leader
  // that is just exiting would be reported as killed by SIGHUP.
  base::UniqueFd terminal_;
  std::unique_ptr<ProcessTree> tree_;
  pid_t pid_ = -1;
  std::chrono::steady_clock::time_point started_at_;
  std::int64_t started_ns_ = 0;  // since 1970
  base::Reactor::TimerId timeout_timer_ = 0, grace_timer_ = 0, ending_timer_ = 0;
  std::chrono::steady_clock::time_point ending_since_;
  Ending ending_ = Ending::none;
  bool exited_ = false;
  bool closing_ = false;
  bool cancel_asked_ = false;  // also when a timeout was first, and is the reason that is reported
  bool finished_ = false;
  wire::ExecExit exit_;
};

}  // namespace orkestr::guest
