#include "guest/exec.hpp"

#include <fcntl.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/system.hpp"
#include "base/try.hpp"
#include "guest/launch.hpp"
#include "guest/terminal.hpp"
#include "guest/users.hpp"

namespace orkestr::guest {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How often a tree that is being ended is looked at.
constexpr milliseconds kTreePoll{20};
// A year: beyond it a timeout means none, and the clock's arithmetic stays far from its end.
constexpr std::uint64_t kLongestTimeoutMs = 366ULL * 24 * 3600 * 1000;

void set_variable(std::vector<std::string>& env, const std::string& name, std::string_view value) {
  std::string entry = name + "=";
  for (std::string& existing : env) {
    if (existing.compare(0, entry.size(), entry) == 0) {
      existing = entry.append(value);
      return;
    }
  }
  env.push_back(entry.append(value));
}

std::vector<std::string> environment_of(const User& user, bool terminal, const wire::EnvList& sandbox,
                                        const wire::EnvList& request, const std::string& mark) {
  std::vector<std::string> env{
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "HOME=" + user.home,
      "USER=" + user.name,
      "LOGNAME=" + user.name,
      "SHELL=/bin/bash",
      "LANG=C.UTF-8",
      terminal ? "TERM=xterm-256color" : "TERM=dumb",
  };
  for (const auto& [name, value] : sandbox) set_variable(env, name, value);
  for (const auto& [name, value] : request) set_variable(env, name, value);
  if (!mark.empty()) env.push_back(mark);
  return env;
}

std::uint64_t microseconds_of(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_usec);
}

}  // namespace

Result<std::unique_ptr<Exec>> Exec::start(Services& services, std::uint32_t id, wire::ExecRequest request, Wake wake) {
  std::unique_ptr<Exec> exec(new Exec(services, id, std::move(request), std::move(wake)));
  ORKESTR_CHECK(exec->spawn());
  wire::StartedMessage started;
  started.pid = static_cast<std::uint64_t>(exec->pid_);
  exec->outlet_.send(wire::Type::started, started.encode());
  if (exec->request_.tty) exec->outlet_.send_data(wire::data_frame(id, wire::Stream::error_output, {}, true));
  return exec;
}

Result<std::unique_ptr<Exec>> Exec::start_logged(Services& services, wire::ExecRequest request, OutputRing& log,
                                                 Wake wake) {
  std::unique_ptr<Exec> exec(new Exec(services, 0, std::move(request), std::move(wake)));
  exec->log_ = &log;
  ORKESTR_CHECK(exec->spawn());
  return exec;
}

Exec::Exec(Services& services, std::uint32_t id, wire::ExecRequest request, Wake wake)
    : services_(services),
      request_(std::move(request)),
      wake_(std::move(wake)),
      outlet_(services.link, id),
      input_(services, Inlet(services.link, id)),
      output_(services, wire::Stream::output),
      error_output_(services, wire::Stream::error_output) {}

Exec::~Exec() {
  services_.reaper.forget(pid_);
  for (const auto timer : {timeout_timer_, grace_timer_, ending_timer_}) services_.reactor.cancel_timer(timer);
  if (tree_) services_.trees.give_back(std::move(tree_));
}

// Both ends of the command's streams. What is not there: no input; no error output of its own (a terminal has one).
struct Exec::Wiring {
  struct Ends {
    base::UniqueFd input, output, error_output;
  };
  Ends ours, theirs;
  base::UniqueFd terminal;  // ours, for the size
};

// Non-blocking on our side only: the flag belongs to the open file, and each end of a pipe is one of its own.
Result<Exec::Wiring> Exec::make_pipes() const {
  Wiring wiring;
  ORKESTR_TRY(std::tie(wiring.ours.output, wiring.theirs.output), base::make_pipe());
  if (log_ == nullptr) {
    ORKESTR_TRY(std::tie(wiring.ours.error_output, wiring.theirs.error_output), base::make_pipe());
  }
  if (request_.stdin_open) {
    ORKESTR_TRY(std::tie(wiring.theirs.input, wiring.ours.input), base::make_pipe());
  }
  for (const base::UniqueFd* end : {&wiring.ours.output, &wiring.ours.error_output, &wiring.ours.input}) {
    if (*end) ORKESTR_CHECK(base::set_nonblocking(end->get(), true));
  }
  return wiring;
}

