#include "supervisor/sandbox.hpp"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cmath>
#include <utility>

#include "base/build_stamp.hpp"
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
constexpr std::chrono::milliseconds kQemuEndsWithin{500};  // after its end of the agent channel has closed
constexpr std::int64_t kLastResortMs = 30'000;             // beyond the deadline
constexpr std::int64_t kMaxTimeoutSeconds = 10LL * 366 * 86'400;
constexpr std::size_t kReasonTailBytes = 600;

Result<void> check(const registry::Record& record) {
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

// What tells a person how a guest died, from the end of its console.
std::string with_console(std::string reason, const std::string& console) {
  if (console.empty()) return reason;
  const std::size_t from = console.size() - std::min(console.size(), kReasonTailBytes);
  return fmt::format("{}; the guest's console ends with: {}", reason,
                     sanitised(console.substr(from), kReasonTailBytes));
}

}  // namespace

Sandbox::Sandbox(base::UniqueFd creator, std::string library_stamp)
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
      signals_(io_),
      changed_(io_) {
  creator_ = relay_.add_client(std::move(creator));
}

template <class Awaitable>
void Sandbox::spawn(Awaitable coroutine) {
  asio::co_spawn(io_, std::move(coroutine), asio::detached);
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
  spawn(expect_start_request());
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
    default:
      return on_terminate(from);
  }
}

void Sandbox::on_start(Request from, std::string_view payload) {
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
  if (const auto checked = check(*record); !checked) return refuse(checked.error());
  record_ = std::move(*record);
  set_log_name(record_.id);
  start_request_ = from;
  starting_ = true;
  spawn(start(std::move(*request)));
}

void Sandbox::on_terminate(Request from) {
  if (over_) return answer_record(from);
  terminators_.push_back(from);
  end("terminated", "terminated");
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
  if (client == creator_ && !acknowledged_) end("terminated", "its creator died before it had the sandbox");
}

// --- starting
// ---------------------------------------------------------------------------------------------------------

awaitable<void> Sandbox::start(wire::StartRequest request) {
  const auto up = co_await bring_up(std::move(request));
  starting_ = false;
  wake();
  if (up) {
    answer_record(*start_request_);
    spawn(watch_vm());
    co_return;
  }
  start_error_ = up.error();
  end("failed", up.error().message());
}

awaitable<Result<void>> Sandbox::bring_up(wire::StartRequest request) {
  if (auto done = claim(request); !done) co_return done;
  if (auto done = co_await boot(request); !done) co_return done;
  if (ending_) co_return Error(ErrorCode::cancelled, "the sandbox was ended while it started");
  if (auto done = announce(); !done) co_return done;
  relay_.accept_operations(request.env);
  co_return Result<void>();
}

// Before anything costly: the directory with its locks, the socket, the log.
Result<void> Sandbox::claim(const wire::StartRequest& request) {
  auto directory = registry::OwnedDirectory::create(request.sandboxes_dir, record_);
  if (!directory) return directory.error();
  directory_.emplace(std::move(*directory));
  auto listener = registry::listen(*directory_);
  if (!listener) return listener.error();
  if (auto listening = relay_.listen(std::move(*listener)); !listening) return listening;
  auto events = registry::EventLog::open(directory_->dir_fd());
  if (!events) return events.error();
  events_.emplace(std::move(*events));
  (void)events_->append("created", {{"template", record_.template_name},
                                    {"vcpus", static_cast<std::int64_t>(std::ceil(record_.cpu))},
                                    {"memory_mb", record_.memory_mb}});
  return {};
}

awaitable<Result<void>> Sandbox::boot(const wire::StartRequest& request) {
  bool worth_a_retry = false;
  auto first = co_await try_boot(request, worth_a_retry);
  const bool time_left = steady_clock::now() - born_ < BootLimits{}.all_attempts - BootLimits{}.wall;
  if (first || !worth_a_retry || ending_ || !time_left) co_return first;
  log_info("boot failed, trying once more: " + first.error().message());
  (void)events_->append("boot_retry",
                        {{"reason", std::string_view(first.error().message()).substr(0, kMaxLoggedBytes)}});
  progress("boot", "the guest did not start; trying once more");
  auto second = co_await try_boot(request, worth_a_retry);
  if (second) co_return second;
  co_return Error(second.error().code(), "twice in a row: " + second.error().message(), second.error().details());
}

