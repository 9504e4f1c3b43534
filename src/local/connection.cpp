#include "local/connection.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/system.hpp"
#include "base/try.hpp"
#include "wire/message.hpp"

namespace orkestr::local {
namespace {

// One turn of the reactor reads at most this much from one connection, so that others get theirs.
constexpr std::size_t kReadPerTurn = 2U << 20U;
constexpr auto kHandshakePatience = std::chrono::seconds(10);
// After a cancel or the end of patience the peer may still need its own grace period for killing a command.
constexpr auto kCancelPatience = std::chrono::seconds(10);
// Some room stays for terminate when everything else is taken.
constexpr std::size_t kMaxCalls = wire::kMaxOperations - 8;

}  // namespace

Connection::Connection(IoLoop& loop, ForkLedger& ledger, base::UniqueFd socket, LostHandler on_lost)
    : loop_(loop),
      ledger_(ledger),
      socket_(std::move(socket)),
      on_lost_(std::move(on_lost)),
      channel_(wire::Receiver::client) {}

Result<std::shared_ptr<Connection>> Connection::create(IoLoop& loop, ForkLedger& ledger, base::UniqueFd socket,
                                                       LostHandler on_lost) {
  ORKESTR_CHECK(base::set_nonblocking(socket.get(), true));
  std::shared_ptr<Connection> connection(new Connection(loop, ledger, std::move(socket), std::move(on_lost)));
  const std::weak_ptr<Connection> weak = connection;
  ORKESTR_CHECK(loop.reactor().add(connection->socket_.get(), EPOLLIN, [weak](std::uint32_t events) {
    if (auto self = weak.lock()) self->ready(events);
  }));
  ledger.add(connection->socket_.get());
  connection->handshake_timer_ = loop.reactor().add_timer(kHandshakePatience, [weak] {
    auto self = weak.lock();
    if (!self || self->channel_.established()) return;
    self->lose(Error(ErrorCode::connection, "the supervisor accepted the connection but did not greet within 10 s"));
  });
  connection->flush();
  return connection;
}

Connection::~Connection() {
  if (!loop_.forked()) close();
}

void Connection::open(const std::shared_ptr<Call>& call, std::shared_ptr<void> keep_alive) {
  if (call->abandoned())
    return call->fail(Error(ErrorCode::cancelled, call->request().what + ": dropped before it began"));
  if (call->cancel_asked()) {
    return call->fail(Error(ErrorCode::cancelled, call->request().what + ": cancelled before it began"));
  }
  if (calls_.size() >= kMaxCalls && call->request().type != wire::Type::terminate) {
    return call->fail(
        Error(ErrorCode::rate_limited,
              fmt::format("{}: {} operations are open on this sandbox already; wait for some of them to end",
                          call->request().what, calls_.size())));
  }
  const std::uint32_t id = next_id_++;
  calls_.emplace(id, call);
  call->open(id, shared_from_this(), std::move(keep_alive));
  start_timer(call, call->last_progress + call->request().patience.limit);
  // What came between the look above and the opening found nobody to tell.
  if (call->cancel_asked()) return cancel(*call);
  if (call->abandoned()) return detach(*call);
  flush();
}

void Connection::cancel(Call& call) {
  if (calls_.find(call.id()) == calls_.end() || std::exchange(call.cancel_sent, true)) return;
  if (call.timer != 0) loop_.reactor().cancel_timer(call.timer);
  start_timer(call.shared_from_this(), std::chrono::steady_clock::now() + kCancelPatience);
  channel_.queue().drop(call.id());
  send(wire::OutFrame(wire::Type::cancel, call.id()), wire::Lane::control);
}

void Connection::detach(Call& call) {
  const std::uint32_t id = call.id();
  if (calls_.find(id) == calls_.end()) return;
  // Only a command has a life of its own; a transfer that nobody awaits is dropped.
  const bool command = call.request().type == wire::Type::exec;
  channel_.queue().drop(id);
  channel_.send(wire::OutFrame(command ? wire::Type::detach : wire::Type::cancel, id), wire::Lane::control);
  const auto self = shared_from_this();
  call.fail(Error(ErrorCode::cancelled, call.request().what + ": dropped"));
  forget(id);
  flush();
}

void Connection::ready(std::uint32_t events) {
  const auto self = shared_from_this();  // a handler may drop the last owner
  if ((events & EPOLLOUT) != 0) flush();
  if (!closed() && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read_some();
}

void Connection::read_some() {
  std::size_t total = 0;
  while (!closed() && total < kReadPerTurn) {
    const auto space = channel_.receive_space();
    const ssize_t count = ::recv(socket_.get(), space.data(), space.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    peer_gone_ = count <= 0;
    if (count < 0) return lose(base::errno_error("receive from the supervisor", errno));
    if (count == 0) return lose(Error(ErrorCode::connection, "the supervisor closed the connection"));
    total += static_cast<std::size_t>(count);
    channel_.received(static_cast<std::size_t>(count));
    if (auto done = dispatch(); !done) return lose(done.error());
    // Less than there was room for: the socket is empty, another recv would only say so.
    if (static_cast<std::size_t>(count) < space.size()) return;
  }
}

Result<void> Connection::dispatch() {
  while (!closed()) {
    ORKESTR_TRY(auto event, channel_.next());
    if (!event) break;
    if (event->kind == wire::Channel::Event::Kind::frame) {
      ORKESTR_CHECK(deliver(event->frame));
      continue;
    }
    loop_.reactor().cancel_timer(handshake_timer_);
    if (std::exchange(greeted_, true)) {
      return Error(ErrorCode::connection, "the supervisor began the connection anew in the middle of it");
    }
  }
  if (!closed()) flush();  // the handshake's answers, and what waited for it
  return {};
}

Result<void> Connection::deliver(const wire::Frame& frame) {
  if (frame.type == wire::Type::ping) {
    channel_.send(wire::OutFrame(wire::Type::pong, 0, frame.payload), wire::Lane::control);
    return {};
  }
  if (frame.type == wire::Type::pong) return {};
  if (frame.id == 0 && frame.type == wire::Type::error) {
    ORKESTR_TRY(const auto message, wire::ErrorMessage::decode(frame.payload));
    return message.to_error().with_context("the supervisor ended the connection");
  }
  if (frame.id == 0 || frame.id >= next_id_) {
    return Error(ErrorCode::connection,
                 fmt::format("the supervisor sent a {} frame for operation {}, which was never opened",
                             wire::to_string(frame.type), frame.id));
  }
  auto found = calls_.find(frame.id);
  if (found == calls_.end()) return {};  // crossed with our detach or cancel
  const std::shared_ptr<Call> call = found->second;
  const bool final = frame.type == wire::Type::result || frame.type == wire::Type::error;
  if (final) forget(frame.id);
  auto received = call->receive(frame);
  // A call whose last frame cannot be read must still end; forgotten here, it is no longer among the orphans.
  if (!received && final) call->fail(received.error());
  return received;
}

void Connection::flush() {
  if (closed() || flushing_) return;
  const auto self = shared_from_this();
  flushing_ = true;
  bool blocked = false;
  std::optional<Error> broken;
  while (true) {
    const std::string_view bytes = channel_.pending();
    if (bytes.empty()) break;
    const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0) {
      channel_.consume(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      blocked = true;
      break;
    } else if (errno != EINTR) {
      broken = base::errno_error("send to the supervisor", errno);
      break;
    }
  }
  flushing_ = false;
  watch_writable(blocked);
  if (!broken) return;
  // What the peer said before it went is still in the socket, maybe the answer itself: reading finds the end after it.
  loop_.reactor().modify(socket_.get(), EPOLLIN);
  channel_.queue().reset();
}

void Connection::watch_writable(bool on) {
  if (on == watching_writable_) return;
  watching_writable_ = on;
  loop_.reactor().modify(socket_.get(), on ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void Connection::forget(std::uint32_t id) {
  auto found = calls_.find(id);
  if (found == calls_.end()) return;
  const auto call = std::move(found->second);
  if (call->timer != 0) loop_.reactor().cancel_timer(std::exchange(call->timer, 0));
  calls_.erase(found);
}

void Connection::start_timer(const std::shared_ptr<Call>& call, std::chrono::steady_clock::time_point at) {
  call->timer = loop_.reactor().add_timer(at, [weak = weak_from_this(), call_weak = std::weak_ptr<Call>(call)] {
    auto self = weak.lock();
    auto waiting = call_weak.lock();
    if (self && waiting) self->out_of_patience(waiting);
  });
}

void Connection::out_of_patience(const std::shared_ptr<Call>& call) {
  call->timer = 0;
  const Patience patience = call->request().patience;
  const auto now = std::chrono::steady_clock::now();
  if (!call->cancel_asked()) {
    if (call->waits_for_consumer()) return start_timer(call, now + patience.limit);
    if (patience.per_progress && call->last_progress + patience.limit > now) {
      return start_timer(call, call->last_progress + patience.limit);
    }
  }
  const auto self = shared_from_this();
  const std::uint32_t id = call->id();
  // Detached as well: nobody takes its output any more, and an operation that waits for our credit would never end.
  channel_.queue().drop(id);
  channel_.send(wire::OutFrame(wire::Type::cancel, id), wire::Lane::control);
  channel_.send(wire::OutFrame(wire::Type::detach, id), wire::Lane::control);
  if (call->cancel_asked()) {
    call->fail(Error(ErrorCode::cancelled, call->request().what + ": cancelled; the sandbox did not confirm it"));
  } else {
    call->fail(Error(ErrorCode::connection,
                     fmt::format("{}: no {} from the sandbox within {} s; it may be overloaded or hung: try again, or "
                                 "terminate it",
                                 call->request().what, patience.per_progress ? "progress" : "answer",
                                 std::chrono::duration_cast<std::chrono::seconds>(patience.limit).count())));
  }
  forget(id);
  flush();
}

std::vector<std::shared_ptr<Call>> Connection::close() {
  std::vector<std::shared_ptr<Call>> orphans;
  if (closed()) return orphans;
  loop_.reactor().cancel_timer(handshake_timer_);
  loop_.reactor().remove(socket_.get());
  ledger_.remove(socket_.get());
  ::shutdown(socket_.get(), SHUT_RDWR);
  socket_.reset();
  for (auto& [id, call] : calls_) {
    if (call->timer != 0) loop_.reactor().cancel_timer(std::exchange(call->timer, 0));
    orphans.push_back(std::move(call));
  }
  calls_.clear();
  return orphans;
}

void Connection::lose(Error reason) {
  if (closed()) return;
  const auto self = shared_from_this();
  auto orphans = close();
  auto handler = std::exchange(on_lost_, nullptr);
  if (handler) return handler(std::move(reason), std::move(orphans));
  for (const auto& call : orphans) call->fail(reason);
}

}  // namespace orkestr::local
