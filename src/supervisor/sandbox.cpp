#include "supervisor/sandbox.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "base/build_stamp.hpp"
#include "base/file.hpp"
#include "base/system.hpp"
#include "supervisor/log.hpp"
#include "supervisor/masking.hpp"

namespace orkestr::supervisor {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using std::chrono::steady_clock;

constexpr auto kQuietly = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kStartRequestWithin{30};
constexpr std::chrono::seconds kFlushWithin{2};
constexpr std::size_t kReasonTailBytes = 600;

// What tells a person how a guest died, from the end of its console.
std::string with_console(std::string reason, const std::string& console) {
  if (console.empty()) return reason;
  const std::size_t from = console.size() - std::min(console.size(), kReasonTailBytes);
  return fmt::format("{}; the guest's console ends with: {}", reason,
                     sanitised(console.substr(from), kReasonTailBytes));
}

}  // namespace

Result<void> check_record(const registry::Record& record) {
  if (record.timeout_seconds < 1 || record.timeout_seconds > kMaxTimeoutSeconds) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("timeout_seconds is {}, allowed is 1 to {}", record.timeout_seconds, kMaxTimeoutSeconds));
  }
  if (record.network != "off") {
    return Error(ErrorCode::not_supported,
                 fmt::format("network \"{}\": this build knows only \"off\"", record.network));
  }
  return {};
}

Sandbox::Sandbox(std::string library_stamp)
    : library_stamp_(std::move(library_stamp)),
      relay_(io_.get_executor(),
             {.request = [this](ClientId client, const wire::Frame& frame) { on_request(client, frame); },
              .client_gone = [this](ClientId client) { on_client_gone(client); },
              .guest_established = [this] { wake(); },
              .guest_lost =
                  [this](const Error& why, Connection::End end) {
                    guest_loss_ = why;
                    wake();
                    if (running_) spawn(explain_guest_loss(why, end));
                  },
              .finished = [this](const Finished& event) { log_finished(event); }}),
      metrics_(io_.get_executor(), relay_, [this] { return facts(); }),
      signals_(io_),
      deadline_(io_),
      changed_(io_) {}

Sandbox::Sandbox(base::UniqueFd creator, std::string library_stamp) : Sandbox(std::move(library_stamp)) {
  creator_ = relay_.add_client(std::move(creator));
}

Sandbox::Sandbox(wire::StartRequest pool_request, std::string library_stamp) : Sandbox(std::move(library_stamp)) {
  request_ = std::move(pool_request);
  membership_.emplace();
}

int Sandbox::run() {
  if (auto timer = LastResort::create()) {
    last_resort_.emplace(std::move(*timer));
    last_resort_->arm(base::boot_clock_ms() + kLastResortMs +
                      std::chrono::milliseconds(BootLimits{}.all_attempts).count());
  }
  boost::system::error_code ignored;
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) signals_.add(signal, ignored);
  spawn(watch_signals());
  if (membership_) {
    spawn(join_pool());
  } else {
    spawn(expect_start_request());
  }
  io_.run();
  return record_.status == "failed" || !running_ ? 1 : 0;
}

void Sandbox::wake() { changed_.cancel(); }

awaitable<void> Sandbox::expect_start_request() {
  asio::steady_timer timer(io_, kStartRequestWithin);
  co_await timer.async_wait(kQuietly);
  if (!start_request_) end("failed", "no start request came");
}

// --- requests
// ---------------------------------------------------------------------------------------------------------

void Sandbox::on_request(ClientId client, const wire::Frame& frame) {
  const Request from{client, frame.id};
  switch (frame.type) {
    case wire::Type::start:
      return on_start(from, frame.payload);
    case wire::Type::acknowledge:
      if (client != creator_ || !running_) {
        return relay_.answer_error(
            client, frame.id, Error(ErrorCode::not_ready, "only its creator acknowledges a sandbox, once it runs"));
      }
      acknowledged_ = true;
      return relay_.answer(client, wire::OutFrame(wire::Type::result, frame.id));
    case wire::Type::inspect:
      return answer_record(from);
    case wire::Type::pause:
      return on_pause(from);
    case wire::Type::set_timeout:
      return on_set_timeout(from, frame.payload);
    case wire::Type::metrics:
      return metrics_.ask(client, frame.id, frame.payload);
    default:
      return on_terminate(from);
  }
}

