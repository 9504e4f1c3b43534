// One connection to a supervisor: a socket and a channel on the I/O thread's reactor, and the table of calls that are
// open on it.
//
// Belongs to the I/O thread entirely. Held by its owner (a Link or a Launch); the reactor's handlers hold it weakly.
// When it is lost, for whatever reason but close(), the owner gets the reason and all calls that had no answer, once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "backend.hpp"
#include "base/unique_fd.hpp"
#include "local/call.hpp"
#include "local/fork_ledger.hpp"
#include "wire/channel.hpp"

namespace orkestr::local {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using LostHandler = std::function<void(Error reason, std::vector<std::shared_ptr<Call>> orphans)>;

  static Result<std::shared_ptr<Connection>> create(IoLoop& loop, ForkLedger& ledger, base::UniqueFd socket,
                                                    LostHandler on_lost);
  ~Connection();

  // Sends the request. `keep_alive` is held until the answer. A connection with kMaxOperations open calls refuses
  // (rate_limited).
  void open(const std::shared_ptr<Call>& call, std::shared_ptr<void> keep_alive);
  void cancel(Call& call);
  void detach(Call& call);
  void queue(wire::OutFrame frame, wire::Lane lane) { channel_.send(std::move(frame), lane); }
  void send(wire::OutFrame frame, wire::Lane lane) {
    queue(std::move(frame), lane);
    flush();
  }
  // Writes what the socket takes. May end in on_lost.
  void flush();

  void set_on_lost(LostHandler on_lost) { on_lost_ = std::move(on_lost); }
  bool established() const { return channel_.established(); }
  bool closed() const { return !socket_; }
  // It was lost because the supervisor closed it or died, not because that broke the rules.
  bool peer_gone() const { return peer_gone_; }
  // Shuts the socket, also for copies that a forked child holds. Calls without an answer are returned.
  std::vector<std::shared_ptr<Call>> close();

 private:
  Connection(IoLoop& loop, ForkLedger& ledger, base::UniqueFd socket, LostHandler on_lost);
  void ready(std::uint32_t events);
  void read_some();
  Result<void> dispatch();
  Result<void> deliver(const wire::Frame& frame);
  void watch_writable(bool on);
  void lose(Error reason);
  void forget(std::uint32_t id);
  void start_timer(const std::shared_ptr<Call>& call, std::chrono::steady_clock::time_point at);
  void out_of_patience(const std::shared_ptr<Call>& call);

  IoLoop& loop_;
  ForkLedger& ledger_;
  base::UniqueFd socket_;
  LostHandler on_lost_;
  bool peer_gone_ = false;
  wire::Channel channel_;
  std::unordered_map<std::uint32_t, std::shared_ptr<Call>> calls_;
  std::uint32_t next_id_ = 1;
  base::Reactor::TimerId handshake_timer_ = 0;
  bool watching_writable_ = false;
  bool flushing_ = false;
  bool greeted_ = false;
};

}  // namespace orkestr::local
