// The background commands of a sandbox, oldest first. At most kMaxCommands are kept, of which the ended ones go first,
// the oldest before the others; all their output together takes at most kMaxMemory, for which first the oldest ended
// ones lose the beginning of theirs, then whoever has most.
//
// A command that was adopted (its caller is gone) is kept in any case: it runs already.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "guest/command.hpp"

namespace orkestr::guest {

class CommandTable {
 public:
  static constexpr std::size_t kMaxCommands = 256;
  static constexpr std::size_t kMaxMemory = 64U << 20U;

  explicit CommandTable(Services& services) : services_(services) {}

  // rate_limited when kMaxCommands run.
  Result<std::shared_ptr<Command>> start(wire::CommandStartRequest request);
  // `undelivered`: what the caller was not given. The log begins with it, at the offset of its first byte.
  void adopt(std::unique_ptr<Exec> exec, std::string_view undelivered);
  void adopt_ended(const EndedExec& ended, std::string_view undelivered);

  // not_found.
  Result<std::shared_ptr<Command>> find(std::string_view id) const;
  const std::vector<std::shared_ptr<Command>>& all() const { return commands_; }

  // Lets commands move their output, in turn; bounded.
  void pump();
  bool has_work() const { return !runnable_.empty(); }

 private:
  std::shared_ptr<Command> make(std::string line, OutputRing log);
  Wake waker(const std::shared_ptr<Command>& command);
  void make_runnable(const std::weak_ptr<Command>& command);
  bool make_room();
  void trim();

  Services& services_;
  std::vector<std::shared_ptr<Command>> commands_;
  std::deque<std::shared_ptr<Command>> runnable_;
};

}  // namespace orkestr::guest
