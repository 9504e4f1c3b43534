// Operations on background commands that are not over at once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "guest/command.hpp"
#include "guest/flow.hpp"
#include "guest/services.hpp"

namespace orkestr::guest {

// Sends bytes that are there, against credit, then the result.
class Reply {
 public:
  Reply(Link& link, std::uint32_t id, std::string bytes) : outlet_(link, id), bytes_(std::move(bytes)) {}

  [[nodiscard]] bool on_input(std::string_view, bool) { return false; }
  [[nodiscard]] bool on_credit(std::uint32_t bytes) { return outlet_.grant(bytes); }
  void cancel();
  bool produce();
  bool finished() const { return finished_; }

 private:
  Outlet outlet_;
  std::string bytes_;
  std::size_t sent_ = 0;
  bool finished_ = false;
};

// `command_logs`: what is there from an offset on, once. `command_follow`: the same, and what comes, until the command
// has ended or the time is over. Where the bytes asked for are not kept any more, reading begins with the oldest that
// are; a reader that falls behind later is told so by an error, for a gap in the middle would go unnoticed.
class LogRead {
 public:
  enum class Kind { logs, follow };
  LogRead(Services& services, std::uint32_t id, Kind kind, std::shared_ptr<Command> command,
          const wire::CommandRequest& request, Wake wake);
  ~LogRead();
  LogRead(const LogRead&) = delete;
  LogRead& operator=(const LogRead&) = delete;

  [[nodiscard]] bool on_input(std::string_view, bool) { return false; }
  [[nodiscard]] bool on_credit(std::uint32_t bytes) { return outlet_.grant(bytes); }
  void cancel();
  bool produce();
  bool finished() const { return finished_; }

 private:
  bool send_some(std::size_t available);
  void stand_still();
  void finish(const std::string& result);
  void fail(const Error& error);

  Services& services_;
  Outlet outlet_;
  const Kind kind_;
  std::shared_ptr<Command> command_;
  LogReader reader_;
  Wake wake_;
  std::uint64_t start_ = 0;  // of what is sent
  std::uint64_t until_ = 0;  // logs
  base::Reactor::TimerId timeout_timer_ = 0, patience_timer_ = 0;
  bool out_of_time_ = false;
  bool finished_ = false;
};

// `command_kill`: answered when all of it has ended.
class CommandKill {
 public:
  CommandKill(Link& link, std::uint32_t id, std::shared_ptr<Command> command, Wake wake);
  ~CommandKill() { command_->remove_reader(&reader_); }
  CommandKill(const CommandKill&) = delete;
  CommandKill& operator=(const CommandKill&) = delete;

  [[nodiscard]] bool on_input(std::string_view, bool) { return false; }
  [[nodiscard]] bool on_credit(std::uint32_t) { return false; }
  // The command is ended all the same.
  void cancel();
  bool produce();
  bool finished() const { return finished_; }

 private:
  Outlet outlet_;
  std::shared_ptr<Command> command_;
  LogReader reader_;
  bool finished_ = false;
};

}  // namespace orkestr::guest
