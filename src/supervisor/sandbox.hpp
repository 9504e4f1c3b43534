// The life of one sandbox, from the start request of its creator to its final record. The whole of a supervisor but its
// process state.
//
// Owns everything: directory and locks, QEMU, connections, deadline, event log. One thread (but for verify_template()),
// one io_context. A sandbox ends exactly once, for the first reason that comes (end()); what comes later changes
// nothing.
//
// States: waiting for `start` → starting → running ⇄ pausing → ending → over. Ending is possible in each of them. Three
// sources: sandbox.cpp (requests, running, ending), start.cpp (boot, snapshot, restore), pause.cpp (pause, resume).
// One that was made for the warm pool is ready and stopped between starting and its `start` request: pool.cpp.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "image/verify.hpp"
#include "orkestr/error.hpp"
#include "registry/events.hpp"
#include "registry/registry.hpp"
#include "supervisor/metrics.hpp"
#include "supervisor/relay.hpp"
#include "supervisor/stall_watch.hpp"
#include "supervisor/timers.hpp"
#include "vm/snapshot_store.hpp"
#include "vm/vm.hpp"
#include "wire/message.hpp"

namespace orkestr::supervisor {

inline constexpr std::int64_t kLastResortMs = 30'000;             // beyond a deadline
inline constexpr std::chrono::milliseconds kQemuEndsWithin{500};  // after its end of the agent channel has closed
inline constexpr std::int64_t kMaxTimeoutSeconds = 10LL * 366 * 86'400;

// Whether it is one of a new sandbox that this build can make. invalid_argument, not_supported.
Result<void> check_record(const registry::Record& record);

struct Membership {
  base::UniqueFd slot;  // until the claim
  bool ready = false;   // between being stopped and the claim
  bool claimed = false;
  std::int64_t cpu_ms = 0;                            // of QEMU, before the claim
  std::optional<registry::OwnedDirectory> directory;  // after the claim: the member's, to be removed
};

class Sandbox {
 public:
  // `creator` is the inherited connection; `library_stamp` what the library says to be.
  Sandbox(base::UniqueFd creator, std::string library_stamp);

  // A member of the warm pool: it has its request already, and no creator yet.
  Sandbox(wire::StartRequest pool_request, std::string library_stamp);

  // Returns when the sandbox is over and everybody was told: 0, or 1 when it never ran.
  int run();

 private:
  struct Request {
    ClientId client = kNobody;
    std::uint32_t id = 0;
  };
  struct Ending {
    std::string status;  // "terminated", "failed"; "paused": its directory is complete and stays
    std::string reason;
  };

  explicit Sandbox(std::string library_stamp);
  boost::asio::awaitable<void> expect_start_request();

  // What clients ask.
  void on_request(ClientId client, const wire::Frame& frame);
  void on_start(Request from, std::string_view payload);
  void on_terminate(Request from);
  void on_pause(Request from);
  void on_set_timeout(Request from, std::string_view payload);
  void on_client_gone(ClientId client);
  void answer_record(Request to);

  // Starting.
  boost::asio::awaitable<void> start();
  boost::asio::awaitable<Result<void>> bring_up();
  boost::asio::awaitable<Result<void>> verify_template();
  image::TemplateFiles template_files() const;
  boost::asio::awaitable<Result<void>> await_turn();
  Result<void> choose_host();
  Result<void> claim();
  boost::asio::awaitable<Result<void>> boot();
  boost::asio::awaitable<Result<void>> try_start(std::optional<vm::SnapshotFiles> snapshot, bool& worth_a_retry);
  boost::asio::awaitable<Result<void>> start_vm(vm::VmConfig config, bool& worth_a_retry);
  vm::VmConfig vm_config() const;
  int vcpus() const;
  std::chrono::milliseconds extra_time() const;
  std::chrono::milliseconds start_within() const;
  boost::asio::awaitable<Result<void>> wait_for_agent();
  boost::asio::awaitable<Result<void>> give_identity(wire::EnvList env, bool same_machine);
  Result<void> announce();
  Result<void> restart_clock(std::int64_t seconds);
  Result<void> set_clock(std::int64_t seconds);
  void progress(std::string stage, std::string text);
  boost::asio::awaitable<Error> boot_loss(std::string stage, std::string when);
  Error boot_error(std::string stage, std::string_view what) const;

