// A background command: a process tree, the newest of its output, and how it ended. Nobody need listen.
//
// It writes into its ring whether or not anybody reads. Who reads on (LogReader) holds it back while more than half a
// ring waits for him, so that a reader that keeps reading misses nothing; one that stands still for kReaderPatience
// holds it no longer, so that no reader can stop a command.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "guest/exec.hpp"
#include "guest/output_ring.hpp"
#include "guest/services.hpp"
#include "wire/command_message.hpp"

namespace orkestr::guest {

inline constexpr std::chrono::seconds kReaderPatience{5};

// Who is told when the log grows or the command ends; registered as long as he is interested.
struct LogReader {
  std::uint64_t position = 0;  // of the next byte he wants
  bool holds = false;          // the command waits for him, within bounds
  Wake wake;
};

class Command {
 public:
  Command(std::string line, OutputRing log) : line_(std::move(line)), log_(std::move(log)) {}
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  // Starts it. `wake` asks for a turn of produce().
  Result<void> start(Services& services, wire::ExecRequest request, Wake wake);
  // Takes over a command whose caller is gone.
  void adopt(std::unique_ptr<Exec> exec, Wake wake);
  // One that has ended before anybody could be told.
  void adopt_ended(const EndedExec& ended);

  const std::string& id() const { return id_; }
  bool running() const { return status_ == wire::CommandMessage::Status::running; }
  const OutputRing& log() const { return log_; }
  OutputRing& log() { return log_; }
  wire::CommandMessage message() const;
  // How it ended, as the end of a reader's stream.
  wire::ExecExit end() const;

  // Moves output; true when it wants another turn at once.
  bool produce();
  // Ends all that it started and that is still there.
  void kill();
  // False while a kill() is under way, or it runs.
  bool settled() const { return !running() && !(exec_ && exec_->is_ending()); }

  void add_reader(LogReader* reader) { readers_.push_back(reader); }
  void remove_reader(LogReader* reader);
  // A reader has moved on, or no longer holds.
  void reader_moved() {
    if (wake_) wake_();
  }

 private:
  void begin(std::unique_ptr<Exec> exec);
  void finish(const wire::ExecExit& exit);
  bool held() const;

  std::string id_;
  std::string line_;
  OutputRing log_;
  std::unique_ptr<Exec> exec_;  // while it runs, or has left processes behind
  Wake wake_;
  std::vector<LogReader*> readers_;
  std::int64_t started_ns_ = 0;
  std::uint64_t pid_ = 0;
  wire::CommandMessage::Status status_ = wire::CommandMessage::Status::running;
  wire::ExecExit exit_;
};

}  // namespace orkestr::guest