Result<Exec::Wiring> Exec::make_terminal(std::optional<uid_t> owner) const {
  ORKESTR_TRY(Terminal terminal, open_terminal(request_.cols, request_.rows, owner));
  Wiring wiring;
  for (base::UniqueFd* copy : {&wiring.ours.input, &wiring.terminal}) {
    copy->reset(::fcntl(terminal.master.get(), F_DUPFD_CLOEXEC, 3));
    if (!*copy) return base::errno_error("duplicate a terminal's descriptor", errno);
  }
  wiring.ours.output = std::move(terminal.master);
  wiring.theirs.output = std::move(terminal.slave);
  return wiring;
}

Result<void> Exec::spawn() {
  started_at_ = steady_clock::now();
  started_ns_ = std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
  ORKESTR_TRY(User user, find_user(request_.user));
  ORKESTR_TRY(tree_, services_.trees.take());

  const bool switch_user = !request_.user.empty();
  ORKESTR_TRY(Wiring wiring,
              request_.tty ? make_terminal(switch_user ? std::optional(user.uid) : std::nullopt) : make_pipes());
  const StreamKind kind = request_.tty ? StreamKind::terminal : StreamKind::pipe;

  LaunchRequest launch_request;
  launch_request.env = environment_of(user, request_.tty, services_.settings.env, request_.env, tree_->mark());
  launch_request.argv = std::move(request_.argv);
  launch_request.cwd = request_.cwd.empty() ? services_.settings.workspace : request_.cwd;
  launch_request.terminal = request_.tty;
  const auto& theirs = wiring.theirs;
  launch_request.standard[0] = theirs.input ? theirs.input.get() : services_.null_fd;
  launch_request.standard[1] = theirs.output.get();
  launch_request.standard[2] = theirs.error_output.get();
  if (request_.tty) std::fill_n(launch_request.standard, 3, theirs.output.get());
  if (!theirs.error_output) launch_request.standard[2] = theirs.output.get();
  launch_request.cgroup_fd = tree_->cgroup_fd();
  launch_request.uid = user.uid;
  launch_request.gid = user.gid;
  launch_request.groups = std::move(user.groups);
  launch_request.switch_user = switch_user;
  launch_request.is_init = services_.settings.is_init;

  // The agent's ends first: once the command runs, nothing may fail any more.
  const Wake wake = [this] { wake_(); };
  ORKESTR_CHECK(output_.open(std::move(wiring.ours.output), kind, wake));
  if (wiring.ours.error_output) ORKESTR_CHECK(error_output_.open(std::move(wiring.ours.error_output), kind, wake));
  if (wiring.ours.input) ORKESTR_CHECK(input_.open(std::move(wiring.ours.input), kind));
  terminal_ = std::move(wiring.terminal);
  ORKESTR_TRY(pid_, launch(launch_request));
  request_.argv = std::move(launch_request.argv);

  tree_->set_leader(pid_);
  services_.reaper.watch(pid_, [this](int status, const rusage& usage) { on_exit(status, usage); });
  if (request_.timeout_ms != 0) {
    const milliseconds timeout(std::min(request_.timeout_ms, kLongestTimeoutMs));
    timeout_timer_ = services_.reactor.add_timer(started_at_ + timeout, [this] { end_tree(exit_.timed_out); });
  }
  return {};
}

std::uint64_t Exec::elapsed_us() const {
  const auto elapsed = steady_clock::now() - started_at_;
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(elapsed).count());
}

void Exec::on_exit(int status, const rusage& usage) {
  exited_ = true;
  // Nobody that counts reads the terminal any more; its sender must not wait for that.
  if (request_.tty) input_.close();
  terminal_.reset();
  exit_.duration_us = elapsed_us();
  exit_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  exit_.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  exit_.max_rss_kb = static_cast<std::uint64_t>(usage.ru_maxrss);
  exit_.user_us = microseconds_of(usage.ru_utime);
  exit_.system_us = microseconds_of(usage.ru_stime);
  if (ending_ == Ending::none) {
    services_.reactor.cancel_timer(timeout_timer_);
    // What runs on in the background is none of this command's any more.
    if (!output_.ended() || !error_output_.ended()) {
      grace_timer_ = services_.reactor.add_timer(kGrace, [this] { close_output(); });
    }
  }
  wake_();
}