awaitable<Result<void>> Sandbox::try_boot(const wire::StartRequest& request, bool& worth_a_retry) {
  worth_a_retry = false;
  auto accelerator = vm::choose_accelerator(request.accelerator,
                                            request.stamp_dir.empty() ? "" : request.stamp_dir + "/accelerator.json");
  if (!accelerator) co_return accelerator.error();
  record_.accelerator = accelerator->name;
  record_.accelerator_reason = accelerator->reason;
  record_.isolation = accelerator->isolation;
  auto lock = directory_->lock_for_qemu();
  if (!lock) co_return lock.error();

  vm::VmConfig config;
  config.sandbox_id = record_.id;
  config.accelerator = *accelerator;
  config.vcpus = static_cast<int>(std::ceil(record_.cpu));
  if (record_.cpu < config.vcpus) config.cpu_limit = record_.cpu;
  config.memory_mb = static_cast<int>(record_.memory_mb);
  config.kernel_path = request.kernel;
  config.initrd_path = request.initrd;
  config.base_image_path = request.base_image;
  config.scratch_image_path = request.scratch_image;
  config.overlay_image_path = request.scratch_overlay;
  config.disk_directory = directory_->path();
  config.disk_bytes = static_cast<std::uint64_t>(record_.disk_mb) << 20U;
  config.lock_fd = lock->get();
  config.uid_lock_path = request.uid_lock_file;
  config.on_process = [this](std::function<void()> kill) {
    kill_starting_vm_ = std::move(kill);
    if (ending_) kill_starting_vm_();
  };

  progress("boot", fmt::format("starting the virtual machine ({})", accelerator->name));
  vm_.reset();  // of an earlier attempt: killed and reaped before its disk's successor exists
  auto vm = co_await vm::Vm::start(std::move(config), base::Deadline::after(std::chrono::seconds(30)));
  kill_starting_vm_ = nullptr;
  if (!vm && ending_) co_return Error(ErrorCode::cancelled, "the sandbox was ended while it started");
  if (!vm) co_return vm.error();
  vm_ = std::move(*vm);
  record_.jail = vm_->jail_report().to_string();
  if (!vm_->no_share_reason().empty()) {
    record_.cpu_reason = fmt::format("{} CPU was asked for and rounded up: {}", record_.cpu, vm_->no_share_reason());
    record_.cpu = std::ceil(record_.cpu);
  }
  // Only now: the end of an earlier attempt's channel may have been noticed while this one started. From here on it is
  // closed and reports no more.
  guest_loss_.reset();
  relay_.attach_guest(vm_->take_agent_channel());

  worth_a_retry = true;
  progress("agent", "waiting for the guest");
  if (auto there = co_await wait_for_agent(); !there) co_return there;
  progress("configure", "the guest is up");
  co_return co_await give_identity(request.env);
}

// Looks at QEMU a few times a second; everything else wakes it.
awaitable<Result<void>> Sandbox::wait_for_agent() {
  StallWatch watch(steady_clock::now());
  while (!relay_.guest_established()) {
    if (ending_) co_return Error(ErrorCode::cancelled, "the sandbox was ended while it started");
    if (vm_->exited() || guest_loss_) co_return co_await boot_loss("boot", "before the guest was up");
    if (const auto stalled = watch.check(steady_clock::now(), vm_->cpu_time_ms()))
      co_return boot_error("boot", *stalled);
    if (steady_clock::now() - born_ > BootLimits{}.all_attempts) {
      co_return boot_error("boot", fmt::format("not up after {} s", BootLimits{}.all_attempts.count()));
    }
    changed_.expires_after(std::chrono::milliseconds(200));
    co_await changed_.async_wait(kQuietly);
  }
  co_return Result<void>();
}

// The agent's channel closes a moment before QEMU is seen to have ended, and that is the better reason.
awaitable<Error> Sandbox::boot_loss(std::string stage, std::string when) {
  if (!vm_->exited()) {
    asio::steady_timer moment(io_, kQemuEndsWithin);
    co_await moment.async_wait(kQuietly);
  }
  if (vm_->exited()) co_return boot_error(stage, fmt::format("QEMU ended {}: {}", when, co_await vm_->wait_exit()));
  co_return boot_error(stage, fmt::format("the agent was lost {}: {}", when,
                                          guest_loss_ ? guest_loss_->message() : "for an unknown reason"));
}