void Sandbox::on_start(Request from, std::string_view payload) {
  if (membership_) return on_claim(from, payload);
  const auto refuse = [&](const Error& error) {
    if (from.client != creator_ || start_request_) return relay_.answer_error(from.client, from.id, error);
    start_request_ = from;
    start_error_ = error;
    end("failed", error.message());
  };
  if (from.client != creator_ || start_request_) {
    return refuse(Error(ErrorCode::not_permitted, "this supervisor has its sandbox already"));
  }
  if (ending_) return refuse(Error(ErrorCode::not_ready, "this supervisor is ending: the request came too late"));
  if (library_stamp_ != base::kBuildStamp) {
    return refuse(Error(ErrorCode::internal,
                        fmt::format("the library is build {}, its helper orkestr-supervisor is build {}; install both "
                                    "from one build, or point ORKESTR_LIBEXEC to the right one",
                                    library_stamp_.empty() ? "(unnamed)" : library_stamp_, base::kBuildStamp)));
  }
  auto request = wire::StartRequest::decode(payload);
  if (!request) return refuse(request.error());
  auto record = registry::Record::from_json(request->record);
  if (!record) return refuse(record.error());
  if (const auto checked = check_record(*record); !checked) return refuse(checked.error());
  record_ = std::move(*record);
  request_ = std::move(*request);
  set_log_name(record_.id);
  start_request_ = from;
  starting_ = true;
  spawn(start());
}

void Sandbox::on_terminate(Request from) {
  if (over_) return answer_record(from);
  terminators_.push_back(from);
  end("terminated", "terminated");
}

void Sandbox::on_set_timeout(Request from, std::string_view payload) {
  const auto message = wire::TimeoutMessage::decode(payload);
  if (!message) return relay_.answer_error(from.client, from.id, message.error());
  if (!running_ || ending_ || pausing_) {
    return relay_.answer_error(from.client, from.id,
                               Error(ErrorCode::not_ready, fmt::format("sandbox {} does not run", record_.id)));
  }
  const auto seconds = static_cast<std::int64_t>(message->seconds);
  auto done = seconds <= kMaxTimeoutSeconds
                  ? restart_clock(seconds)
                  : Error(ErrorCode::invalid_argument,
                          fmt::format("timeout_seconds is {}, allowed is 1 to {}", seconds, kMaxTimeoutSeconds));
  if (done) done = directory_->write_record(record_);
  if (!done) return relay_.answer_error(from.client, from.id, done.error());
  (void)events_->append("timeout_set", {{"timeout_seconds", seconds}});
  answer_record(from);
}

void Sandbox::answer_record(Request to) {
  if (record_.id.empty()) {
    return relay_.answer_error(to.client, to.id, Error(ErrorCode::not_ready, "there is no sandbox here yet"));
  }
  wire::RecordMessage message;
  message.record = record_.to_json();
  relay_.answer(to.client, wire::OutFrame(wire::Type::result, to.id, message.encode()));
}

void Sandbox::on_client_gone(ClientId client) {
  if (client == creator_ && !acknowledged_) give_up("its creator died before it had the sandbox");
}

// --- running
// ----------------------------------------------------------------------------------------------------------

awaitable<void> Sandbox::watch_deadline() {
  while (!ending_) {
    auto [ec] = co_await deadline_.async_wait(asio::posix::stream_descriptor::wait_read, kQuietly);
    if (ec || ending_) co_return;
    std::uint64_t expirations = 0;
    if (::read(deadline_.native_handle(), &expirations, sizeof expirations) < 0) continue;  // set anew meanwhile
    if (record_.on_timeout == "pause") {
      co_await pause_at_timeout();
    } else {
      end("terminated", "timeout");
    }
  }
}

awaitable<void> Sandbox::watch_vm() {
  const std::string how = co_await vm_->wait_exit();
  if (!ending_) end("failed", with_console(fmt::format("QEMU ended by itself: {}", how), vm_->console_tail()));
}

awaitable<void> Sandbox::watch_signals() {
  auto [ec, signal] = co_await signals_.async_wait(kQuietly);
  if (!ec) give_up(fmt::format("its supervisor was ended by signal {}", signal));
}

// As boot_loss().
awaitable<void> Sandbox::explain_guest_loss(Error why, Connection::End how) {
  if (how == Connection::End::gone) {
    asio::steady_timer moment(io_, kQemuEndsWithin);
    co_await moment.async_wait(kQuietly);
  }
  if (!ending_) end("failed", with_console(why.message(), vm_->console_tail()));
}

// Of this machine, as this sandbox: what it used while it waited in a pool is not the sandbox's.
std::int64_t Sandbox::cpu_ms() const { return vm_->cpu_time_ms() - (membership_ ? membership_->cpu_ms : 0); }

std::int64_t Sandbox::alive_ms() const {
  if (!runs_since_) return 0;
  return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - *runs_since_).count();
}

std::optional<Metrics::Facts> Sandbox::facts() const {
  if (!running_ || !vm_) return std::nullopt;
  return Metrics::Facts{record_.cpu_ms + cpu_ms(), record_.alive_ms + alive_ms(), record_.cpu, record_.memory_mb};
}

