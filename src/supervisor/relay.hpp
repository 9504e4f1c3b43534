// Clients on one side, the guest's agent on the other, the table of operations between them. Needs no VM: tests put any
// agent, or a hostile one, at the other end of a socketpair.
//
// Belongs to the thread of one io_context. Owns all connections. What is not about the guest (start, acknowledge,
// inspect, terminate) goes to the owner by hooks; hooks are called from the loop and may call anything here.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/deadline.hpp"
#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"
#include "supervisor/connection.hpp"
#include "supervisor/operations.hpp"
#include "wire/message.hpp"

namespace orkestr::supervisor {

inline constexpr std::size_t kMaxClients = 64;
inline constexpr std::chrono::seconds kHandshakeTimeout{5};
// What may wait for one client: more than any that reads has, less than would hurt. Then it is disconnected.
inline constexpr std::size_t kMaxClientQueueBytes = 128U << 20U;
// What may wait for the guest. One that grants credit and does not read lies, and is given up.
inline constexpr std::size_t kMaxGuestQueueBytes = 256U << 20U;

class Relay {
 public:
  struct Hooks {
    // start, acknowledge, inspect, terminate, pause, set_timeout, metrics. The id is already checked; the owner
    // answers.
    std::function<void(ClientId, const wire::Frame&)> request;
    std::function<void(ClientId)> client_gone;
    std::function<void()> guest_established;
    // The channel is closed; operations stay open until end_operations().
    std::function<void(const Error& why, Connection::End end)> guest_lost;
    std::function<void(const Finished&)> finished;
  };

  Relay(boost::asio::any_io_executor executor, Hooks hooks);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // A connected socket whose other end we trust to be this user's. kNobody when there are kMaxClients already.
  ClientId add_client(base::UniqueFd socket);
  // Accepts until close(): only peers of our own uid or root.
  Result<void> listen(base::UniqueFd listener);
  // Disconnects every other client, and listens no more.
  void keep_only(ClientId client);
  void answer(ClientId client, wire::OutFrame frame);
  void answer_error(ClientId client, std::uint32_t id, const Error& error);

  // Takes the place of an earlier guest, which is disconnected.
  void attach_guest(base::UniqueFd socket);
  bool guest_established() const { return guest_ && guest_->established(); }
  // Gives the guest its identity and waits until it says that all of it is applied.
  boost::asio::awaitable<Result<void>> configure(wire::ConfigureRequest request, base::Deadline deadline);
  // Runs a command in the guest for ourselves and waits for its end; what it writes is dropped.
  boost::asio::awaitable<Result<wire::ExecExit>> run(wire::ExecRequest request, base::Deadline deadline);
  // What the guest says it uses.
  boost::asio::awaitable<Result<wire::StatsMessage>> stats(base::Deadline deadline);
  // From now on clients' requests reach the guest. `sandbox_env` is masked in the log.
  void accept_operations(wire::EnvList sandbox_env);
  // Holds back what clients have for the guest, and returns once the guest has taken everything that was sent before:
  // from then on both ends of its channel are between two frames, until thaw(). An error: it does not answer; thawed.
  boost::asio::awaitable<Result<void>> freeze(base::Deadline deadline);
  void thaw();
  // Disconnects the guest; open and later operations are answered with `why`.
  void end_operations(const Error& why);

  // Waits until all clients were handed what waits for them, or the deadline.
  boost::asio::awaitable<void> flush(base::Deadline deadline);
  void close();

 private:
  struct Client {
    std::shared_ptr<Connection> connection;
    std::unique_ptr<boost::asio::steady_timer> handshake;
  };

  void await_client();
  // False when there is no descriptor or memory for another one.
  bool accept_clients();
  Result<void> from_client(ClientId id, const wire::Frame& frame);
  void client_lost(ClientId id);
  Result<void> from_guest(const wire::Frame& frame);
  void guest_lost(const Error& why, Connection::End end);
  template <class Condition>
  boost::asio::awaitable<Result<void>> await_answer(Condition answered, const char* to, base::Deadline deadline);
  void deliver();
  void give_up_choked_guest();
  void deliver_to_client(Outbox::ToClient item, std::vector<ClientId>& choked);
  void schedule_tick();

  boost::asio::any_io_executor executor_;
  Hooks hooks_;
  Operations operations_;
  std::unordered_map<ClientId, Client> clients_;
  ClientId last_client_ = kNobody;
  std::shared_ptr<Connection> guest_;
  std::optional<boost::asio::posix::stream_descriptor> listener_;
  std::uint64_t listener_number_ = 0;  // which one it is
  boost::asio::steady_timer accept_pause_;
  boost::asio::steady_timer tick_;
  bool ticking_ = false;
  std::optional<Result<void>> configured_;
  std::optional<Result<wire::ExecExit>> ran_;
  bool frozen_ = false;
  bool ponged_ = false;
  std::vector<Outbox::ToGuest> held_back_;  // while frozen
  boost::asio::steady_timer answered_;      // cancelled when one of ours was answered, or the guest is gone
  std::optional<Result<wire::StatsMessage>> stats_;
  bool stats_asked_ = false;  // and not answered yet, however long ago
  boost::asio::steady_timer stats_signal_;
};

}  // namespace orkestr::supervisor