// After the leader's end there is nothing to kill; what is still being delivered is cut short.
void Exec::cancel() {
  cancel_asked_ = true;
  if (!exited_) return end_tree(exit_.cancelled);
  exit_.cancelled = true;
  abandon_output();
}

void Exec::kill() {
  if (!exited_) return cancel();
  bool no_reason = false;  // it has ended for one of its own
  end_tree(no_reason);
}

void Exec::close_output() {
  closing_ = true;
  output_.finish_with_present_content();
  error_output_.finish_with_present_content();
  wake_();
}

void Exec::abandon_output() {
  output_.abandon();
  error_output_.abandon();
  wake_();
}

// The first reason wins.
void Exec::end_tree(bool& reason) {
  if (ending_ != Ending::none) return;
  reason = true;
  ending_ = Ending::terminating;
  ending_since_ = steady_clock::now();
  tree_->terminate();
  ending_timer_ = services_.reactor.add_timer(kTreePoll, [this] { check_tree(); });
}

void Exec::check_tree() {
  const auto waited = steady_clock::now() - ending_since_;
  const bool gone = exited_ && tree_->is_empty();
  if (!gone && ending_ == Ending::terminating && waited >= kTermGrace) {
    ending_ = Ending::killing;
    ending_since_ = steady_clock::now();
    tree_->kill();
  }
  const bool given_up = ending_ == Ending::killing && steady_clock::now() - ending_since_ >= kKillWait;
  if (!gone && !given_up) {
    ending_timer_ = services_.reactor.add_timer(kTreePoll, [this] { check_tree(); });
    return;
  }
  ending_ = Ending::done;
  if (!exited_) stop_waiting_for_leader();
  // The members' pipes are closed now. An outsider that was handed a copy does not hold the answer.
  close_output();
}

// It was sent SIGKILL, but the kernel does not let go of it (a device that never answers).
void Exec::stop_waiting_for_leader() {
  services_.reaper.forget(pid_);
  exited_ = true;
  exit_.signal = SIGKILL;
  exit_.duration_us = elapsed_us();
}

bool Exec::on_input(std::string_view bytes, bool end) { return input_.write(bytes, end); }

bool Exec::resize(const wire::ResizeMessage& size) {
  if (!request_.tty) return false;
  if (terminal_) resize_terminal(terminal_.get(), size.cols, size.rows);
  return true;
}

bool Exec::on_credit(std::uint32_t bytes) { return outlet_.grant(bytes); }

void Exec::log_to(OutputRing& log, Wake wake) {
  log_ = &log;
  wake_ = std::move(wake);
  input_.close();
}

std::string Exec::line() const {
  if (request_.argv.size() == 3 && request_.argv[0] == "/bin/bash" && request_.argv[1] == "-c") return request_.argv[2];
  std::string line;
  for (const std::string& argument : request_.argv) line.append(line.empty() ? "" : " ").append(argument);
  return line;
}

bool Exec::produce() {
  if (log_ != nullptr) {
    bool more = output_.produce(*log_);
    more = error_output_.produce(*log_) || more;
    try_finish();
    return more && !finished_;
  }
  // Who cancels may have stopped listening, and the answer must come all the same.
  if (cancel_asked_ && ending_ == Ending::done && !outlet_.has_credit()) {
    output_.abandon();
    error_output_.abandon();
  }
  bool more = output_.produce(outlet_);
  more = error_output_.produce(outlet_) || more;
  try_finish();
  return more && !finished_;
}

void Exec::try_finish() {
  if (finished_ || !exited_ || !output_.ended() || !error_output_.ended()) return;
  if (ending_ != Ending::none && ending_ != Ending::done) return;
  finished_ = true;
  const TreeUsage usage = tree_->usage();
  if (usage.known) {
    exit_.user_us = usage.user_us;
    exit_.system_us = usage.system_us;
  }
  exit_.oom = usage.oom;
  exit_.stdout_bytes = output_.bytes();
  exit_.stderr_bytes = error_output_.bytes();
  if (log_ == nullptr) outlet_.send(wire::Type::result, exit_.encode());
}

}  // namespace orkestr::guest
