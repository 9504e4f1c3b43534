#include "guest/link.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/system.hpp"
#include "base/try.hpp"
#include "wire/message.hpp"

namespace orkestr::guest {
namespace {

// virtio_console hands out at most the rest of one page a read; a page that was not full means that nothing else waits.
constexpr std::size_t kPortPage = 4096;
// Input handled in one turn, half of it the rests of large frames: enough to be cheap, little enough that output gets
// its turn.
constexpr std::size_t kReadsPerTurn = 8;

}  // namespace

Result<std::unique_ptr<Link>> Link::create(base::Reactor& reactor, base::UniqueFd fd, Kind kind, Handlers handlers) {
  std::unique_ptr<Link> link(new Link(reactor, std::move(fd), kind, std::move(handlers)));
  ORKESTR_CHECK(
      reactor.add(link->fd_.get(), EPOLLIN, [self = link.get()](std::uint32_t events) { self->on_ready(events); }));
  return link;
}

Link::Link(base::Reactor& reactor, base::UniqueFd fd, Kind kind, Handlers handlers)
    : reactor_(reactor),
      fd_(std::move(fd)),
      kind_(kind),
      handlers_(std::move(handlers)),
      channel_(wire::Receiver::guest) {}

Link::~Link() {
  if (!dead_) reactor_.remove(fd_.get());
}

void Link::on_ready(std::uint32_t events) {
  if (away_) {
    if ((events & EPOLLHUP) != 0) return;
    away_ = false;
    reactor_.modify(fd_.get(), EPOLLIN);
    blocked_ = false;
  }
  if ((events & EPOLLOUT) != 0) {
    blocked_ = false;
    want_output(false);
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  for (std::size_t i = 0; i < kReadsPerTurn && !dead_ && !away_; ++i) {
    const bool more = read_some();
    if (!dead_) handle_events();
    if (!more) break;
  }
}

bool Link::read_some() {
  std::span<char> space = channel_.receive_space();
  // A page shows what comes, and of a large frame no more than all of it is read, so that the next one begins where the
  // buffer does: under emulation moving half of each costs more than the other half of the reads.
  const std::size_t rest = channel_.frame_rest();
  space = space.first(std::min(space.size(), rest > kPortPage ? rest : kPortPage));
  std::size_t filled = 0;
  bool more = true;
  while (more && filled < space.size()) {
    const std::size_t asked = space.size() - filled;
    const ssize_t n = ::read(fd_.get(), space.data() + filled, asked);
    if (n > 0) {
      filled += static_cast<std::size_t>(n);
      of_page_ += static_cast<std::size_t>(n);
      more = static_cast<std::size_t>(n) == asked || (kind_ == Kind::port && of_page_ % kPortPage == 0);
      if (static_cast<std::size_t>(n) < asked) of_page_ = 0;
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else {
      more = false;
      if (n < 0 && errno == EAGAIN) break;
      if (kind_ == Kind::port && (n == 0 || errno == EPIPE)) {
        wait_for_peer();
      } else if (filled == 0) {
        end(n == 0 ? Result<void>() : base::errno_error("read from the supervisor", errno));
        return false;
      }
    }
  }
  channel_.received(filled);
  return more;
}

void Link::handle_events() {
  while (!dead_) {
    auto event = channel_.next();
    if (!event) return refuse(event.error());
    if (!*event) return;
    if ((*event)->kind == wire::Channel::Event::Kind::established) {
      // What was queued since the peer started over is of its former life, too.
      for (auto& part : {channel_.take_lost(), channel_.queue().take_unsent()}) {
        lost_.insert(lost_.end(), part.begin(), part.end());
      }
      handlers_.established(std::exchange(lost_, {}));
    } else if (auto handled = handlers_.frame((*event)->frame); !handled) {
      return refuse(handled.error());
    }
  }
}

// The peer is told why, as far as a last write gets through. A port cannot be closed for good (the supervisor would see
// nothing), so there the channel starts over with a new nonce; what was open is gone with `established`.
void Link::refuse(const Error& error) {
  channel_.send(wire::OutFrame(wire::Type::error, 0, wire::ErrorMessage::from(error).encode()), wire::Lane::stream);
  flush();
  if (dead_) return;
  if (kind_ == Kind::socket) return end(error);
  lost_ = channel_.queue().take_unsent();
  channel_ = wire::Channel(wire::Receiver::guest);
}

// An away host reports EPOLLHUP for ever. Edge-triggered, only a change of the port wakes us.
void Link::wait_for_peer() {
  away_ = true;
  reactor_.modify(fd_.get(), EPOLLIN | EPOLLET);
}

void Link::want_output(bool wanted) {
  if (!away_) reactor_.modify(fd_.get(), wanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void Link::flush() {
  while (!dead_ && !blocked_ && !away_) {
    const std::string_view bytes = channel_.pending();
    if (bytes.empty()) return;
    const ssize_t n = ::write(fd_.get(), bytes.data(), bytes.size());
    if (n >= 0) {
      channel_.consume(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      blocked_ = true;
      want_output(true);
    } else if (errno != EINTR) {
      // A port that is being unplugged or whose host went between two calls: reading finds out.
      if (kind_ == Kind::port) return wait_for_peer();
      return end(base::errno_error("write to the supervisor", errno));
    }
  }
}

void Link::end(Result<void> outcome) {
  dead_ = true;
  reactor_.remove(fd_.get());
  handlers_.ended(std::move(outcome));
}

}  // namespace orkestr::guest