  // The template's snapshot.
  std::string snapshot_key() const;
  vm::SnapshotStore snapshot_store() const;
  boost::asio::awaitable<Result<vm::SnapshotFiles>> find_or_make_snapshot();
  boost::asio::awaitable<Result<vm::SnapshotFiles>> make_snapshot(const std::string& key);
  boost::asio::awaitable<Result<void>> save_snapshot(const vm::SnapshotFiles& files);

  // Pause and resume.
  boost::asio::awaitable<void> pause();
  boost::asio::awaitable<void> pause_at_timeout();
  boost::asio::awaitable<Result<void>> save_pause();
  boost::asio::awaitable<Result<void>> write_pause(const std::string& draft);
  boost::asio::awaitable<Result<void>> resume();
  boost::asio::awaitable<void> free_pages(base::UniqueFd file);

  // The warm pool.
  boost::asio::awaitable<void> join_pool();
  boost::asio::awaitable<Result<void>> become_member();
  boost::asio::awaitable<void> watch_member();
  std::string why_leave() const;
  bool is_same_qemu() const;
  void on_claim(Request from, std::string_view payload);
  Result<registry::Record> check_claim(const Result<wire::StartRequest>& request) const;
  boost::asio::awaitable<void> take_over();
  boost::asio::awaitable<Result<void>> go_on_as_sandbox();
  void leave_pool();

  // Running.
  boost::asio::awaitable<void> watch_deadline();
  boost::asio::awaitable<void> watch_vm();
  boost::asio::awaitable<void> watch_signals();
  void on_disk_stop(std::string reason);
  boost::asio::awaitable<void> retry_disk(std::string reason);
  boost::asio::awaitable<void> explain_guest_loss(Error why, Connection::End end);
  void log_finished(const Finished& event);
  std::int64_t cpu_ms() const;
  std::int64_t alive_ms() const;
  std::optional<Metrics::Facts> facts() const;

  // Ending.
  void end(std::string status, std::string reason);
  void give_up(std::string reason);
  boost::asio::awaitable<void> finish();
  void wake();

  template <class Awaitable>
  void spawn(Awaitable coroutine) {
    boost::asio::co_spawn(io_, std::move(coroutine), boost::asio::detached);
  }

  boost::asio::io_context io_{1};
  std::chrono::steady_clock::time_point born_ = std::chrono::steady_clock::now();  // or its turn to start came
  const std::string library_stamp_;
  wire::StartRequest request_;
  registry::Record record_;
  vm::Accelerator accelerator_;
  vm::QemuBuild qemu_;
  base::UniqueFd start_slot_;
  std::optional<registry::OwnedDirectory> directory_;
  std::optional<registry::EventLog> events_;
  std::optional<LastResort> last_resort_;
  std::unique_ptr<vm::Vm> vm_;
  std::function<void()> kill_starting_vm_;  // while Vm::start() is under way and has a process
  Relay relay_;
  Metrics metrics_;
  boost::asio::signal_set signals_;
  boost::asio::posix::stream_descriptor deadline_;  // a timer
  boost::asio::steady_timer changed_;  // cancelled when something happened that a waiting coroutine wants to see

  ClientId creator_ = kNobody;
  std::optional<Request> start_request_;
  bool start_answered_ = false;
  bool starting_ = false;
  bool running_ = false;
  std::optional<std::chrono::steady_clock::time_point> runs_since_;
  bool acknowledged_ = false;
  bool image_refused_ = false;  // then not even a record is left
  std::optional<Error> start_error_;
  std::optional<Error> guest_loss_;  // while booting
  std::optional<Ending> ending_;
  bool over_ = false;
  std::vector<Request> terminators_;
  bool disk_stopped_ = false;  // since QEMU last went on
  bool retrying_disk_ = false;
  bool pausing_ = false;
  base::UniqueFd loaded_pages_;  // while resuming
  int failed_pauses_ = 0;        // in a row, at the end of its time
  std::vector<Request> pausers_;
  std::optional<Membership> membership_;
  std::int64_t leaves_pool_at_ = 0;  // of base::boot_clock_ms()
};

}  // namespace orkestr::supervisor
