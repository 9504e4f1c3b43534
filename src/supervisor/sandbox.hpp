// The life of one sandbox, from the start request of its creator to its final record. The whole of a supervisor but its
// process state.
//
// Owns everything: directory and locks, QEMU, connections, deadline, event log. One thread, one io_context. A sandbox
// ends exactly once, for the first reason that comes (end()); what comes later changes nothing.
//
// States: waiting for `start` → starting (bring_up) → running → ending → over. Ending is possible in each of them.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"
#include "registry/events.hpp"
#include "registry/registry.hpp"
#include "supervisor/relay.hpp"
#include "supervisor/stall_watch.hpp"
#include "supervisor/timers.hpp"
#include "vm/vm.hpp"
#include "wire/message.hpp"

namespace orkestr::supervisor {

class Sandbox {
 public:
  // `creator` is the inherited connection; `library_stamp` what the library says to be.
  Sandbox(base::UniqueFd creator, std::string library_stamp);

  // Returns when the sandbox is over and everybody was told: 0, or 1 when it never ran.
  int run();

 private:
  struct Request {
    ClientId client = kNobody;
    std::uint32_t id = 0;
  };
  struct Ending {
    std::string status;  // "terminated", "failed"
    std::string reason;
  };

  boost::asio::awaitable<void> expect_start_request();

  // What clients ask.
  void on_request(ClientId client, const wire::Frame& frame);
  void on_start(Request from, std::string_view payload);
  void on_terminate(Request from);
  void on_client_gone(ClientId client);
  void answer_record(Request to);

  // Starting.
  boost::asio::awaitable<void> start(wire::StartRequest request);
  boost::asio::awaitable<Result<void>> bring_up(wire::StartRequest request);
  Result<void> claim(const wire::StartRequest& request);
  boost::asio::awaitable<Result<void>> boot(const wire::StartRequest& request);
  boost::asio::awaitable<Result<void>> try_boot(const wire::StartRequest& request, bool& worth_a_retry);
  boost::asio::awaitable<Result<void>> wait_for_agent();
  boost::asio::awaitable<Result<void>> give_identity(const wire::EnvList& env);
  Result<void> announce();
  void progress(std::string stage, std::string text);
  boost::asio::awaitable<Error> boot_loss(std::string stage, std::string when);
  Error boot_error(std::string stage, std::string_view what) const;

  // Running.
  boost::asio::awaitable<void> watch_deadline(base::UniqueFd timer);
  boost::asio::awaitable<void> watch_vm();
  boost::asio::awaitable<void> watch_signals();
  boost::asio::awaitable<void> explain_guest_loss(Error why, Connection::End end);
  void log_finished(const Finished& event);

  // Ending.
  void end(std::string status, std::string reason);
  boost::asio::awaitable<void> finish();
  void wake();

  template <class Awaitable>
  void spawn(Awaitable coroutine);

  boost::asio::io_context io_{1};
  const std::chrono::steady_clock::time_point born_ = std::chrono::steady_clock::now();
  const std::string library_stamp_;
  registry::Record record_;
  std::optional<registry::OwnedDirectory> directory_;
  std::optional<registry::EventLog> events_;
  std::optional<LastResort> last_resort_;
  std::unique_ptr<vm::Vm> vm_;
  std::function<void()> kill_starting_vm_;  // while Vm::start() is under way and has a process
  Relay relay_;
  boost::asio::signal_set signals_;
  boost::asio::steady_timer changed_;  // cancelled when something happened that a waiting coroutine wants to see

  ClientId creator_ = kNobody;
  std::optional<Request> start_request_;
  bool starting_ = false;
  bool running_ = false;
  bool acknowledged_ = false;
  std::optional<Error> start_error_;
  std::optional<Error> guest_loss_;  // while booting
  std::optional<Ending> ending_;
  bool over_ = false;
  std::vector<Request> terminators_;
};

}  // namespace orkestr::supervisor
