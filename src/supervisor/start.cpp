// How a sandbox comes up: its turn, its directory, its machine (booted, or gone on from where a snapshot was taken),
// its identity.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <climits>
#include <cmath>
#include <system_error>
#include <thread>
#include <utility>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "registry/pause.hpp"
#include "supervisor/admission.hpp"
#include "supervisor/log.hpp"
#include "supervisor/masking.hpp"
#include "supervisor/sandbox.hpp"

namespace orkestr::supervisor {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using std::chrono::steady_clock;

constexpr auto kQuietly = asio::as_tuple(asio::use_awaitable);
// A turn that does not come within this is an answer (fleet_full_retry), not a reason to wait longer.
constexpr std::chrono::seconds kTurnWithin{60};
constexpr std::chrono::seconds kMachineWithin{30};
constexpr std::chrono::milliseconds kVerifyPoll{50};

// The helper beside this program.
std::string preload_path() {
  std::string self(PATH_MAX, '\0');
  const ssize_t length = ::readlink("/proc/self/exe", self.data(), self.size());
  self.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
  return self.substr(0, self.rfind('/') + 1) + "orkestr-ro.so";
}

// One a template.
std::int64_t lock_byte(const std::string& digest) {
  std::uint32_t number = 0;
  std::from_chars(digest.data(), digest.data() + std::min<std::size_t>(digest.size(), 8), number, 16);
  return number;
}

std::string hostname_of(std::string id) {
  std::transform(id.begin(), id.end(), id.begin(), [](char c) {
    if (c == '_') return '-';
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return id;
}

}  // namespace

awaitable<void> Sandbox::start() {
  const auto up = co_await bring_up();
  starting_ = false;
  start_slot_.reset();
  wake();
  if (!up) {
    start_error_ = up.error();
    // A resume that failed has changed nothing: the sandbox is as paused as before.
    if (request_.purpose == "resume") co_return end("paused", up.error().message());
    co_return end("failed", up.error().message());
  }
  start_answered_ = true;
  if (request_.purpose == "snapshot") {
    record_.status = "terminated";
    answer_record(*start_request_);
    acknowledged_ = true;
    co_return end("terminated", "made a snapshot");
  }
  answer_record(*start_request_);
  spawn(watch_vm());
}

awaitable<Result<void>> Sandbox::bring_up() {
  const bool resumes = request_.purpose == "resume";
  const bool only_snapshot = request_.purpose == "snapshot";
  if (!only_snapshot) {
    if (auto done = claim(); !done) co_return done;
  }
  if (auto good = co_await verify_template(); !good) co_return good;
  if (auto turn = co_await await_turn(); !turn) co_return turn;
  if (auto chosen = choose_host(); !chosen) co_return chosen;
  if (only_snapshot) {
    auto made = co_await find_or_make_snapshot();
    co_return made ? Result<void>() : Result<void>(made.error());
  }
  // (Not one expression: GCC 12 destroys the result of a co_await in a conditional twice.)
  if (resumes) {
    if (auto up = co_await resume(); !up) co_return up;
  } else {
    if (auto up = co_await boot(); !up) co_return up;
  }
  if (ending_) co_return Error(ErrorCode::cancelled, "the sandbox was ended while it started");
  if (auto done = announce(); !done) co_return done;
  relay_.accept_operations(request_.env);
  co_return Result<void>();
}

// The first start from a template after the host has booted. On a thread, so that this one hears when nobody waits any
// more; it is over before anything is forked. Of several who start at once one does it, and the others find its stamp.
awaitable<Result<void>> Sandbox::verify_template() {
  if (request_.image_sha256.empty()) co_return Result<void>();
  const auto began = steady_clock::now();
  progress("verify template", fmt::format("comparing template {} with what was built, once", record_.template_name));
  if (auto made = base::make_directories(request_.stamp_dir, 0700); !made) co_return made;
  auto lock = base::open_at(AT_FDCWD, request_.stamp_dir + "/verifying", O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
  if (!lock) co_return lock.error();
  const auto outcome = std::make_shared<std::optional<Result<void>>>();
  std::optional<std::jthread> work;
  while (!*outcome) {
    // (The thread ends within one read, with its object.)
    if (ending_) co_return Error(ErrorCode::cancelled, "the sandbox was ended while it started");
    if (last_resort_) last_resort_->arm(base::boot_clock_ms() + kLastResortMs);
    if (!work) {
      const auto ours = base::try_lock_byte(lock->get(), lock_byte(record_.template_digest), base::LockKind::write);
      if (!ours) co_return ours.error();
      if (*ours) {
        try {
          work.emplace([this, outcome, files = template_files()](const std::stop_token& stop) {
            auto verified = image::verify_template(files, request_.stamp_dir, stop);
            asio::post(io_, [this, outcome, verified = std::move(verified)] {
              *outcome = verified;
              wake();
            });
          });
        } catch (const std::system_error& error) {
          co_return base::errno_error("verify the template: start a thread", error.code().value());
        }
      }
    }
    changed_.expires_after(kVerifyPoll);
    co_await changed_.async_wait(kQuietly);
  }
  if (ending_) co_return Error(ErrorCode::cancelled, "the sandbox was ended while it started");
  work.reset();
  image_refused_ = !**outcome;
  born_ += steady_clock::now() - began;  // verifying is not starting
  if (last_resort_) last_resort_->arm(base::boot_clock_ms() + kLastResortMs + start_within().count());
  co_return std::move(**outcome);
}

image::TemplateFiles Sandbox::template_files() const {
  image::TemplateFiles files;
  files.name = record_.template_name;
  files.digest = record_.template_digest;
  files.base_image = request_.base_image;
  files.directory = request_.base_image.substr(0, request_.base_image.rfind('/'));
  files.scratch_image = request_.scratch_image;
  files.scratch_overlay = request_.scratch_overlay;
  files.kernel = request_.kernel;
  files.base_sha256 = request_.image_sha256[0];
  files.scratch_sha256 = request_.image_sha256[1];
  files.overlay_sha256 = request_.image_sha256[2];
  files.kernel_sha256 = request_.image_sha256[3];
  return files;
}

awaitable<Result<void>> Sandbox::await_turn() {
  if (request_.stamp_dir.empty()) co_return Result<void>();
  const auto waiting_since = steady_clock::now();
  auto slot = co_await take_start_slot(
      request_.stamp_dir + "/starts", [this] { return ending_.has_value(); }, base::Deadline::after(kTurnWithin));
  if (!slot) co_return slot.error();
  start_slot_ = std::move(*slot);
  born_ += steady_clock::now() - waiting_since;  // waiting is not starting
  if (last_resort_) last_resort_->arm(base::boot_clock_ms() + kLastResortMs + start_within().count());
  co_return Result<void>();
}

Result<void> Sandbox::choose_host() {
  const auto stamp = [&](const char* name) {
    return request_.stamp_dir.empty() ? std::string() : request_.stamp_dir + "/" + name;
  };
  ORKESTR_TRY(accelerator_, vm::choose_accelerator(request_.accelerator, stamp("accelerator.json")));
  ORKESTR_TRY(qemu_, vm::identify_qemu(stamp("qemu.json")));
  if (request_.purpose == "resume") return {};  // it says on what it was before
  record_.accelerator = accelerator_.name;
  record_.accelerator_reason = accelerator_.reason;
  record_.isolation = accelerator_.isolation;
  return {};
}

// Before anything costly: the directory with its locks, the socket, the log.
Result<void> Sandbox::claim() {
  const bool resumes = request_.purpose == "resume";
  auto directory = resumes ? registry::OwnedDirectory::adopt(request_.sandboxes_dir, record_.id,
                                                             base::Deadline::after(std::chrono::seconds(10)))
                           : registry::OwnedDirectory::create(request_.sandboxes_dir, record_);
  if (!directory) return directory.error();
  directory_.emplace(std::move(*directory));
  if (resumes) {
    ORKESTR_TRY(record_, directory_->read_record());
  }
  ORKESTR_TRY(auto listener, registry::listen(*directory_));
  ORKESTR_CHECK(relay_.listen(std::move(listener)));
  ORKESTR_TRY(auto events, registry::EventLog::open(directory_->dir_fd()));
  events_.emplace(std::move(events));
  if (resumes) return {};
  (void)events_->append(
      "created",
      {{"template", record_.template_name}, {"vcpus", std::int64_t{vcpus()}}, {"memory_mb", record_.memory_mb}});
  return {};
}

// A resume copies its disk and puts its pages back.
std::chrono::milliseconds Sandbox::extra_time() const {
  return request_.purpose == "resume" ? record_.transfer_time() : std::chrono::seconds(0);
}

std::chrono::milliseconds Sandbox::start_within() const { return BootLimits{}.all_attempts + extra_time(); }

int Sandbox::vcpus() const { return static_cast<int>(std::ceil(record_.cpu)); }

awaitable<Result<void>> Sandbox::boot() {
  std::optional<vm::SnapshotFiles> snapshot;
  if (!request_.cache_dir.empty()) {
    auto found = co_await find_or_make_snapshot();
    if (ending_) co_return Error(ErrorCode::cancelled, "the sandbox was ended while it started");
    if (found) {
      snapshot = std::move(*found);
    } else {
      // It only costs time: the machine can boot as well.
      log_info("no snapshot: " + found.error().message());
      (void)events_->append("snapshot_failed",
                            {{"reason", std::string_view(found.error().message()).substr(0, kMaxLoggedBytes)}});
    }
    born_ = steady_clock::now();
  }
  record_.started_from = snapshot ? "snapshot" : "boot";
  bool worth_a_retry = false;
  auto first = co_await try_start(std::move(snapshot), worth_a_retry);
  const bool time_left = steady_clock::now() - born_ < BootLimits{}.all_attempts - BootLimits{}.wall;
  if (first || !worth_a_retry || ending_ || !time_left) co_return first;
  log_info("start failed, trying once more: " + first.error().message());
  (void)events_->append("boot_retry",
                        {{"reason", std::string_view(first.error().message()).substr(0, kMaxLoggedBytes)}});
  progress("boot", "the guest did not start; trying once more");
  record_.started_from = "boot";
  auto second = co_await try_start(std::nullopt, worth_a_retry);
  if (second) co_return second;
  co_return Error(second.error().code(), "twice in a row: " + second.error().message(), second.error().details());
}

// What every machine of this sandbox has in common.
vm::VmConfig Sandbox::vm_config() const {
  vm::VmConfig config;
  config.sandbox_id = record_.id;
  config.accelerator = accelerator_;
  config.qemu = qemu_;
  config.preload_path = preload_path();
  config.vcpus = vcpus();
  if (record_.cpu < config.vcpus) config.cpu_limit = record_.cpu;
  config.memory_mb = static_cast<int>(record_.memory_mb);
  config.kernel_path = request_.kernel;
  config.initrd_path = request_.initrd;
  config.base_image_path = request_.base_image;
  config.scratch_image_path = request_.scratch_image;
  config.overlay_image_path = request_.scratch_overlay;
  config.disk_bytes = static_cast<std::uint64_t>(record_.disk_mb) << 20U;
  config.uid_lock_path = request_.uid_lock_file;
  if (directory_) config.disk_directory = directory_->path();
  return config;
}

awaitable<Result<void>> Sandbox::try_start(std::optional<vm::SnapshotFiles> snapshot, bool& worth_a_retry) {
  worth_a_retry = snapshot.has_value();
  vm::VmConfig config = vm_config();
  if (snapshot) config.saved = {snapshot->devices, snapshot->memory, snapshot->layer, {}, {}};
  progress("boot", fmt::format("starting the virtual machine ({}, from its {})", accelerator_.name,
                               snapshot ? "snapshot" : "kernel"));
  if (auto up = co_await start_vm(std::move(config), worth_a_retry); !up) co_return up;
  co_return co_await give_identity(request_.env, false);
}

// Until its agent is there.
awaitable<Result<void>> Sandbox::start_vm(vm::VmConfig config, bool& worth_a_retry) {
  base::UniqueFd lock;
  if (directory_) {
    auto locked = directory_->lock_for_qemu();
    if (!locked) co_return locked.error();
    lock = std::move(*locked);
    config.lock_fd = lock.get();
  }
  config.on_process = [this](std::function<void()> kill) {
    kill_starting_vm_ = std::move(kill);
    if (ending_) kill_starting_vm_();
  };
  config.on_disk_stop = [this](std::string reason) { on_disk_stop(std::move(reason)); };
  vm_.reset();  // of an earlier attempt: killed and reaped before its disk's successor exists
  auto vm = co_await vm::Vm::start(std::move(config), base::Deadline::after(kMachineWithin + extra_time()));
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
  co_return co_await wait_for_agent();
}

// Looks at QEMU a few times a second; everything else wakes it.
awaitable<Result<void>> Sandbox::wait_for_agent() {
  StallWatch watch(steady_clock::now());
  while (!relay_.guest_established()) {
    if (ending_) co_return Error(ErrorCode::cancelled, "the sandbox was ended while it started");
    if (vm_->exited() || guest_loss_) co_return co_await boot_loss("boot", "before the guest was up");
    if (const auto stalled = watch.check(steady_clock::now(), vm_->cpu_time_ms()))
      co_return boot_error("boot", *stalled);
    if (steady_clock::now() - born_ > start_within()) {
      co_return boot_error(
          "boot", fmt::format("not up after {} s", std::chrono::ceil<std::chrono::seconds>(start_within()).count()));
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

awaitable<Result<void>> Sandbox::give_identity(wire::EnvList env, bool same_machine) {
  wire::ConfigureRequest identity;
  identity.hostname = hostname_of(record_.id);
  identity.same_machine = same_machine;
  identity.entropy = base::random_bytes(64);
  for (const unsigned char byte : base::random_bytes(16)) identity.machine_id += fmt::format("{:02x}", byte);
  identity.env = std::move(env);
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  identity.wall_clock_ns =
      static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
  if (identity.encode().size() > wire::kMaxPayload) {
    co_return Error(ErrorCode::invalid_argument,
                    fmt::format("env takes more than {} bytes together", wire::kMaxPayload));
  }
  progress("configure", "giving the guest its identity");
  auto done = co_await relay_.configure(std::move(identity), base::Deadline::after(std::chrono::seconds(20)));
  if (!done && guest_loss_) co_return co_await boot_loss("configure", "before the guest had its identity");
  if (!done) co_return boot_error("configure", done.error().message());
  co_return done;
}

// The life span begins, or begins anew.
Result<void> Sandbox::restart_clock(std::int64_t seconds) {
  ORKESTR_CHECK(set_clock(seconds));
  failed_pauses_ = 0;
  record_.timeout_seconds = seconds;
  record_.expires_at_ms = base::wall_clock_ms() + seconds * 1000;
  return {};
}

Result<void> Sandbox::set_clock(std::int64_t seconds) {
  const std::int64_t deadline = base::boot_clock_ms() + seconds * 1000;
  if (deadline_.is_open()) {
    ORKESTR_CHECK(set_deadline_timer(deadline_.native_handle(), deadline));
  } else {
    ORKESTR_TRY(auto timer, make_deadline_timer(deadline));
    deadline_.assign(timer.release());
    spawn(watch_deadline());
  }
  if (last_resort_) last_resort_->arm(deadline + kLastResortMs);
  return {};
}

// The sandbox runs: deadline and record first, then the lock that says so.
Result<void> Sandbox::announce() {
  ORKESTR_CHECK(restart_clock(record_.timeout_seconds));
  record_.status = "running";
  record_.paused_expires_at_ms = 0;
  record_.create_ms = std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - born_).count();
  // Not flushed: a host that falls over takes the running sandbox with it, whatever its record said.
  ORKESTR_CHECK(directory_->write_passing_record(record_));
  if (request_.purpose == "resume") {
    // From here on it is the running one that counts, and it lives whether or not who resumed it does. The manifest
    // first: what is left of a pause without one is none.
    const std::string pause = directory_->path() + "/" + registry::kPauseDirectory;
    ORKESTR_CHECK(base::remove_tree(pause + "/" + registry::kPauseManifestFile));
    if (auto removed = base::remove_tree(pause); !removed) log_info(removed.error().message());
    spawn(free_pages(std::move(loaded_pages_)));
    acknowledged_ = true;
  }
  ORKESTR_CHECK(directory_->end_transition());
  running_ = true;
  runs_since_ = steady_clock::now();
  log_info("running");
  (void)events_->append(
      request_.purpose == "resume" ? "resumed" : "running",
      {{"accelerator", record_.accelerator}, {"from", record_.started_from}, {"create_ms", record_.create_ms}});
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

}  // namespace orkestr::supervisor
