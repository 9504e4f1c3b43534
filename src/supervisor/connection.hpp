// One connected socket of the supervisor, to a client or to the guest's agent: a wire::Channel with the reading and
// writing.
//
// Belongs to the thread of one io_context. Hooks are called from the loop only, never from within send() or close().
// Writes are collected for one turn of the loop. Nothing here bounds the queue: that is what credit is for (see
// operations.hpp), and the owner looks at queued_bytes().
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <memory>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"
#include "wire/channel.hpp"

namespace orkestr::supervisor {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  enum class End {
    gone,         // the other side closed, or its process ended
    broke_rules,  // it sent what no correct peer sends
  };
  struct Hooks {
    std::function<void()> established;
    // An error closes the connection with it. `ping` is answered here and does not come.
    std::function<Result<void>(const wire::Frame&)> frame;
    std::function<void()> pong{};  // may be left out
    // Last of all, once; not after close().
    std::function<void(const Error& why, End end)> closed;
  };

  static std::shared_ptr<Connection> start(const boost::asio::any_io_executor& executor, base::UniqueFd socket,
                                           wire::Receiver self, Hooks hooks);

  bool established() const { return established_; }
  void send(wire::OutFrame frame, wire::Lane lane);
  std::size_t queued_bytes() { return channel_.queue().memory(); }
  void drop_unsent(std::uint32_t id) { channel_.queue().drop(id); }
  // True when everything was handed to the kernel (or never will be).
  bool drained();
  void close();

 private:
  Connection(const boost::asio::any_io_executor& executor, wire::Receiver self, Hooks hooks);
  void await_readable();
  void read_some();
  Result<void> handle_events();
  Result<void> handle(const wire::Frame& frame);
  void schedule_flush();
  void flush();
  void await_writable();
  void fail(const Error& why, End end);

  boost::asio::posix::stream_descriptor socket_;
  wire::Channel channel_;
  Hooks hooks_;
  bool established_ = false;
  bool closed_ = false;
  bool flush_scheduled_ = false;
  bool awaiting_writable_ = false;
  int unsent_pongs_ = 0;
};

}  // namespace orkestr::supervisor
