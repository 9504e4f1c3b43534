// Who asked for what: the table of operations between clients and the guest, as pure logic. No I/O, no clock, no
// threads; frames in, frames out.
//
// No blind relay: every frame is decoded, checked against the state of its operation and made anew under another id.
// Clients choose their ids (strictly increasing), the guest sees only ids chosen here, and an operation leaves the
// table only with the guest's own final answer. So whatever a guest says about an id that is not in the table is a lie
// and ends it, while a client may be late: credit, data, cancel, detach and resize for an operation that has ended are
// dropped.
//
// Credit goes end to end: the guest may send what the client has granted, so a client that stops reading stops its own
// command, and what is queued for it here is at most wire::kMaxCredit an operation. An operation whose client is gone
// (detached, or died during `exec`) is credited here and its output dropped. A dead client's file transfers are
// cancelled.
//
// Backstops, should the guest not keep its own deadlines. They run only while it is the guest's turn, so a slow client
// is never mistaken for a dead guest. First the operation is cancelled; 5 s later the client gets `vm_failed` and the
// operation stays in the table as an orphan, counted against wire::kMaxOperations, until the guest answers after all.
// The sandbox lives on: one command stuck in the guest's kernel is no reason to end the others.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "orkestr/error.hpp"
#include "supervisor/requests.hpp"
#include "wire/channel.hpp"
#include "wire/command_message.hpp"
#include "wire/message.hpp"

namespace orkestr::supervisor {

using TimePoint = std::chrono::steady_clock::time_point;

// A connection to a client; never used twice.
using ClientId = std::uint32_t;
inline constexpr ClientId kNobody = 0;

inline constexpr std::chrono::seconds kCancelGrace{15};  // from a client's cancel to the final answer
inline constexpr std::chrono::seconds kLastGrace{5};     // from our own cancel to giving up

// For the event log: an exec, a change of files, a background command started or killed. Texts are masked.
struct Finished {
  wire::Type request{};
  std::string command;
  bool tty = false;        // the command had a terminal
  std::string command_id;  // of a background command
  std::string path;
  std::string destination;
  std::uint64_t bytes = 0;             // of content written
  std::optional<wire::ExecExit> exit;  // exec that ran
  std::string error_code;              // empty: it succeeded, or ran
  std::int64_t duration_ms = 0;
};

// What the owner has to carry out after a call, in order.
struct Outbox {
  struct ToGuest {
    wire::OutFrame frame;
    wire::Lane lane;
  };
  struct ToClient {
    ClientId client;
    wire::OutFrame frame;
    wire::Lane lane;
  };
  std::vector<ToGuest> to_guest;
  std::vector<ToClient> to_client;
  std::vector<Finished> finished;
  std::optional<Result<void>> configured;           // the guest's answer to configure()
  std::optional<Result<wire::ExecExit>> ran;        // how the command of run() ended
  std::optional<Result<wire::StatsMessage>> stats;  // the answer to ask_stats()
};

// Why requests are refused before accept().
Error still_starting();

class Operations {
 public:
  // `sandbox_env` is masked in what is logged. Until accept() every request is answered with `not_ready`.
  explicit Operations(wire::EnvList sandbox_env = {})
      : sandbox_env_(std::move(sandbox_env)), refusal_(still_starting()) {}

  Outbox take_outbox() { return std::exchange(outbox_, Outbox()); }

  void set_environment(wire::EnvList sandbox_env) { sandbox_env_ = std::move(sandbox_env); }
  // From now on requests reach the guest; or are answered with `why`.
  void accept() { refusal_.reset(); }
  void refuse(Error why) { refusal_ = std::move(why); }

  // exec, file_*, command_*, data, credit, cancel, detach, resize. An error: this client must be disconnected.
  Result<void> from_client(ClientId client, const wire::Frame& frame, TimePoint now);
  // Notes the id of a request that is not ours (inspect, terminate …). An error as above.
  Result<void> take_request_id(ClientId client, std::uint32_t id);
  void client_gone(ClientId client);

