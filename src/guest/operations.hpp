// The table of operations: requests open them, frames reach them by id, each ends with one result or error.
//
// Operations that have something to send take turns in pump(); the others cost nothing. A peer that starts over
// (`established` again) is not owed any answer: its transfers are dropped. Its commands go on, as background commands
// (command_table.hpp): what the peer did not get of their output, and of their end, is found there.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>
#include <variant>
#include <vector>

#include "guest/command_requests.hpp"
#include "guest/command_table.hpp"
#include "guest/exec.hpp"
#include "guest/services.hpp"
#include "guest/transfer.hpp"
#include "wire/frame.hpp"

namespace orkestr::guest {

class Operations {
 public:
  using Configure = std::function<Result<void>(const wire::ConfigureRequest&)>;

  Operations(Services& services, Configure configure)
      : services_(services), configure_(std::move(configure)), commands_(services) {}

  // An error means that the peer broke the protocol.
  Result<void> on_frame(const wire::Frame& frame);
  // `lost`: frames that the peer of before did not get.
  void on_established(const std::vector<wire::OutFrame>& lost);
  // Lets operations send, in turn, while the link has room; bounded, so that input gets its turn.
  void pump();
  // True when pump() would do something right away.
  bool has_work() const { return commands_.has_work() || can_send(); }

 private:
  using Key = std::uint64_t;  // never used twice, unlike ids
  using Operation = std::variant<std::unique_ptr<Exec>, std::unique_ptr<FileRead>, std::unique_ptr<FileWrite>,
                                 std::unique_ptr<FileList>, std::unique_ptr<Reply>, std::unique_ptr<LogRead>,
                                 std::unique_ptr<CommandKill>>;
  struct Entry {
    std::uint32_t id = 0;
    bool runnable = false;
    Operation operation;
  };

  Result<void> open(const wire::Frame& frame);
  Result<void> start(const wire::Frame& frame);
  Result<void> start_file(const wire::Frame& frame);
  Result<void> start_background(const wire::Frame& frame);
  Result<void> on_command(const wire::Frame& frame);
  std::string list_commands() const;
  Result<void> on_data(const wire::Frame& frame);
  Result<void> on_credit(const wire::Frame& frame);
  void on_cancel(const wire::Frame& frame);
  Result<void> on_resize(const wire::Frame& frame);
  template <class T>
  void keep(std::uint32_t id, Key key, Result<std::unique_ptr<T>> operation);
  void answer(std::uint32_t id, const Result<void>& outcome);
  void answer_error(std::uint32_t id, const Error& error);
  Entry* find(std::uint32_t id, Key* key = nullptr);
  void make_runnable(Key key);
  void run_one();
  bool can_send() const { return !runnable_.empty() && services_.link.has_room(); }
  void adopt_commands(const std::vector<wire::OutFrame>& lost);

  Services& services_;
  Configure configure_;
  CommandTable commands_;
  // Commands whose answer may not have left yet.
  struct Answered {
    std::uint32_t id;
    EndedExec exec;
  };
  std::deque<Answered> answered_;
  std::unordered_map<Key, Entry> entries_;
  std::unordered_map<std::uint32_t, Key> open_;  // those the peer knows of
  std::deque<Key> runnable_;
  Key next_key_ = 1;
};

}  // namespace orkestr::guest