void Sandbox::log_finished(const Finished& event) {
  if (!events_) return;
  const std::string_view outcome = event.error_code.empty() ? "ok" : std::string_view(event.error_code);
  const std::string_view kind = wire::to_string(event.request);
  switch (event.request) {
    case wire::Type::exec: {
      if (!event.exit) {
        (void)events_->append(
            kind,
            {{"command", event.command}, {"tty", event.tty}, {"outcome", outcome}, {"duration_ms", event.duration_ms}});
        return;
      }
      const auto& exit = *event.exit;
      const std::string_view how = exit.timed_out     ? "timeout"
                                   : exit.cancelled   ? "cancelled"
                                   : exit.signal != 0 ? "signal"
                                                      : "exit";
      (void)events_->append(kind, {{"command", event.command},
                                   {"tty", event.tty},
                                   {"outcome", how},
                                   {"exit_code", exit.exit_code},
                                   {"signal", exit.signal},
                                   {"oom", exit.oom},
                                   {"duration_ms", event.duration_ms}});
      return;
    }
    case wire::Type::command_start:
    case wire::Type::command_kill:
      (void)events_->append(kind, {{"command_id", event.command_id},
                                   {"command", event.command},
                                   {"outcome", outcome},
                                   {"duration_ms", event.duration_ms}});
      return;
    case wire::Type::file_write:
      (void)events_->append(kind, {{"path", event.path},
                                   {"bytes", static_cast<std::int64_t>(event.bytes)},
                                   {"outcome", outcome},
                                   {"duration_ms", event.duration_ms}});
      return;
    case wire::Type::file_move:
      (void)events_->append(kind, {{"path", event.path},
                                   {"destination", event.destination},
                                   {"outcome", outcome},
                                   {"duration_ms", event.duration_ms}});
      return;
    default:
      (void)events_->append(kind, {{"path", event.path}, {"outcome", outcome}, {"duration_ms", event.duration_ms}});
  }
}

// --- ending
// -----------------------------------------------------------------------------------------------------------

void Sandbox::end(std::string status, std::string reason) {
  if (ending_) return;
  log_info(fmt::format("ends: {}: {}", status, reason));
  ending_ = Ending{std::move(status), std::move(reason)};
  if (last_resort_) last_resort_->arm(base::boot_clock_ms() + kLastResortMs);
  wake();
  spawn(finish());
}

// An end that nobody asked for. A paused sandbox whose resume comes to nothing is as paused as before.
void Sandbox::give_up(std::string reason) {
  const bool still_paused = request_.purpose == "resume" && !running_;
  end(still_paused ? "paused" : "terminated", std::move(reason));
}

awaitable<void> Sandbox::finish() {
  if (vm_) vm_->kill();  // nothing to save: its disk has no name, or a paused one's has everything
  if (kill_starting_vm_) kill_starting_vm_();
  while (starting_) {
    changed_.expires_after(std::chrono::milliseconds(200));
    co_await changed_.async_wait(kQuietly);
  }
  if (vm_) {
    const auto reaped = co_await vm_->quit(base::Deadline::after(std::chrono::seconds(0)));
    if (!reaped) ending_->reason += "; " + reaped.error().message();
    record_.cpu_ms += cpu_ms();
  }
  record_.alive_ms += alive_ms();
  const bool failed = ending_->status == "failed";
  const bool paused = ending_->status == "paused";
  record_.status = ending_->status;
  if (!paused) {
    record_.end_reason = failed ? "failed: " + ending_->reason : ending_->reason;
    record_.ended_at_ms = base::wall_clock_ms();
  }
  const Error over = paused ? Error(ErrorCode::not_ready, ending_->reason)
                            : Error(failed ? ErrorCode::vm_failed : ErrorCode::not_ready,
                                    fmt::format("sandbox {} has ended: {}", record_.id, record_.end_reason));
  relay_.end_operations(over);
  metrics_.stop(over);
  if (events_ && !paused) {
    (void)events_->append(record_.status,
                          {{"reason", std::string_view(record_.end_reason).substr(0, kMaxLoggedBytes)}});
  }
  if (directory_) {
    const auto left = paused ? directory_->leave_paused(record_) : directory_->finish(record_);
    if (!left) log_info(left.error().message());
    if (image_refused_ && !membership_) (void)base::remove_tree(directory_->path());
  }
  if (membership_) leave_pool();
  over_ = true;
  if (start_request_ && !start_answered_) {
    relay_.answer_error(start_request_->client, start_request_->id,
                        start_error_.value_or(Error(ErrorCode::cancelled, "the sandbox was ended while it started")));
  }
  for (const Request& terminator : std::exchange(terminators_, {})) answer_record(terminator);
  for (const Request& pauser : std::exchange(pausers_, {})) {
    relay_.answer_error(
        pauser.client, pauser.id,
        Error(ErrorCode::not_ready, fmt::format("sandbox {} has ended: {}", record_.id, ending_->reason)));
  }
  co_await relay_.flush(base::Deadline::after(kFlushWithin));
  relay_.close();
  io_.stop();
}

}  // namespace orkestr::supervisor
