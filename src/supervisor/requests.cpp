#include "supervisor/requests.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/try.hpp"
#include "supervisor/masking.hpp"
#include "wire/command_message.hpp"

namespace orkestr::supervisor {
namespace {

using wire::Type;

constexpr std::size_t kLengthBytes = 4;
// A FileInfo is a name of at most 255 bytes and five numbers; a CommandMessage a line, an id and five.
constexpr std::size_t kMaxFileEntryBytes = 1024;
constexpr std::size_t kMaxCommandEntryBytes = wire::kMaxCommandLineBytes + 1024;

Error malformed(std::string_view what) { return Error(ErrorCode::connection, std::string(what)); }

std::chrono::milliseconds command_patience(std::uint64_t timeout_ms) {
  return std::chrono::milliseconds(timeout_ms) + kExecGrace;
}

Result<void> read_exec(std::string_view payload, const wire::EnvList& sandbox_env, RequestView& view) {
  ORKESTR_TRY(const auto request, wire::ExecRequest::decode(payload));
  view.has_input = request.stdin_open;
  view.tty = request.tty;
  view.command = mask(command_line(request.argv), {&sandbox_env, &request.env});
  if (request.timeout_ms != 0) view.patience = command_patience(request.timeout_ms);
  view.payload = request.encode();
  return {};
}

Result<void> read_start(std::string_view payload, const wire::EnvList& sandbox_env, RequestView& view) {
  ORKESTR_TRY(const auto request, wire::CommandStartRequest::decode(payload));
  view.command = mask(command_line(request.exec.argv), {&sandbox_env, &request.exec.env});
  view.patience = kAnswerTimeout;
  view.payload = request.encode();
  return {};
}

Result<void> read_command(Type type, std::string_view payload, RequestView& view) {
  ORKESTR_TRY(const auto request, wire::CommandRequest::decode(payload));
  view.command_id = request.id;
  if (type != Type::command_follow) {
    view.patience = kAnswerTimeout;
  } else if (request.timeout_ms != 0) {
    view.patience = command_patience(request.timeout_ms);
  }
  view.payload = request.encode();
  return {};
}

Result<void> read_file(Type type, std::string_view payload, const wire::EnvList& sandbox_env, RequestView& view) {
  ORKESTR_TRY(const auto request, wire::FileRequest::decode(payload));
  if ((type == Type::file_move) == request.destination.empty()) {
    return malformed("a destination belongs to a move, and only to that");
  }
  view.has_input = type == Type::file_write;
  view.path = mask(request.path, {&sandbox_env});
  view.destination = mask(request.destination, {&sandbox_env});
  view.patience = kAnswerTimeout;
  view.payload = request.encode();
  return {};
}

Result<void> read_any(const wire::Frame& frame, const wire::EnvList& sandbox_env, RequestView& view) {
  switch (frame.type) {
    case Type::exec:
      return read_exec(frame.payload, sandbox_env, view);
    case Type::command_start:
      return read_start(frame.payload, sandbox_env, view);
    case Type::command_list:
      view.patience = kAnswerTimeout;
      return frame.payload.empty() ? Result<void>() : malformed("a list of commands is asked for without arguments");
    case Type::command_get:
    case Type::command_kill:
    case Type::command_logs:
    case Type::command_follow:
      return read_command(frame.type, frame.payload, view);
    default:
      return read_file(frame.type, frame.payload, sandbox_env, view);
  }
}

Result<ResultView> read_command_result(const ResultContext& context, std::string_view payload) {
  ORKESTR_TRY(const auto message, wire::CommandMessage::decode(payload));
  if (context.request != Type::command_start && message.id != context.command_id) {
    return malformed("it is about another command than the one that was asked for");
  }
  if (context.request == Type::command_kill && message.status == wire::CommandMessage::Status::running) {
    return malformed("a command that was ended runs");
  }
  return ResultView{message.encode(), std::nullopt, message.id};
}

}  // namespace

bool has_output(Type request) {
  return request == Type::exec || request == Type::file_read || request == Type::file_list ||
         request == Type::command_list || request == Type::command_logs || request == Type::command_follow;
}

bool is_transfer(Type request) {
  return request == Type::file_read || request == Type::file_write || request == Type::file_list ||
         request == Type::command_list || request == Type::command_logs;
}

bool is_logged(Type request) {
  switch (request) {
    case Type::exec:
    case Type::file_write:
    case Type::file_delete:
    case Type::file_mkdir:
    case Type::file_move:
    case Type::command_start:
    case Type::command_kill:
      return true;
    default:
      return false;
  }
}

Result<void> ListCheck::feed(std::string_view bytes) {
  const std::size_t most = entry_ == Entry::file ? kMaxFileEntryBytes : kMaxCommandEntryBytes;
  while (!bytes.empty()) {
    const std::size_t wanted =
        partial_.size() < kLengthBytes ? kLengthBytes : kLengthBytes + wire::load_u32(partial_.data());
    const std::size_t take = std::min(wanted - partial_.size(), bytes.size());
    partial_.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    if (partial_.size() < kLengthBytes) return {};
    const std::size_t length = wire::load_u32(partial_.data());
    if (length == 0 || length > most) {
      return Error(ErrorCode::connection, fmt::format("an entry of {} bytes, allowed are 1 to {}", length, most));
    }
    if (partial_.size() < kLengthBytes + length) continue;
    const std::string_view message = std::string_view(partial_).substr(kLengthBytes);
    if (entry_ == Entry::file) {
      ORKESTR_CHECK(wire::FileInfo::decode(message));
    } else {
      ORKESTR_CHECK(wire::CommandMessage::decode(message));
    }
    partial_.clear();
  }
  return {};
}

Result<RequestView> read_request(const wire::Frame& frame, const wire::EnvList& sandbox_env) {
  RequestView view;
  if (const auto read = read_any(frame, sandbox_env, view); !read) {
    return Error(ErrorCode::invalid_argument, read.error().message());
  }
  if (view.payload.size() > wire::kMaxPayload) {
    return Error(ErrorCode::invalid_argument, fmt::format("the request takes {} bytes, at most {} fit; shorten its "
                                                          "arguments and environment",
                                                          view.payload.size(), wire::kMaxPayload));
  }
  return view;
}

Result<ResultView> read_result(const ResultContext& context, std::string_view payload) {
  switch (context.request) {
    case Type::exec:
    case Type::command_follow: {
      ORKESTR_TRY(const auto exit, wire::ExecExit::decode(payload));
      return ResultView{exit.encode(), context.request == Type::exec ? std::optional(exit) : std::nullopt, {}};
    }
    case Type::file_stat: {
      ORKESTR_TRY(const auto info, wire::FileInfo::decode(payload));
      return ResultView{info.encode(), std::nullopt, {}};
    }
    case Type::command_start:
    case Type::command_get:
    case Type::command_kill:
      return read_command_result(context, payload);
    case Type::command_logs: {
      ORKESTR_TRY(const auto logs, wire::CommandLogsMessage::decode(payload));
      if (context.output_bytes > wire::kMaxLogsBytes || context.output_bytes > logs.size - logs.start_offset) {
        return malformed("it claims less output than came");
      }
      return ResultView{logs.encode(), std::nullopt, {}};
    }
    case Type::stats: {
      ORKESTR_TRY(const auto stats, wire::StatsMessage::decode(payload));
      return ResultView{stats.encode(), std::nullopt, {}};
    }
    default:
      if (!payload.empty()) return malformed(fmt::format("it has {} bytes where none belong", payload.size()));
      return ResultView{};
  }
}

}  // namespace orkestr::supervisor
