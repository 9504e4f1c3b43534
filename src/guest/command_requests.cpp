#include "guest/command_requests.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace orkestr::guest {
namespace {

void send_error(Outlet& outlet, const Error& error) {
  outlet.send(wire::Type::error, wire::ErrorMessage::from(error).encode());
}

Error cancelled(std::string_view what) { return Error(ErrorCode::cancelled, fmt::format("{}: cancelled", what)); }

}  // namespace

void Reply::cancel() {
  if (std::exchange(finished_, true)) return;
  send_error(outlet_, cancelled("commands"));
}

bool Reply::produce() {
  if (finished_) return false;
  const std::size_t count = std::min({bytes_.size() - sent_, outlet_.allowance(), kFrameData});
  if (count == 0 && sent_ < bytes_.size()) return outlet_.has_credit();
  const bool last = sent_ + count == bytes_.size();
  outlet_.send_data(
      wire::data_frame(outlet_.id(), wire::Stream::output, std::string_view(bytes_).substr(sent_, count), last));
  sent_ += count;
  if (!last) return true;
  finished_ = true;
  outlet_.send(wire::Type::result, {});
  return false;
}

LogRead::LogRead(Services& services, std::uint32_t id, Kind kind, std::shared_ptr<Command> command,
                 const wire::CommandRequest& request, Wake wake)
    : services_(services),
      outlet_(services.link, id),
      kind_(kind),
      command_(std::move(command)),
      wake_(std::move(wake)) {
  const OutputRing& log = command_->log();
  // Beyond the end nothing has been written yet: a follower waits for that byte, logs() answers none.
  start_ = std::max(request.offset, log.begin());
  if (kind == Kind::logs) start_ = std::min(start_, log.end());
  until_ = std::min(log.end(), start_ + wire::kMaxLogsBytes);
  reader_.position = start_;
  reader_.holds = true;
  reader_.wake = wake_;
  command_->add_reader(&reader_);
  if (kind == Kind::follow && request.timeout_ms > 0) {
    timeout_timer_ = services_.reactor.add_timer(std::chrono::milliseconds(request.timeout_ms), [this] {
      out_of_time_ = true;
      wake_();
    });
  }
}

LogRead::~LogRead() {
  for (const auto timer : {timeout_timer_, patience_timer_}) services_.reactor.cancel_timer(timer);
  command_->remove_reader(&reader_);
}

bool LogRead::produce() {
  if (finished_) return false;
  const OutputRing& log = command_->log();
  if (reader_.position < log.begin()) {
    fail(Error(ErrorCode::rate_limited,
               fmt::format("logs of command {}: the reader is slower than the command writes, and bytes {} to {} are "
                           "not kept any more; read on from offset {}",
                           command_->id(), reader_.position, log.begin() - 1, log.begin())));
    return false;
  }
  const std::uint64_t end = kind_ == Kind::logs ? until_ : log.end();
  if (out_of_time_) {
    wire::ExecExit late;
    late.timed_out = true;
    finish(late.encode());
  } else if (reader_.position < end) {
    return send_some(static_cast<std::size_t>(end - reader_.position));
  } else if (kind_ == Kind::logs) {
    wire::CommandLogsMessage logs;
    logs.start_offset = start_;
    logs.size = std::max(log.end(), until_);
    finish(logs.encode());
  } else if (!command_->running()) {
    finish(command_->end().encode());
  }
  return false;
}

bool LogRead::send_some(std::size_t available) {
  const std::string_view piece = command_->log().at(reader_.position);
  const std::size_t count = std::min({piece.size(), available, outlet_.allowance(), kFrameData});
  if (count == 0) {
    stand_still();
    return outlet_.has_credit();
  }
  outlet_.send_data(wire::data_frame(outlet_.id(), wire::Stream::output, piece.substr(0, count)));
  reader_.position += count;
  services_.reactor.cancel_timer(std::exchange(patience_timer_, 0));
  reader_.holds = true;
  command_->reader_moved();
  return true;
}

void LogRead::stand_still() {
  if (patience_timer_ != 0 || !reader_.holds) return;
  patience_timer_ = services_.reactor.add_timer(kReaderPatience, [this] {
    patience_timer_ = 0;
    reader_.holds = false;
    command_->reader_moved();
  });
}

void LogRead::cancel() {
  if (!finished_) fail(cancelled("logs of command " + command_->id()));
}

void LogRead::finish(const std::string& result) {
  finished_ = true;
  outlet_.send_data(wire::data_frame(outlet_.id(), wire::Stream::output, {}, true));
  outlet_.send(wire::Type::result, result);
}

void LogRead::fail(const Error& error) {
  finished_ = true;
  send_error(outlet_, error);
}

CommandKill::CommandKill(Link& link, std::uint32_t id, std::shared_ptr<Command> command, Wake wake)
    : outlet_(link, id), command_(std::move(command)) {
  reader_.wake = std::move(wake);
  command_->add_reader(&reader_);
  command_->kill();
}

bool CommandKill::produce() {
  if (finished_ || !command_->settled()) return false;
  finished_ = true;
  outlet_.send(wire::Type::result, command_->message().encode());
  return false;
}

void CommandKill::cancel() {
  if (std::exchange(finished_, true)) return;
  send_error(outlet_, cancelled("kill command " + command_->id()));
}

}  // namespace orkestr::guest
