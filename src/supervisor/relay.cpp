#include "supervisor/relay.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <iterator>
#include <utility>

#include "base/system.hpp"
#include "base/try.hpp"
#include "supervisor/log.hpp"
#include "supervisor/masking.hpp"

namespace orkestr::supervisor {
namespace {

namespace asio = boost::asio;
using asio::posix::stream_descriptor;
using std::chrono::steady_clock;

constexpr auto kQuietly = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kTick{1};
constexpr std::chrono::milliseconds kFlushPoll{2};
constexpr std::chrono::milliseconds kAcceptPause{100};

bool is_ours(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == ::geteuid() || peer.uid == 0;
}

}  // namespace

Relay::Relay(asio::any_io_executor executor, Hooks hooks)
    : executor_(std::move(executor)),
      hooks_(std::move(hooks)),
      accept_pause_(executor_),
      tick_(executor_),
      answered_(executor_),
      stats_signal_(executor_) {}

Relay::~Relay() { close(); }

// --- clients
// ----------------------------------------------------------------------------------------------------------

ClientId Relay::add_client(base::UniqueFd socket) {
  if (clients_.size() >= kMaxClients) return kNobody;
  const ClientId id = ++last_client_;
  Client client;
  client.handshake = std::make_unique<asio::steady_timer>(executor_, kHandshakeTimeout);
  client.handshake->async_wait([this, id](boost::system::error_code ec) {
    if (!ec) client_lost(id);
  });
  client.connection =
      Connection::start(executor_, std::move(socket), wire::Receiver::supervisor_from_client,
                        {.established =
                             [this, id] {
                               if (const auto found = clients_.find(id); found != clients_.end())
                                 found->second.handshake.reset();
                             },
                         .frame = [this, id](const wire::Frame& frame) { return from_client(id, frame); },
                         .closed =
                             [this, id](const Error& why, Connection::End) {
                               log_info(fmt::format("client {}: {}", id, why.message()));
                               client_lost(id);
                             }});
  clients_.emplace(id, std::move(client));
  return id;
}

Result<void> Relay::listen(base::UniqueFd listener) {
  boost::system::error_code ec;
  listener_.emplace(executor_);
  ++listener_number_;
  listener_->assign(listener.get(), ec);
  if (ec) return Error(ErrorCode::internal, fmt::format("watching the sandbox's socket: {}", ec.message()));
  listener.release();
  listener_->non_blocking(true, ec);
  await_client();
  return {};
}

void Relay::await_client() {
  // What had come before another listener took its place is heard afterwards.
  const auto current = [this, number = listener_number_] { return listener_ && number == listener_number_; };
  listener_->async_wait(stream_descriptor::wait_read, [this, current](boost::system::error_code ec) {
    if (ec || !current()) return;
    if (accept_clients()) return await_client();
    // The connection stays in the queue and the socket readable: to wait for that would be to spin.
    accept_pause_.expires_after(kAcceptPause);
    accept_pause_.async_wait([this, current](boost::system::error_code cancelled) {
      if (!cancelled && current()) await_client();
    });
  });
}

bool Relay::accept_clients() {
  while (true) {
    base::UniqueFd socket(::accept4(listener_->native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN) return true;
      log_info(base::errno_error("accepting a connection", errno).message());
      return false;
    }
    if (!is_ours(socket.get())) {
      log_info("refused a connection of another user");
    } else if (add_client(std::move(socket)) == kNobody) {
      log_info(fmt::format("refused a connection: {} clients are connected", kMaxClients));
    }
  }
}

Result<void> Relay::from_client(ClientId id, const wire::Frame& frame) {
  switch (frame.type) {
    case wire::Type::start:
    case wire::Type::acknowledge:
    case wire::Type::inspect:
    case wire::Type::terminate:
    case wire::Type::pause:
    case wire::Type::set_timeout:
    case wire::Type::metrics:
      ORKESTR_CHECK(operations_.take_request_id(id, frame.id));
      if (const auto hook = hooks_.request) hook(id, frame);
      return {};
    case wire::Type::error:
    case wire::Type::result:
      return Error(ErrorCode::connection, "the client sent an answer to nothing");
    default:
      break;
  }
  const auto done = operations_.from_client(id, frame, steady_clock::now());
  if (frame.type == wire::Type::detach) {
    if (const auto found = clients_.find(id); found != clients_.end()) found->second.connection->drop_unsent(frame.id);
  }
  deliver();
  return done;
}

void Relay::client_lost(ClientId id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  found->second.connection->close();
  clients_.erase(found);
  operations_.client_gone(id);
  deliver();
  if (const auto hook = hooks_.client_gone) hook(id);
}

void Relay::keep_only(ClientId client) {
  std::vector<ClientId> others;
  for (const auto& [id, other] : clients_) {
    if (id != client) others.push_back(id);
  }
  for (const ClientId id : others) client_lost(id);
  listener_.reset();
  accept_pause_.cancel();
}

void Relay::answer(ClientId client, wire::OutFrame frame) {
  const auto found = clients_.find(client);
  if (found != clients_.end()) found->second.connection->send(std::move(frame), wire::Lane::stream);
}

void Relay::answer_error(ClientId client, std::uint32_t id, const Error& error) {
  answer(client, wire::OutFrame(wire::Type::error, id, wire::ErrorMessage::from(error).encode()));
}

// --- the guest
// --------------------------------------------------------------------------------------------------------

void Relay::attach_guest(base::UniqueFd socket) {
  if (guest_) guest_->close();
  held_back_.clear();
  frozen_ = false;
  operations_.guest_gone(still_starting(), steady_clock::now());
  deliver();
  guest_ = Connection::start(executor_, std::move(socket), wire::Receiver::supervisor_from_guest,
                             {.established =
                                  [this] {
                                    if (const auto hook = hooks_.guest_established) hook();
                                  },
                              .frame = [this](const wire::Frame& frame) { return from_guest(frame); },
                              .pong =
                                  [this] {
                                    ponged_ = true;
                                    answered_.cancel();
                                  },
                              .closed = [this](const Error& why, Connection::End end) { guest_lost(why, end); }});
}

Result<void> Relay::from_guest(const wire::Frame& frame) {
  if (frame.id == 0) {  // only `error` may have it: why the agent is about to close the connection
    const auto message = wire::ErrorMessage::decode(frame.payload);
    return Error(ErrorCode::connection,
                 fmt::format("the guest agent gives up: {}",
                             message ? sanitised(message->message, wire::kMaxErrorTextBytes) : "(malformed)"));
  }
  const auto done = operations_.from_guest(frame, steady_clock::now());
  deliver();
  return done;
}

void Relay::guest_lost(const Error& why, Connection::End end) {
  guest_.reset();
  answered_.cancel();
  stats_signal_.cancel();
  if (const auto hook = hooks_.guest_lost) hook(why, end);
}

template <class Condition>
asio::awaitable<Result<void>> Relay::await_answer(Condition answered, const char* to, base::Deadline deadline) {
  while (!answered()) {
    if (!guest_) co_return Error(ErrorCode::vm_failed, fmt::format("the guest went away before it answered {}", to));
    if (deadline.expired()) co_return Error(ErrorCode::vm_failed, fmt::format("the guest does not answer {}", to));
    answered_.expires_at(deadline.time_point().value_or(steady_clock::time_point::max()));
    co_await answered_.async_wait(kQuietly);
  }
  co_return Result<void>();
}

asio::awaitable<Result<void>> Relay::configure(wire::ConfigureRequest request, base::Deadline deadline) {
  configured_.reset();
  operations_.configure(request, steady_clock::now());
  deliver();
  auto there = co_await await_answer([this] { return configured_.has_value(); }, "`configure`", deadline);
  if (!there) co_return there;
  co_return *std::exchange(configured_, std::nullopt);
}

asio::awaitable<Result<wire::ExecExit>> Relay::run(wire::ExecRequest request, base::Deadline deadline) {
  ran_.reset();
  operations_.run(request, steady_clock::now());
  deliver();
  auto there = co_await await_answer([this] { return ran_.has_value(); }, "a command of its supervisor", deadline);
  if (!there) co_return there.error();
  co_return *std::exchange(ran_, std::nullopt);
}

asio::awaitable<Result<void>> Relay::freeze(base::Deadline deadline) {
  frozen_ = true;
  ponged_ = false;
  asio::steady_timer pause(executor_);
  while (guest_ && !guest_->drained() && !deadline.expired()) {
    pause.expires_after(kFlushPoll);
    co_await pause.async_wait(kQuietly);
  }
  // What is on its way comes before this, and the answer after all of it was read.
  if (guest_) guest_->send(wire::OutFrame(wire::Type::ping, 0), wire::Lane::control);
  auto there = co_await await_answer([this] { return ponged_; }, "`ping`", deadline);
  if (!there) thaw();
  co_return there;
}

void Relay::thaw() {
  frozen_ = false;
  for (auto& item : std::exchange(held_back_, {})) {
    if (guest_) guest_->send(std::move(item.frame), item.lane);
  }
}

// A guest that is slow is not asked again before it has answered.
asio::awaitable<Result<wire::StatsMessage>> Relay::stats(base::Deadline deadline) {
  stats_.reset();
  if (guest_ && !std::exchange(stats_asked_, true)) {
    operations_.ask_stats(steady_clock::now());
    deliver();
  }
  while (!stats_) {
    if (!guest_) co_return Error(ErrorCode::vm_failed, "the guest is gone");
    if (deadline.expired()) co_return Error(ErrorCode::vm_failed, "the guest does not say what it uses");
    stats_signal_.expires_at(deadline.time_point().value_or(steady_clock::time_point::max()));
    co_await stats_signal_.async_wait(kQuietly);
  }
  co_return *std::exchange(stats_, std::nullopt);
}

void Relay::accept_operations(wire::EnvList sandbox_env) {
  operations_.set_environment(std::move(sandbox_env));
  operations_.accept();
}

void Relay::end_operations(const Error& why) {
  held_back_.clear();
  frozen_ = false;
  if (guest_) guest_->close();
  guest_.reset();
  operations_.guest_gone(why, steady_clock::now());
  deliver();
}

// --- between them
// -----------------------------------------------------------------------------------------------------

// Hooks that are called here may come back here, so the outbox is taken as a whole.
void Relay::deliver() {
  Outbox outbox = operations_.take_outbox();
  if (frozen_) {
    std::move(outbox.to_guest.begin(), outbox.to_guest.end(), std::back_inserter(held_back_));
  } else if (guest_) {
    for (auto& item : outbox.to_guest) guest_->send(std::move(item.frame), item.lane);
    // Not from within: this may be the guest's own handler.
    if (guest_->queued_bytes() > kMaxGuestQueueBytes) asio::post(executor_, [this] { give_up_choked_guest(); });
  }
  std::vector<ClientId> choked;
  for (auto& item : outbox.to_client) deliver_to_client(std::move(item), choked);
  if (outbox.configured) {
    configured_ = *outbox.configured;
    answered_.cancel();
  }
  if (outbox.ran) {
    ran_ = std::move(*outbox.ran);
    answered_.cancel();
  }
  if (outbox.stats) {
    stats_ = std::move(outbox.stats);
    stats_asked_ = false;
    stats_signal_.cancel();
  }
  if (const auto hook = hooks_.finished) {
    for (const Finished& event : outbox.finished) hook(event);
  }
  for (const ClientId id : choked) {
    log_info(fmt::format("client {} does not read: {} MiB wait for it; disconnected", id, kMaxClientQueueBytes >> 20U));
    client_lost(id);
  }
  schedule_tick();
}

void Relay::give_up_choked_guest() {
  if (!guest_ || guest_->queued_bytes() <= kMaxGuestQueueBytes) return;
  guest_->close();
  guest_lost(Error(ErrorCode::vm_failed,
                   fmt::format("the guest does not read: more than {} MiB wait for it", kMaxGuestQueueBytes >> 20U)),
             Connection::End::broke_rules);
}

void Relay::deliver_to_client(Outbox::ToClient item, std::vector<ClientId>& choked) {
  const auto found = clients_.find(item.client);
  if (found == clients_.end()) return;
  Connection& connection = *found->second.connection;
  connection.send(std::move(item.frame), item.lane);
  if (connection.queued_bytes() > kMaxClientQueueBytes) choked.push_back(item.client);
}

void Relay::schedule_tick() {
  if (operations_.empty() || std::exchange(ticking_, true)) return;
  tick_.expires_after(kTick);
  tick_.async_wait([this](boost::system::error_code ec) {
    if (ec) return;
    ticking_ = false;
    operations_.tick(steady_clock::now());
    deliver();
  });
}

asio::awaitable<void> Relay::flush(base::Deadline deadline) {
  asio::steady_timer pause(executor_);
  while (!deadline.expired()) {
    bool drained = true;
    for (auto& [id, client] : clients_) drained = drained && client.connection->drained();
    if (drained) co_return;
    pause.expires_after(kFlushPoll);
    co_await pause.async_wait(kQuietly);
  }
}

void Relay::close() {
  if (guest_) guest_->close();
  guest_.reset();
  for (auto& [id, client] : clients_) client.connection->close();
  clients_.clear();
  if (listener_) {
    boost::system::error_code ignored;
    listener_->close(ignored);
  }
  accept_pause_.cancel();
  tick_.cancel();
}

}  // namespace orkestr::supervisor
