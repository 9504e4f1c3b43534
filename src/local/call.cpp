#include "local/call.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/try.hpp"
#include "local/connection.hpp"
#include "wire/message.hpp"

namespace orkestr::local {
namespace {

// Output in small frames is joined up to this size, so that a guest that sends single bytes cannot multiply them.
constexpr std::size_t kPieceBytes = wire::kDataChunk;
// So many wait exactly as they came. Beyond that output joins the last piece of its own stream, past one of the other,
// so that a guest that alternates between them byte by byte cannot multiply its window by the cost of a piece.
constexpr std::size_t kMaxExactPieces = 256;
// `progress` messages waiting to be taken.
constexpr std::size_t kMaxWaitingMessages = 256;

}  // namespace

std::optional<Call::Outcome> Call::take() {
  std::unique_lock lock(mutex_);
  if (!pieces_.empty()) {
    Piece piece = std::move(pieces_.front());
    pieces_.pop_front();
    if (piece.kind == Piece::Kind::output || piece.kind == Piece::Kind::error_output) {
      buffered_ -= piece.data.size();
      unreturned_ += static_cast<std::uint32_t>(piece.data.size());
      return_credit_locked(lock);
    }
    return Outcome(std::move(piece));
  }
  if (error_) {
    Error error = std::move(*error_);
    error_.reset();
    return Outcome(std::move(error));
  }
  return std::nullopt;
}

bool Call::readable() const {
  std::lock_guard lock(mutex_);
  return !pieces_.empty() || error_;
}

bool Call::finished() const {
  std::lock_guard lock(mutex_);
  return ended_;
}

bool Call::cancel_asked() const {
  std::lock_guard lock(mutex_);
  return cancel_asked_;
}

bool Call::abandoned() const {
  std::lock_guard lock(mutex_);
  return abandoned_;
}

bool Call::waits_for_consumer() const {
  std::lock_guard lock(mutex_);
  if (buffered_ > 0) return true;
  // A command need not want the input that it may get: its own timeout counts on.
  return request_.type != wire::Type::exec && request_.has_input && !input_ended_ && send_window_ > 0;
}

// Half a window at a time: credit frames stay rare, and the producer never runs dry while the consumer keeps up.
void Call::return_credit_locked(std::unique_lock<std::mutex>& lock) {
  if (ended_ || unreturned_ < wire::kInitialCredit / 2) return;
  const std::uint32_t amount = std::exchange(unreturned_, 0);
  receive_window_ += amount;
  lock.unlock();
  with_connection([amount](Connection& connection, Call& call) {
    connection.send(wire::credit_frame(call.id(), amount), wire::Lane::control);
  });
}

std::size_t Call::offer(std::string_view bytes) {
  std::vector<wire::OutFrame> frames;
  std::size_t taken = 0;
  std::lock_guard in_order(input_mutex_);
  {
    std::lock_guard lock(mutex_);
    if (!opened_ || ended_ || input_ended_) return 0;
    taken = std::min<std::size_t>(bytes.size(), send_window_);
    if (taken == 0) return 0;
    send_window_ -= static_cast<std::uint32_t>(taken);
  }
  // Copied here, in the caller's thread: the I/O thread only moves it on.
  for (std::size_t at = 0; at < taken; at += wire::kDataChunk) {
    frames.push_back(
        wire::data_frame(id_, wire::Stream::input, bytes.substr(at, std::min(wire::kDataChunk, taken - at))));
  }
  auto shared = std::make_shared<std::vector<wire::OutFrame>>(std::move(frames));
  with_connection([shared](Connection& connection, Call&) {
    for (auto& frame : *shared) connection.queue(std::move(frame), wire::Lane::stream);
    connection.flush();
  });
  return taken;
}

void Call::end_input() {
  std::lock_guard in_order(input_mutex_);
  {
    std::lock_guard lock(mutex_);
    if (input_ended_ || ended_) return;
    input_ended_ = true;
    if (!opened_) return;  // open() sends it
  }
  with_connection([](Connection& connection, Call& call) {
    connection.send(wire::data_frame(call.id(), wire::Stream::input, {}, true), wire::Lane::stream);
  });
}

void Call::resize(int cols, int rows) {
  wire::ResizeMessage size;
  size.cols = static_cast<std::uint64_t>(cols);
  size.rows = static_cast<std::uint64_t>(rows);
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    if (!opened_) {
      early_resize_ = size.encode();  // open() sends it
      return;
    }
  }
  with_connection([payload = size.encode()](Connection& connection, Call& call) {
    connection.send(wire::OutFrame(wire::Type::resize, call.id(), payload), wire::Lane::control);
  });
}

void Call::cancel() {
  {
    std::lock_guard lock(mutex_);
    if (ended_ || cancel_asked_) return;
    cancel_asked_ = true;
    if (!opened_) return;  // open() fails it
  }
  with_connection([](Connection& connection, Call& call) { connection.cancel(call); });
}

void Call::abandon() {
  if (loop_.forked()) return;  // another thread may have held the mutex at the fork
  {
    std::lock_guard lock(mutex_);
    hook_ = nullptr;
    abandoned_ = true;
    if (ended_ || !opened_) return;
  }
  with_connection([](Connection& connection, Call& call) { connection.detach(call); });
}