  // Sends the guest its identity; the answer is outbox.configured.
  void configure(const wire::ConfigureRequest& request, TimePoint now);
  // Runs a command of our own; its output is dropped, nothing is logged. The answer is outbox.ran. One at a time.
  void run(const wire::ExecRequest& request, TimePoint now);
  // Asks what the guest uses; the answer is outbox.stats.
  void ask_stats(TimePoint now);
  // data, credit, started, result, error. An error: the guest is broken or hostile, its channel must be closed.
  Result<void> from_guest(const wire::Frame& frame, TimePoint now);
  // Every open operation is answered with `why`, and so is every later request.
  void guest_gone(const Error& why, TimePoint now);

  // To be called about once a second while there are operations.
  void tick(TimePoint now);

  bool empty() const { return operations_.empty(); }
  std::size_t size() const { return operations_.size(); }

 private:
  struct Operation {
    ClientId client = kNobody;
    std::uint32_t client_op = 0;
    wire::Type request{};
    bool own = false;  // of run()
    bool has_input = false;
    bool tty = false;
    std::uint32_t output_credit = wire::kInitialCredit;  // what the guest may still send
    std::uint32_t output_grant = 0;                      // granted by the client, not yet passed on
    std::uint32_t input_credit = wire::kInitialCredit;   // what the client may still send
    std::uint32_t input_grant = 0;                       // granted by the guest, not yet passed on
    bool started = false;
    bool output_ended[2] = {false, false};
    bool input_ended = false;
    bool cancelled = false;  // the guest has been told
    std::uint64_t input_bytes = 0;
    std::uint64_t output_bytes = 0;
    TimePoint opened;
    std::optional<TimePoint> due;  // of the backstop
    bool last_chance = false;      // of the backstop: cancelled by us, or by the client
    std::string command;
    std::string command_id;
    std::string path;
    std::string destination;
    ListCheck list;
  };
  struct Peer {
    std::uint32_t last_id = 0;
    std::unordered_map<std::uint32_t, std::uint32_t> open;  // its id → the guest's id
  };

  Result<void> open(ClientId client, const wire::Frame& frame, TimePoint now);
  std::uint32_t fresh_id();

  Result<void> client_data(std::uint32_t id, Operation& operation, const wire::Frame& frame);
  Result<void> client_credit(std::uint32_t id, Operation& operation, const wire::Frame& frame);
  Result<void> client_resize(std::uint32_t id, const Operation& operation, const wire::Frame& frame);
  void client_cancel(std::uint32_t id, Operation& operation, TimePoint now);
  void abandon(std::uint32_t id, Operation& operation);
  void cancel(std::uint32_t id, Operation& operation);
  void grant_output(std::uint32_t id, Operation& operation);
  void grant_input(Operation& operation);

  Result<void> guest_data(std::uint32_t id, Operation& operation, const wire::Frame& frame);
  Result<void> guest_credit(Operation& operation, const wire::Frame& frame);
  Result<void> guest_started(Operation& operation, const wire::Frame& frame);
  Result<void> guest_result(std::uint32_t id, Operation& operation, const wire::Frame& frame, TimePoint now);
  Result<void> guest_error(std::uint32_t id, Operation& operation, const wire::Frame& frame, TimePoint now);
  void finish(std::uint32_t id, TimePoint now, std::optional<wire::ExecExit> exit, std::string_view error_code);
  void give_up(std::uint32_t id, Operation& operation);
  void forget_client(Operation& operation);

  void answer(const Operation& operation, wire::Type type, std::string_view payload);
  void answer_error(ClientId client, std::uint32_t client_op, const Error& error);

  wire::EnvList sandbox_env_;
  std::optional<Error> refusal_;
  std::unordered_map<std::uint32_t, Operation> operations_;  // by the guest's id
  std::unordered_map<ClientId, Peer> peers_;
  std::uint32_t last_guest_id_ = 0;
  Outbox outbox_;
};

}  // namespace orkestr::supervisor
