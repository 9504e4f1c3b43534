// The agent's connection: a wire::Channel over one descriptor, a virtio console port in the VM or one end of a
// socketpair in tests.
//
// Reading is driven by the reactor. Sending only queues; the owner calls flush() once a turn, so that all answers of
// one turn leave in one write. A port whose host is away hangs up without end: the link then waits for a change instead
// of spinning, and the handshake starts over when the host is back. A socket that hangs up is the end.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "base/reactor.hpp"
#include "base/unique_fd.hpp"
#include "wire/channel.hpp"

namespace orkestr::guest {

class Link {
 public:
  enum class Kind { port, socket };
  struct Handlers {
    // Once for every (re)start of the peer, with what of ours it did not get: frames that were not written whole.
    std::function<void(const std::vector<wire::OutFrame>& lost)> established;
    std::function<Result<void>(const wire::Frame&)> frame;  // an error: the peer broke the protocol
    std::function<void(Result<void>)> ended;                // the last call, the link is dead; ok: the peer closed it
  };

  // The descriptor must be non-blocking.
  static Result<std::unique_ptr<Link>> create(base::Reactor& reactor, base::UniqueFd fd, Kind kind, Handlers handlers);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void send(wire::OutFrame frame, wire::Lane lane) { channel_.send(std::move(frame), lane); }
  // False when enough waits already: producers of data then wait for a later turn.
  bool has_room() { return !dead_ && channel_.queue().bytes() < kEnoughQueued; }
  // True when everything was handed to the descriptor; not while the peer starts over, which loses what is queued.
  bool all_sent() { return channel_.established() && channel_.queue().empty(); }
  void drop_unsent(std::uint32_t id) { channel_.queue().drop(id); }
  // Writes until nothing is left or the descriptor takes no more; the reactor then wakes the owner's loop.
  void flush();

 private:
  static constexpr std::size_t kEnoughQueued = 256U << 10U;

  Link(base::Reactor& reactor, base::UniqueFd fd, Kind kind, Handlers handlers);
  void on_ready(std::uint32_t events);
  bool read_some();  // false when the descriptor has no more for now
  void handle_events();
  void wait_for_peer();
  void want_output(bool wanted);
  void refuse(const Error& error);
  void end(Result<void> outcome);

  base::Reactor& reactor_;
  base::UniqueFd fd_;
  Kind kind_;
  Handlers handlers_;
  wire::Channel channel_;
  std::vector<wire::OutFrame> lost_;  // with channels before this one
  std::size_t of_page_ = 0;           // port: read of the page that the driver has in hand, and of full ones before it
  bool away_ = false;                 // port: the host end is closed
  bool blocked_ = false;              // the last write found no room
  bool dead_ = false;
};

}  // namespace orkestr::guest
