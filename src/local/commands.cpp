// LocalSession: background commands, which the agent in the sandbox keeps.
#include <fmt/format.h>

#include <algorithm>

#include "base/try.hpp"
#include "local/call_stream.hpp"
#include "local/session.hpp"
#include "wire/command_message.hpp"

namespace orkestr::local {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(60'000);
// From the guest's own limit to its answer, and what is still on its way.
constexpr auto kFollowGrace = std::chrono::milliseconds(20'000);

constexpr std::size_t kMaxCommands = 1'000;  // a guest keeps a quarter of it

CommandInfo to_info(wire::CommandMessage message) {
  CommandInfo info;
  info.id = std::move(message.id);
  info.command = std::move(message.line);
  if (message.pid != 0) info.pid = static_cast<std::int64_t>(message.pid);
  info.status = static_cast<CommandStatus>(message.status);
  if (info.status == CommandStatus::exited) info.exit_code = static_cast<int>(message.exit_code);
  info.started_at =
      TimePoint(std::chrono::duration_cast<TimePoint::duration>(std::chrono::nanoseconds(message.started_ns)));
  return info;
}

Completion<std::string> as_info(Completion<CommandInfo> done) {
  return [done = std::move(done)](Result<std::string> payload) {
    if (!payload) return done(payload.error());
    auto message = wire::CommandMessage::decode(*payload);
    if (!message) return done(message.error());
    done(to_info(std::move(*message)));
  };
}

CallRequest call_of(wire::Type type, std::string what, std::string payload) {
  CallRequest call;
  call.type = type;
  call.payload = std::move(payload);
  call.patience = {kPatience, true};
  call.what = std::move(what);
  return call;
}

// An id that no command can have is answered here: the wire knows only those that one can have.
Result<CallRequest> about(wire::Type type, std::string_view what, const std::string& id, std::uint64_t offset = 0,
                          std::uint64_t timeout_ms = 0) {
  if (!wire::is_command_id(id)) {
    return Error(ErrorCode::not_found, fmt::format("command {}: no command has such an id; commands() lists them", id));
  }
  if (offset > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("offset is {}; allowed are 0 to {}", offset, std::numeric_limits<std::int64_t>::max()));
  }
  wire::CommandRequest request;
  request.id = id;
  request.offset = offset;
  request.timeout_ms = timeout_ms;
  return call_of(type, fmt::format("{} {}", what, id), request.encode());
}

Result<std::vector<CommandInfo>> decode_list(std::string_view bytes) {
  std::vector<CommandInfo> infos;
  while (!bytes.empty()) {
    if (infos.size() == kMaxCommands) {
      return Error(ErrorCode::connection, fmt::format("the list of commands has more than {} entries", kMaxCommands));
    }
    const std::size_t length = bytes.size() < 4 ? bytes.size() : wire::load_u32(bytes.data());
    if (bytes.size() < 4 || length > bytes.size() - 4) {
      return Error(ErrorCode::connection, "the list of commands ends in the middle of an entry");
    }
    ORKESTR_TRY(auto message, wire::CommandMessage::decode(bytes.substr(4, length)));
    bytes.remove_prefix(4 + length);
    infos.push_back(to_info(std::move(message)));
  }
  return infos;
}

}  // namespace

CancelFunction LocalSession::start_command(std::string line, CommandRequest request, Completion<CommandInfo> done) {
  wire::CommandStartRequest message;
  message.line = line.substr(0, wire::kMaxCommandLineBytes);
  while (!message.line.empty() && message.line.size() < line.size() &&
         (static_cast<unsigned char>(line[message.line.size()]) & 0xC0U) == 0x80U) {
    message.line.pop_back();  // not the half of a character
  }
  message.exec.argv = std::move(request.argv);
  message.exec.cwd = std::move(request.cwd);
  message.exec.env.assign(request.env.begin(), request.env.end());
  message.exec.user = std::move(request.user);
  return ask(call_of(wire::Type::command_start, "start", message.encode()), as_info(std::move(done)));
}

CancelFunction LocalSession::list_commands(Completion<std::vector<CommandInfo>> done) {
  return ask_all(call_of(wire::Type::command_list, "commands", {}), [done = std::move(done)](Result<Answer> answer) {
    if (!answer) return done(answer.error());
    done(decode_list(answer->output));
  });
}

CancelFunction LocalSession::get_command(std::string command_id, Completion<CommandInfo> done) {
  auto call = about(wire::Type::command_get, "command", command_id);
  if (call) return ask(std::move(*call), as_info(std::move(done)));
  done(call.error());
  return [] {};
}

CancelFunction LocalSession::kill_command(std::string command_id, Completion<CommandInfo> done) {
  auto call = about(wire::Type::command_kill, "kill command", command_id);
  if (call) return ask(std::move(*call), as_info(std::move(done)));
  done(call.error());
  return [] {};
}

CancelFunction LocalSession::command_logs(std::string command_id, std::uint64_t offset, Completion<CommandLogs> done) {
  auto call = about(wire::Type::command_logs, "logs of command", command_id, offset);
  if (!call) {
    done(call.error());
    return [] {};
  }
  return ask_all(std::move(*call), [offset, done = std::move(done)](Result<Answer> answer) {
    if (!answer) return done(answer.error());
    auto message = wire::CommandLogsMessage::decode(answer->result);
    if (!message) return done(message.error());
    CommandLogs logs;
    logs.content = std::move(answer->output);
    logs.start_offset = message->start_offset;
    logs.size = message->size;
    logs.truncated = logs.start_offset > offset || logs.next_offset() < logs.size;
    done(std::move(logs));
  });
}

std::unique_ptr<Stream> LocalSession::follow_command(std::string command_id, std::uint64_t offset,
                                                     std::chrono::milliseconds timeout) {
  auto request = about(wire::Type::command_follow, "logs of command", command_id, offset,
                       static_cast<std::uint64_t>(timeout.count()));
  if (request) {
    request->patience = {timeout + kFollowGrace, false};
    return std::make_unique<CallStream>(submit(std::move(*request)));
  }
  CallRequest none;
  none.what = "logs";
  auto call = std::make_shared<Call>(*loop_, std::move(none));
  call->fail(request.error());
  return std::make_unique<CallStream>(std::move(call));
}

}  // namespace orkestr::local
