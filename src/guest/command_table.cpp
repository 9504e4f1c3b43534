#include "guest/command_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/try.hpp"

namespace orkestr::guest {
namespace {

// Reads from pipes in one turn of the loop.
constexpr int kReadsPerTurn = 16;

// The beginning of a line, as much as is shown; never the half of a character.
std::string shown(std::string line) {
  if (line.size() <= wire::kMaxCommandLineBytes) return line;
  std::size_t end = wire::kMaxCommandLineBytes;
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0U) == 0x80U) --end;
  line.resize(end);
  return line;
}

}  // namespace

Result<std::shared_ptr<Command>> CommandTable::start(wire::CommandStartRequest request) {
  if (commands_.size() >= kMaxCommands && !make_room()) {
    return Error(ErrorCode::rate_limited,
                 fmt::format("{} background commands are running in this sandbox, which is the most there can be; kill "
                             "one, or wait for one to end",
                             commands_.size()));
  }
  auto command = std::make_shared<Command>(shown(std::move(request.line)), OutputRing());
  ORKESTR_CHECK(command->start(services_, std::move(request.exec), waker(command)));
  commands_.push_back(command);
  return command;
}

void CommandTable::adopt(std::unique_ptr<Exec> exec, std::string_view undelivered) {
  auto command = std::make_shared<Command>(shown(exec->line()), OutputRing(exec->output_bytes() - undelivered.size()));
  command->log().append(undelivered);
  command->adopt(std::move(exec), waker(command));
  commands_.push_back(command);
  make_runnable(command);
  if (commands_.size() > kMaxCommands) make_room();
  trim();
}

void CommandTable::adopt_ended(const EndedExec& ended, std::string_view undelivered) {
  auto command = std::make_shared<Command>(
      shown(ended.line), OutputRing(ended.exit.stdout_bytes + ended.exit.stderr_bytes - undelivered.size()));
  command->log().append(undelivered);
  command->adopt_ended(ended);
  commands_.push_back(std::move(command));
  if (commands_.size() > kMaxCommands) make_room();
  trim();
}

Result<std::shared_ptr<Command>> CommandTable::find(std::string_view id) const {
  const auto found = std::find_if(commands_.begin(), commands_.end(), [&](const auto& one) { return one->id() == id; });
  if (found != commands_.end()) return *found;
  return Error(
      ErrorCode::not_found,
      fmt::format("command {}: this sandbox has none of that id; commands() lists them ({} are kept, the oldest "
                  "that have ended go first)",
                  id, kMaxCommands));
}

// False when all of them run.
bool CommandTable::make_room() {
  const auto oldest = std::find_if(commands_.begin(), commands_.end(), [](const auto& one) { return !one->running(); });
  if (oldest == commands_.end()) return false;
  commands_.erase(oldest);
  return true;
}

Wake CommandTable::waker(const std::shared_ptr<Command>& command) {
  return [this, weak = std::weak_ptr<Command>(command)] { make_runnable(weak); };
}

void CommandTable::make_runnable(const std::weak_ptr<Command>& weak) {
  auto command = weak.lock();
  if (!command || std::find(runnable_.begin(), runnable_.end(), command) != runnable_.end()) return;
  runnable_.push_back(std::move(command));
}

void CommandTable::pump() {
  for (int i = 0; i < kReadsPerTurn && !runnable_.empty(); ++i) {
    const std::shared_ptr<Command> command = std::move(runnable_.front());
    runnable_.pop_front();
    const std::size_t before = command->log().memory();
    if (command->produce()) make_runnable(command);
    if (command->log().memory() > before) trim();
  }
}

void CommandTable::trim() {
  std::size_t total = 0;
  for (const auto& command : commands_) total += command->log().memory();
  while (total > kMaxMemory) {
    auto victim = std::find_if(commands_.begin(), commands_.end(),
                               [](const auto& one) { return !one->running() && one->log().memory() > 0; });
    if (victim == commands_.end()) {
      victim = std::max_element(commands_.begin(), commands_.end(),
                                [](const auto& a, const auto& b) { return a->log().memory() < b->log().memory(); });
    }
    total -= (*victim)->log().memory();
    (*victim)->log().drop_oldest();
    total += (*victim)->log().memory();
  }
}

}  // namespace orkestr::guest
