#include "guest/command.hpp"

#include <algorithm>
#include <csignal>
#include <utility>

#include "base/id.hpp"
#include "base/try.hpp"

namespace orkestr::guest {
namespace {

std::string make_id(std::int64_t started_ns) { return "cmd_" + base::make_ulid(started_ns / 1'000'000); }

}  // namespace

Result<void> Command::start(Services& services, wire::ExecRequest request, Wake wake) {
  ORKESTR_TRY(auto exec, Exec::start_logged(services, std::move(request), log_, wake));
  wake_ = std::move(wake);
  begin(std::move(exec));
  return {};
}

void Command::adopt(std::unique_ptr<Exec> exec, Wake wake) {
  wake_ = wake;
  exec->log_to(log_, std::move(wake));
  begin(std::move(exec));
}

void Command::adopt_ended(const EndedExec& ended) {
  started_ns_ = ended.started_ns;
  pid_ = static_cast<std::uint64_t>(ended.pid);
  id_ = make_id(started_ns_);
  finish(ended.exit);
}

void Command::begin(std::unique_ptr<Exec> exec) {
  exec_ = std::move(exec);
  started_ns_ = exec_->started_ns();
  pid_ = static_cast<std::uint64_t>(exec_->pid());
  id_ = make_id(started_ns_);
}

wire::CommandMessage Command::message() const {
  wire::CommandMessage message;
  message.id = id_;
  message.line = line_;
  message.pid = pid_;
  message.status = status_;
  message.exit_code = status_ == wire::CommandMessage::Status::exited ? exit_.exit_code : 0;
  message.started_ns = started_ns_;
  message.log_bytes = log_.end();
  return message;
}

// `timed_out` would mean the reader's own limit.
wire::ExecExit Command::end() const {
  wire::ExecExit exit = exit_;
  exit.timed_out = false;
  exit.cancelled = false;
  if (status_ != wire::CommandMessage::Status::killed) return exit;
  exit.exit_code = 0;
  if (exit.signal == 0) exit.signal = SIGTERM;  // it was sent that, and chose the way itself
  return exit;
}

bool Command::held() const {
  if (exec_->is_closing()) return false;
  return std::any_of(readers_.begin(), readers_.end(), [this](const LogReader* reader) {
    return reader->holds && log_.end() > reader->position + OutputRing::kMaxBytes / 2;
  });
}

bool Command::produce() {
  if (!exec_ || held()) return false;
  const std::uint64_t before = log_.end();
  const bool more = exec_->produce();
  const bool ended = running() && exec_->finished();
  if (ended) finish(exec_->exit());
  if (!running() && !exec_->is_ending() && !exec_->left_processes()) exec_.reset();
  if (ended || log_.end() != before || !running()) {
    for (const LogReader* reader : readers_) reader->wake();
  }
  return more && running();
}

void Command::finish(const wire::ExecExit& exit) {
  exit_ = exit;
  const bool killed = exit.signal != 0 || exit.cancelled || exit.timed_out;
  status_ = killed ? wire::CommandMessage::Status::killed : wire::CommandMessage::Status::exited;
}

void Command::kill() {
  if (exec_) exec_->kill();
}

void Command::remove_reader(LogReader* reader) {
  readers_.erase(std::remove(readers_.begin(), readers_.end(), reader), readers_.end());
  reader_moved();
}

}  // namespace orkestr::guest
