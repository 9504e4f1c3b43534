#include "local/call_stream.hpp"

#include "wire/message.hpp"

namespace orkestr::local {
namespace {

std::chrono::microseconds microseconds(std::uint64_t value) {
  return std::chrono::microseconds(static_cast<std::int64_t>(value));
}

CommandEnd to_command_end(const wire::ExecExit& exit) {
  CommandEnd end;
  end.exit_code = static_cast<int>(exit.exit_code);
  end.signal = static_cast<int>(exit.signal);
  end.timed_out = exit.timed_out;
  end.cancelled = exit.cancelled;
  end.oom = exit.oom;
  end.duration = microseconds(exit.duration_us);
  end.user_time = microseconds(exit.user_us);
  end.system_time = microseconds(exit.system_us);
  end.max_rss_kb = exit.max_rss_kb;
  end.stdout_bytes = exit.stdout_bytes;
  end.stderr_bytes = exit.stderr_bytes;
  return end;
}

}  // namespace

CallStream::~CallStream() { call_->abandon(); }

std::optional<Result<StreamItem>> CallStream::take() {
  auto outcome = call_->take();
  if (!outcome) return std::nullopt;
  if (!*outcome) return Result<StreamItem>(outcome->error());
  Call::Piece& piece = **outcome;
  StreamItem item;
  switch (piece.kind) {
    case Call::Piece::Kind::output:
    case Call::Piece::Kind::error_output:
      item.stream =
          piece.kind == Call::Piece::Kind::output ? OutputStream::standard_output : OutputStream::standard_error;
      item.data = std::move(piece.data);
      return Result<StreamItem>(std::move(item));
    case Call::Piece::Kind::progress:
      return take();  // comes during create only, which does not go through here
    case Call::Piece::Kind::end: {
      item.kind = StreamItem::Kind::end;
      if (call_->request().type == wire::Type::exec || call_->request().type == wire::Type::command_follow) {
        auto exit = wire::ExecExit::decode(piece.data);
        if (!exit) return Result<StreamItem>(exit.error());
        item.end = to_command_end(*exit);
      }
      return Result<StreamItem>(std::move(item));
    }
  }
  return std::nullopt;
}

}  // namespace orkestr::local
