#include "supervisor/connection.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <utility>

#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::supervisor {
namespace {

namespace asio = boost::asio;
using asio::posix::stream_descriptor;

// So that one fast reader does not keep the loop.
constexpr std::size_t kBytesPerTurn = 1U << 20U;
constexpr std::size_t kMaxPingBytes = 64;
// Pings that came since we last had nothing to send: a peer that only asks and never reads.
constexpr int kMaxUnsentPongs = 64;

Error ended() { return Error(ErrorCode::connection, "the connection was closed by the other side"); }

}  // namespace

Connection::Connection(const asio::any_io_executor& executor, wire::Receiver self, Hooks hooks)
    : socket_(executor), channel_(self), hooks_(std::move(hooks)) {}

std::shared_ptr<Connection> Connection::start(const asio::any_io_executor& executor, base::UniqueFd socket,
                                              wire::Receiver self, Hooks hooks) {
  std::shared_ptr<Connection> connection(new Connection(executor, self, std::move(hooks)));
  boost::system::error_code ec;
  connection->socket_.assign(socket.get(), ec);
  if (!ec) {
    socket.release();
    connection->socket_.non_blocking(true, ec);
  }
  if (ec) {
    connection->fail(Error(ErrorCode::internal, fmt::format("watching a socket: {}", ec.message())), End::gone);
    return connection;
  }
  connection->await_readable();
  connection->schedule_flush();  // our half of the handshake
  return connection;
}

void Connection::send(wire::OutFrame frame, wire::Lane lane) {
  if (closed_) return;
  channel_.send(std::move(frame), lane);
  schedule_flush();
}

bool Connection::drained() { return closed_ || (channel_.pending().empty() && channel_.queue().empty()); }

void Connection::close() {
  if (std::exchange(closed_, true)) return;
  boost::system::error_code ignored;
  socket_.close(ignored);
  hooks_ = {};
}

void Connection::fail(const Error& why, End end) {
  if (closed_) return;
  asio::post(socket_.get_executor(), [self = shared_from_this(), why, end] {
    const auto closed = std::move(self->hooks_.closed);
    self->close();
    if (closed) closed(why, end);
  });
}

void Connection::await_readable() {
  socket_.async_wait(stream_descriptor::wait_read, [self = shared_from_this()](boost::system::error_code ec) {
    if (ec || self->closed_) return;
    self->read_some();
  });
}

void Connection::read_some() {
  const auto space = channel_.receive_space();
  const ssize_t count = ::recv(socket_.native_handle(), space.data(), space.size(), 0);
  if (count == 0) return fail(ended(), End::gone);
  if (count < 0 && errno != EAGAIN && errno != EINTR) {
    return fail(base::errno_error("reading from a connection", errno), End::gone);
  }
  if (count > 0) {
    channel_.received(static_cast<std::size_t>(count));
    if (const auto done = handle_events(); !done) return fail(done.error(), End::broke_rules);
  }
  if (!closed_) await_readable();
}

Result<void> Connection::handle_events() {
  while (!closed_) {
    ORKESTR_TRY(const auto event, channel_.next());
    schedule_flush();  // the handshake may have something to say
    if (!event) break;
    if (event->kind == wire::Channel::Event::Kind::frame) {
      ORKESTR_CHECK(handle(event->frame));
    } else if (std::exchange(established_, true)) {
      // Legal on the wire, but whoever starts over has forgotten every operation.
      return Error(ErrorCode::connection, "the other side started the connection over");
    } else if (const auto hook = hooks_.established) {
      hook();
    }
  }
  return {};
}

Result<void> Connection::handle(const wire::Frame& frame) {
  if (frame.type == wire::Type::pong) {
    if (const auto hook = hooks_.pong) hook();
    return {};
  }
  if (frame.type != wire::Type::ping) {
    // A copy: the hook may close us, which lets go of the hooks.
    const auto hook = hooks_.frame;
    return hook ? hook(frame) : Result<void>();
  }
  if (frame.payload.size() > kMaxPingBytes) {
    return Error(ErrorCode::connection,
                 fmt::format("a ping of {} bytes, at most {}", frame.payload.size(), kMaxPingBytes));
  }
  if (++unsent_pongs_ > kMaxUnsentPongs) {
    return Error(ErrorCode::connection, "the other side asks `ping` and does not read the answers");
  }
  send(wire::OutFrame(wire::Type::pong, 0, frame.payload), wire::Lane::control);
  return {};
}

void Connection::schedule_flush() {
  if (closed_ || awaiting_writable_ || std::exchange(flush_scheduled_, true)) return;
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->flush_scheduled_ = false;
    self->flush();
  });
}

void Connection::flush() {
  std::size_t written = 0;
  while (!closed_) {
    const std::string_view bytes = channel_.pending();
    if (bytes.empty()) {
      unsent_pongs_ = 0;
      return;
    }
    if (written >= kBytesPerTurn) return schedule_flush();
    const ssize_t count = ::send(socket_.native_handle(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return await_writable();
      return fail(base::errno_error("writing to a connection", errno), End::gone);
    }
    channel_.consume(static_cast<std::size_t>(count));
    written += static_cast<std::size_t>(count);
  }
}

void Connection::await_writable() {
  awaiting_writable_ = true;
  socket_.async_wait(stream_descriptor::wait_write, [self = shared_from_this()](boost::system::error_code ec) {
    self->awaiting_writable_ = false;
    if (!ec) self->flush();
  });
}

}  // namespace orkestr::supervisor
