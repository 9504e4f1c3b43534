// run_child() of base/child.hpp: a command's output while it runs, its status at the end, and never longer than the
// deadline.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "base/child.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::base {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxLine = 64U << 10U;  // longer ones reach on_line in pieces
constexpr milliseconds kDrain{100};           // for output after the exit, when a descendant holds the pipe open
constexpr milliseconds kReapAfterKill{5000};  // see Child's destructor
constexpr milliseconds kPollWithoutPidfd{20};
constexpr milliseconds kPollForStop{100};

class Collector {
 public:
  Collector(UniqueFd pipe, std::size_t cap, const std::function<void(std::string_view)>& on_line)
      : pipe_(std::move(pipe)), cap_(cap), on_line_(on_line) {}

  int fd() const { return pipe_.get(); }
  bool open() const { return static_cast<bool>(pipe_); }

  // Reads once; false when there is nothing now.
  bool read_some() {
    std::array<char, 64U << 10U> buffer;
    ssize_t n = ::read(pipe_.get(), buffer.data(), buffer.size());
    if (n < 0) return errno == EINTR;
    if (n == 0) {
      pipe_.reset();
      return false;
    }
    take(std::string_view(buffer.data(), static_cast<std::size_t>(n)));
    return true;
  }

  std::string finish() {
    if (on_line_ && !line_.empty()) on_line_(line_);
    line_.clear();
    pipe_.reset();
    trim();
    return std::move(output_);
  }

 private:
  void take(std::string_view bytes) {
    output_ += bytes;
    if (output_.size() / 2 > cap_) trim();  // not at each read: that would move the whole tail every time
    if (!on_line_) return;
    while (!bytes.empty()) {
      auto end = bytes.find('\n');
      auto part = bytes.substr(0, std::min(end, kMaxLine - line_.size()));
      line_ += part;
      bytes.remove_prefix(part.size());
      bool complete = !bytes.empty() && bytes.front() == '\n';
      if (complete) bytes.remove_prefix(1);
      if (complete || line_.size() == kMaxLine) {
        on_line_(line_);
        line_.clear();
      }
    }
  }

  void trim() {
    if (output_.size() > cap_) output_.erase(0, output_.size() - cap_);
  }

  UniqueFd pipe_;
  std::size_t cap_;
  const std::function<void(std::string_view)>& on_line_;
  std::string output_;
  std::string line_;
};

// Waits until there is output, or the child ended, or `deadline`, or it may be time to look at `stop`.
void wait_for_news(const Collector& output, const Child& child, Deadline deadline, bool stoppable = false) {
  std::array<pollfd, 2> fds{pollfd{output.open() ? output.fd() : -1, POLLIN, 0}, pollfd{child.exit_fd(), POLLIN, 0}};
  int timeout = deadline.poll_timeout_ms();
  if (child && child.exit_fd() < 0) {
    int step = static_cast<int>(kPollWithoutPidfd.count());
    timeout = timeout < 0 ? step : std::min(timeout, step);
  }
  if (stoppable) {
    int step = static_cast<int>(kPollForStop.count());
    timeout = timeout < 0 ? step : std::min(timeout, step);
  }
  ::poll(fds.data(), fds.size(), timeout);
}

// Kills what runs; the error has `what` happened and the output so far.
Error ended_early(ErrorCode code, const std::string& program, Child& child, Collector& output,
                  const std::string& what) {
  child.kill(SIGKILL);
  (void)child.wait(Deadline::after(kReapAfterKill)).ok();
  auto limit = Deadline::after(kDrain);
  while (output.open() && !limit.expired() && output.read_some()) {
  }
  ErrorDetails details;
  details.stage = program;
  details.console_tail = output.finish();
  return Error(code, fmt::format("{}: killed with its process group: {}", program, what), std::move(details));
}

}  // namespace

Result<RunResult> run_child(ChildOptions options, Deadline deadline,
                            const std::function<void(std::string_view line)>& on_line, std::size_t max_output_bytes,
                            const std::stop_token& stop) {
  auto started = Deadline::Clock::now();
  ORKESTR_TRY(auto pipe, make_pipe());
  ORKESTR_CHECK(set_nonblocking(pipe.first.get(), true));  // ours only: the command's end stays blocking
  for (int theirs : {STDOUT_FILENO, STDERR_FILENO}) {
    bool named = std::any_of(options.fds.begin(), options.fds.end(), [&](auto& pair) { return pair.second == theirs; });
    if (!named) options.fds.emplace_back(pipe.second.get(), theirs);
  }
  options.new_process_group = true;
  ORKESTR_TRY(auto child, Child::start(options));
  pipe.second.reset();

  Collector output(std::move(pipe.first), max_output_bytes, on_line);
  for (;;) {
    // In this order: output that was written before the exit is in the pipe when the exit is seen.
    ORKESTR_TRY(auto status, child.wait(Deadline::after({})));
    while (output.open() && !deadline.expired() && output.read_some()) {
    }
    if (status) {
      auto drained = Deadline::after(kDrain);
      while (output.open() && !drained.expired()) {
        if (!output.read_some()) wait_for_news(output, child, drained);
      }
      return RunResult{*status, output.finish()};
    }
    if (stop.stop_requested()) {
      return ended_early(ErrorCode::cancelled, options.argv[0], child, output, "it was cancelled");
    }
    if (deadline.expired()) {
      const std::chrono::duration<double> ran = Deadline::Clock::now() - started;
      return ended_early(ErrorCode::internal, options.argv[0], child, output,
                         fmt::format("not done after {:.1f} s, the time it was given", ran.count()));
    }
    wait_for_news(output, child, deadline, stop.stop_possible());
  }
}

}  // namespace orkestr::base
