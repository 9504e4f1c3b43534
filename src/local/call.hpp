// One operation on a connection, as both sides of it see it: the consumer takes output and offers input from any
// thread; the connection, on the I/O thread, delivers frames and sends what was offered. Windows bound what is in
// between.
//
// Ownership: the connection holds a call until its final answer; a consumer holds it by CallStream or by a completion.
// Locks: one mutex a call, and before it one for who offers input; hooks run without them.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "backend.hpp"
#include "wire/frame.hpp"

namespace orkestr::local {

class Connection;

// When a call that gets no answer is given up.
struct Patience {
  std::chrono::milliseconds limit{60'000};
  // true: the limit is for the time without any progress of the peer; false: for the whole call.
  bool per_progress = true;
};

struct CallRequest {
  wire::Type type{};
  std::string payload;
  bool has_input = false;
  Patience patience;
  std::string what;  // for error texts: "exec", "read /etc/hosts"
};

class Call : public std::enable_shared_from_this<Call> {
 public:
  struct Piece {
    enum class Kind { progress, output, error_output, end };
    Kind kind = Kind::output;
    std::string data;  // a payload, or output bytes
  };
  using Outcome = Result<Piece>;

  Call(IoLoop& loop, CallRequest request) : loop_(loop), request_(std::move(request)) {}

  // The consumer's side. Any thread.
  std::optional<Outcome> take();
  bool readable() const;
  std::int64_t pid() const { return pid_; }
  std::size_t offer(std::string_view bytes);
  void end_input();
  void resize(int cols, int rows);  // a command with a terminal
  void cancel();
  void abandon();  // nobody listens any more
  void on_ready(std::function<void()> hook);

  const CallRequest& request() const { return request_; }
  bool finished() const;

  // The connection's side. I/O thread only, except fail(), which any thread may call for a call that never got there.
  void open(std::uint32_t id, const std::shared_ptr<Connection>& connection, std::shared_ptr<void> keep_alive);
  // An error is a violation by the peer: more than the window, a final answer twice.
  Result<void> receive(const wire::Frame& frame);
  void fail(Error error);
  std::uint32_t id() const { return id_; }
  bool cancel_asked() const;
  bool abandoned() const;
  // True while the next step is the consumer's: output waits for it, or it has not offered what the window allows.
  bool waits_for_consumer() const;
  std::chrono::steady_clock::time_point last_progress{};
  base::Reactor::TimerId timer = 0;
  bool cancel_sent = false;

 private:
  Result<void> deliver_locked(Piece piece);
  void return_credit_locked(std::unique_lock<std::mutex>& lock);
  void notify();
  // Runs on the I/O thread with the connection, while there is one.
  void with_connection(std::function<void(Connection&, Call&)> task);

  IoLoop& loop_;
  const CallRequest request_;
  std::uint32_t id_ = 0;                  // written once, before opened_
  std::weak_ptr<Connection> connection_;  // likewise
  std::shared_ptr<void> keep_alive_;      // what must live until the answer; I/O thread

  std::atomic<std::int64_t> pid_{0};

  std::mutex
      input_mutex_;  // held until input is handed to the I/O thread, so that it leaves in the order it was accepted
  mutable std::mutex mutex_;
  std::function<void()> hook_;
  std::deque<Piece> pieces_;
  std::optional<Error> error_;
  std::size_t buffered_ = 0;                             // bytes of output in pieces_
  std::uint32_t unreturned_ = 0;                         // taken, not yet given back as credit
  std::uint32_t receive_window_ = wire::kInitialCredit;  // what the peer may still send
  std::uint32_t send_window_ = wire::kInitialCredit;     // what we may still send
  bool opened_ = false;
  bool input_ended_ = false;
  std::string early_resize_;  // a payload, asked for before opened_
  bool ended_ = false;        // the final answer is in pieces_ or error_, or was taken
  bool cancel_asked_ = false;
  bool abandoned_ = false;
};

}  // namespace orkestr::local