awaitable<Result<void>> Sandbox::give_identity(const wire::EnvList& env) {
  wire::ConfigureRequest identity;
  identity.hostname = record_.id;
  std::transform(identity.hostname.begin(), identity.hostname.end(), identity.hostname.begin(), [](char c) {
    if (c == '_') return '-';
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  identity.entropy = base::random_bytes(64);
  for (const unsigned char byte : base::random_bytes(16)) identity.machine_id += fmt::format("{:02x}", byte);
  identity.env = env;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  identity.wall_clock_ns =
      static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
  if (identity.encode().size() > wire::kMaxPayload) {
    co_return Error(ErrorCode::invalid_argument,
                    fmt::format("env takes more than {} bytes together", wire::kMaxPayload));
  }
  auto done = co_await relay_.configure(std::move(identity), base::Deadline::after(std::chrono::seconds(20)));
  if (!done && guest_loss_) co_return co_await boot_loss("configure", "before the guest had its identity");
  if (!done) co_return boot_error("configure", done.error().message());
  co_return done;
}

// The sandbox runs: deadline and record first, then the lock that says so.
Result<void> Sandbox::announce() {
  const std::int64_t timeout_ms = record_.timeout_seconds * 1000;
  const std::int64_t deadline = base::boot_clock_ms() + timeout_ms;
  auto timer = make_deadline_timer(deadline);
  if (!timer) return timer.error();
  if (last_resort_) last_resort_->arm(deadline + kLastResortMs);
  record_.status = "running";
  record_.expires_at_ms = base::wall_clock_ms() + timeout_ms;
  record_.create_ms = std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - born_).count();
  if (auto written = directory_->write_record(record_); !written) return written;
  if (auto ended = directory_->end_transition(); !ended) return ended;
  running_ = true;
  (void)events_->append("running", {{"accelerator", record_.accelerator}, {"create_ms", record_.create_ms}});
  spawn(watch_deadline(std::move(*timer)));
  return {};
}

void Sandbox::progress(std::string stage, std::string text) {
  log_info(stage + ": " + text);
  if (!start_request_) return;
  wire::ProgressMessage message;
  message.stage = std::move(stage);
  message.text = std::move(text);
  relay_.answer(start_request_->client, wire::OutFrame(wire::Type::progress, start_request_->id, message.encode()));
}

Error Sandbox::boot_error(std::string stage, std::string_view what) const {
  ErrorDetails details;
  details.stage = std::move(stage);
  std::string message(what);
  if (vm_) {
    details.console_tail = vm_->console_tail();
    if (const std::string words = vm_->stderr_tail(); !words.empty()) message += "; QEMU's last words: " + words;
  }
  return Error(ErrorCode::vm_failed, std::move(message), std::move(details));
}

// --- running
// ----------------------------------------------------------------------------------------------------------

awaitable<void> Sandbox::watch_deadline(base::UniqueFd timer) {
  asio::posix::stream_descriptor descriptor(io_, timer.release());
  auto [ec] = co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read, kQuietly);
  if (!ec) end("terminated", "timeout");
}

awaitable<void> Sandbox::watch_vm() {
  const std::string how = co_await vm_->wait_exit();
  if (!ending_) end("failed", with_console(fmt::format("QEMU ended by itself: {}", how), vm_->console_tail()));
}

awaitable<void> Sandbox::watch_signals() {
  auto [ec, signal] = co_await signals_.async_wait(kQuietly);
  if (!ec) end("terminated", fmt::format("its supervisor was ended by signal {}", signal));
}

// As boot_loss().
awaitable<void> Sandbox::explain_guest_loss(Error why, Connection::End how) {
  if (how == Connection::End::gone) {
    asio::steady_timer moment(io_, kQemuEndsWithin);
    co_await moment.async_wait(kQuietly);
  }
  if (!ending_) end("failed", with_console(why.message(), vm_->console_tail()));
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

awaitable<void> Sandbox::finish() {
  if (vm_) vm_->kill();  // nothing to save: its disk has no name
  if (kill_starting_vm_) kill_starting_vm_();
  while (starting_) {
    changed_.expires_after(std::chrono::milliseconds(200));
    co_await changed_.async_wait(kQuietly);
  }
  if (vm_) {
    const auto reaped = co_await vm_->quit(base::Deadline::after(std::chrono::seconds(0)));
    if (!reaped) ending_->reason += "; " + reaped.error().message();
  }
  const bool failed = ending_->status == "failed";
  record_.status = ending_->status;
  record_.end_reason = failed ? "failed: " + ending_->reason : ending_->reason;
  record_.ended_at_ms = base::wall_clock_ms();
  relay_.end_operations(Error(failed ? ErrorCode::vm_failed : ErrorCode::not_ready,
                              fmt::format("sandbox {} has ended: {}", record_.id, record_.end_reason)));
  if (events_) {
    (void)events_->append(record_.status,
                          {{"reason", std::string_view(record_.end_reason).substr(0, kMaxLoggedBytes)}});
  }
  if (directory_) {
    if (const auto finished = directory_->finish(record_); !finished) log_info(finished.error().message());
  }
  over_ = true;
  if (start_request_ && !running_) {
    relay_.answer_error(start_request_->client, start_request_->id,
                        start_error_.value_or(Error(ErrorCode::cancelled, "the sandbox was ended while it started")));
  }
  for (const Request& terminator : std::exchange(terminators_, {})) answer_record(terminator);
  co_await relay_.flush(base::Deadline::after(kFlushWithin));
  relay_.close();
  io_.stop();
}

}  // namespace orkestr::supervisor
