// The other ends of a relay: a client, a scripted guest, the real agent as a process. All of it in one thread, pumped
// by hand.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/child.hpp"
#include "base/system.hpp"
#include "base/unique_fd.hpp"
#include "supervisor/relay.hpp"
#include "wire/channel.hpp"
#include "wire/message.hpp"

namespace orkestr::test {

struct SeenFrame {
  wire::Type type{};
  std::uint8_t flags = 0;
  std::uint32_t id = 0;
  std::string payload;
};

// One end of a connection to the relay.
class Peer {
 public:
  Peer(base::UniqueFd fd, wire::Receiver self) : fd_(std::move(fd)), channel_(self) {
    (void)base::set_nonblocking(fd_.get(), true);
  }

  void send(wire::OutFrame frame, wire::Lane lane = wire::Lane::control) { channel_.send(std::move(frame), lane); }
  void send_raw(std::string bytes) { raw_ += bytes; }
  void pump() {
    if (!fd_) return;
    for (int i = 0; i < 16; ++i) {
      const bool is_raw = channel_.pending().empty() && channel_.established() && !raw_.empty();
      const std::string_view bytes = is_raw ? std::string_view(raw_) : channel_.pending();
      if (bytes.empty()) break;
      const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) break;
      if (is_raw) {
        raw_.erase(0, static_cast<std::size_t>(n));
      } else {
        channel_.consume(static_cast<std::size_t>(n));
      }
    }
    for (int i = 0; reading && i < 16; ++i) {
      auto space = channel_.receive_space();
      const ssize_t n = ::recv(fd_.get(), space.data(), space.size(), 0);
      if (n < 0 && errno == EAGAIN) break;
      if (n <= 0) {
        closed = true;
        break;
      }
      channel_.received(static_cast<std::size_t>(n));
      take_events();
    }
  }
  void hang_up() {
    fd_.reset();
    closed = true;
  }

  bool established() const { return channel_.established(); }
  std::optional<SeenFrame> find(wire::Type type, std::uint32_t id) const {
    for (const auto& frame : frames) {
      if (frame.type == type && frame.id == id) return frame;
    }
    return std::nullopt;
  }
  std::string output(std::uint32_t id, wire::Stream stream = wire::Stream::output) const {
    std::string all;
    for (const auto& frame : frames) {
      if (frame.type == wire::Type::data && frame.id == id &&
          (frame.flags & wire::kStreamMask) == static_cast<unsigned>(stream)) {
        all += frame.payload;
      }
    }
    return all;
  }
  std::optional<wire::ExecExit> exit_of(std::uint32_t id) const {
    const auto result = find(wire::Type::result, id);
    if (!result) return std::nullopt;
    auto exit = wire::ExecExit::decode(result->payload);
    return exit ? std::optional(*exit) : std::nullopt;
  }
  std::string error_of(std::uint32_t id) const {
    const auto error = find(wire::Type::error, id);
    return error ? wire::ErrorMessage::decode(error->payload)->code : "";
  }

  bool reading = true;
  bool closed = false;
  bool counting = false;  // payloads of data frames are counted, not kept, and credited back
  std::uint64_t counted = 0;
  std::vector<SeenFrame> frames;

 private:
  void take_events() {
    while (true) {
      auto event = channel_.next();
      if (!event) {
        closed = true;
        return;
      }
      if (!*event) return;
      if ((*event)->kind != wire::Channel::Event::Kind::frame) continue;
      const wire::Frame& frame = (*event)->frame;
      if (counting && frame.type == wire::Type::data) {
        counted += frame.payload.size();
        if (!frame.payload.empty()) {
          send(wire::credit_frame(frame.id, static_cast<std::uint32_t>(frame.payload.size())));
        }
        continue;
      }
      frames.push_back({frame.type, frame.flags, frame.id, std::string(frame.payload)});
    }
  }
  base::UniqueFd fd_;
  wire::Channel channel_;
  std::string raw_;
};

struct World {
  boost::asio::io_context io{1};
  std::vector<supervisor::Finished> finished;
  std::vector<supervisor::ClientId> gone;
  std::vector<std::pair<supervisor::ClientId, SeenFrame>> requests;
  std::optional<Error> guest_lost;
  supervisor::Connection::End guest_end{};
  supervisor::Relay relay{io.get_executor(),
                          {.request =
                               [this](supervisor::ClientId id, const wire::Frame& f) {
                                 requests.push_back({id, {f.type, f.flags, f.id, std::string(f.payload)}});
                               },
                           .client_gone = [this](supervisor::ClientId id) { gone.push_back(id); },
                           .guest_established = [] {},
                           .guest_lost =
                               [this](const Error& why, supervisor::Connection::End end) {
                                 guest_lost = why;
                                 guest_end = end;
                               },
                           .finished = [this](const supervisor::Finished& event) { finished.push_back(event); }}};
  std::vector<Peer*> peers;
  base::Child agent;

  // Turns everything until `done` or for ten seconds.
  bool until(const std::function<bool()>& done) {
    const auto deadline = base::Deadline::after(std::chrono::seconds(10));
    while (!done()) {
      if (deadline.expired()) return false;
      turn();
      if (!done()) ::usleep(100);
    }
    return true;
  }
  void turn() {
    io.restart();
    io.poll();
    for (Peer* peer : peers) peer->pump();
  }
  void turn_for(std::chrono::milliseconds time) {
    const auto deadline = base::Deadline::after(time);
    until([&] { return deadline.expired(); });
  }

  std::unique_ptr<Peer> client() {
    auto ends = base::socket_pair(SOCK_STREAM);
    relay.add_client(std::move(ends->second));
    auto peer = std::make_unique<Peer>(std::move(ends->first), wire::Receiver::client);
    peers.push_back(peer.get());
    return peer;
  }
  // A guest that does what the test says.
  std::unique_ptr<Peer> scripted_guest() {
    auto ends = base::socket_pair(SOCK_STREAM);
    relay.attach_guest(std::move(ends->second));
    relay.accept_operations({});
    auto peer = std::make_unique<Peer>(std::move(ends->first), wire::Receiver::guest);
    peers.push_back(peer.get());
    return peer;
  }
  // orkestr-agent as an ordinary process.
  bool real_guest() {
    auto ends = base::socket_pair(SOCK_STREAM);
    base::ChildOptions options;
    options.argv = {ORKESTR_AGENT, "--socket-fd", "3", "--chdir-workspace", "/tmp"};
    options.fds = {{ends->first.get(), 3}};
    auto child = base::Child::start(options);
    if (!child) return false;
    agent = std::move(*child);
    ends->first.reset();
    relay.attach_guest(std::move(ends->second));
    relay.accept_operations({});
    return until([&] { return relay.guest_established(); });
  }
};

inline std::string exec_payload(std::string line, bool stdin_open = false) {
  wire::ExecRequest request;
  request.argv = {"/bin/bash", "-c", std::move(line)};
  request.cwd = "/tmp";
  request.stdin_open = stdin_open;
  request.timeout_ms = 30'000;
  return request.encode();
}

inline std::string file_payload(std::string path) {
  wire::FileRequest request;
  request.path = std::move(path);
  return request.encode();
}

}  // namespace orkestr::test