void Call::on_ready(std::function<void()> hook) {
  std::function<void()> now, old;
  {
    std::lock_guard lock(mutex_);
    old = std::exchange(hook_, std::move(hook));
    if (hook_ && (!pieces_.empty() || error_ || (opened_ && request_.has_input && send_window_ > 0))) now = hook_;
  }
  if (now) now();
}

void Call::notify() {
  std::function<void()> hook;
  {
    std::lock_guard lock(mutex_);
    hook = hook_;
  }
  if (hook) hook();
}

void Call::with_connection(std::function<void(Connection&, Call&)> task) {
  loop_.post([self = shared_from_this(), task = std::move(task)] {
    if (auto connection = self->connection_.lock(); connection && !self->finished()) task(*connection, *self);
  });
}

void Call::open(std::uint32_t id, const std::shared_ptr<Connection>& connection, std::shared_ptr<void> keep_alive) {
  bool end_now = false;
  std::string resize_now;
  bool cancel_now = false;
  bool detach_now = false;
  {
    std::lock_guard lock(mutex_);
    id_ = id;
    connection_ = connection;
    keep_alive_ = std::move(keep_alive);
    opened_ = true;
    end_now = request_.has_input && input_ended_;
    resize_now = std::move(early_resize_);
    // Asked for after the connection looked, by a thread that saw no opened_ yet and left it to us.
    detach_now = abandoned_;
    cancel_now = cancel_asked_ && !abandoned_;
  }
  last_progress = std::chrono::steady_clock::now();
  connection->queue(wire::OutFrame(request_.type, id, request_.payload), wire::Lane::control);
  if (!resize_now.empty()) connection->queue(wire::OutFrame(wire::Type::resize, id, resize_now), wire::Lane::control);
  if (end_now) connection->queue(wire::data_frame(id, wire::Stream::input, {}, true), wire::Lane::stream);
  if (detach_now) with_connection([](Connection& over, Call& call) { over.detach(call); });
  if (cancel_now) with_connection([](Connection& over, Call& call) { over.cancel(call); });
  if (request_.has_input) notify();
}

Result<void> Call::receive(const wire::Frame& frame) {
  last_progress = std::chrono::steady_clock::now();
  std::shared_ptr<void> released;  // destroyed last, without the lock
  {
    std::lock_guard lock(mutex_);
    switch (frame.type) {
      case wire::Type::data: {
        const bool to_stderr = frame.stream() == wire::Stream::error_output;
        ORKESTR_CHECK(
            deliver_locked({to_stderr ? Piece::Kind::error_output : Piece::Kind::output, std::string(frame.payload)}));
        break;
      }
      case wire::Type::credit: {
        const auto amount = wire::credit_of(frame);
        if (!amount) {
          return Error(ErrorCode::connection, fmt::format("{}: the peer sent a malformed credit frame", request_.what));
        }
        if (*amount > wire::kMaxCredit - std::min(send_window_, wire::kMaxCredit)) {
          return Error(ErrorCode::connection,
                       fmt::format("{}: the peer granted {} bytes on top of {}; at most {} may be open", request_.what,
                                   *amount, send_window_, wire::kMaxCredit));
        }
        send_window_ += *amount;
        break;
      }
      case wire::Type::started: {
        const auto message = wire::StartedMessage::decode(frame.payload);
        if (!message) return message.error();
        pid_ = static_cast<std::int64_t>(message->pid);
        return {};
      }
      case wire::Type::progress:
        ORKESTR_CHECK(deliver_locked({Piece::Kind::progress, std::string(frame.payload)}));
        break;
      case wire::Type::result:
        ended_ = true;
        pieces_.push_back({Piece::Kind::end, std::string(frame.payload)});
        released = std::move(keep_alive_);
        break;
      case wire::Type::error: {
        auto message = wire::ErrorMessage::decode(frame.payload);
        if (!message) return message.error();
        ended_ = true;
        error_ = message->to_error();
        released = std::move(keep_alive_);
        break;
      }
      default:
        return Error(ErrorCode::connection, fmt::format("{}: the peer sent a {} frame inside an operation",
                                                        request_.what, wire::to_string(frame.type)));
    }
  }
  notify();
  return {};
}

Result<void> Call::deliver_locked(Piece piece) {
  if (piece.kind == Piece::Kind::output || piece.kind == Piece::Kind::error_output) {
    if (piece.data.empty()) return {};  // only the end of one stream
    if (piece.data.size() > receive_window_) {
      return Error(ErrorCode::connection, fmt::format("{}: the peer sent {} bytes with a window of {}", request_.what,
                                                      piece.data.size(), receive_window_));
    }
    receive_window_ -= static_cast<std::uint32_t>(piece.data.size());
    buffered_ += piece.data.size();
    const std::size_t looked_at = pieces_.size() < kMaxExactPieces ? 1 : 2;
    for (std::size_t i = 1; i <= std::min(looked_at, pieces_.size()); ++i) {
      Piece& last = pieces_[pieces_.size() - i];
      if (last.kind != piece.kind || last.data.size() + piece.data.size() > kPieceBytes) continue;
      last.data += piece.data;
      return {};
    }
  } else if (pieces_.size() > kMaxWaitingMessages) {
    return Error(ErrorCode::connection, fmt::format("{}: the peer floods with messages", request_.what));
  }
  pieces_.push_back(std::move(piece));
  return {};
}

void Call::fail(Error error) {
  std::shared_ptr<void> released;
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    ended_ = true;
    error_ = std::move(error);
    released = std::move(keep_alive_);
  }
  notify();
}

}  // namespace orkestr::local
