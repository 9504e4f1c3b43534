#include "supervisor/pool.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>

#include "base/build_stamp.hpp"
#include "base/deadline.hpp"
#include "base/file.hpp"
#include "base/memory.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "registry/pool.hpp"
#include "supervisor/failpoint.hpp"
#include "supervisor/log.hpp"
#include "supervisor/sandbox.hpp"
#include "wire/frame.hpp"

namespace orkestr::supervisor {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using std::chrono::steady_clock;

constexpr auto kQuietly = asio::as_tuple(asio::use_awaitable);
constexpr int kRequestWithinMs = 5000;
constexpr std::chrono::seconds kFirstCommandWithin{60};
constexpr std::chrono::seconds kQmpWithin{10};
constexpr std::chrono::seconds kWatchEvery{10};

// What fills QEMU's cache of translated code with what most first commands need, under emulation; with hardware it
// costs a moment. It leaves no process and no file.
constexpr const char* kFirstCommand = R"(
if command -v python3 >/dev/null; then python3 -c 'print(1)'; fi
if command -v node >/dev/null; then node -e 'console.log(1)'; fi
echo 1; ls / | cat >/dev/null; true)";

std::int64_t number_in(const registry::Record& record, const char* name) {
  const auto found = record.metadata.find(name);
  std::int64_t number = 0;
  if (found == record.metadata.end()) return 0;
  const std::string& text = found->second;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

Error not_ready(std::string why) { return {ErrorCode::not_ready, "a member of the warm pool: " + std::move(why)}; }

}  // namespace

Result<wire::StartRequest> read_pool_request(const base::UniqueFd& socket) {
  ORKESTR_CHECK(base::set_nonblocking(socket.get(), false));
  std::string bytes;
  while (bytes.size() <= wire::kMaxPayload) {
    pollfd readable{socket.get(), POLLIN, 0};
    if (::poll(&readable, 1, kRequestWithinMs) != 1) return not_ready("its request did not come");
    char piece[16U << 10U];
    const ssize_t count = ::read(socket.get(), piece, sizeof piece);
    if (count < 0) return base::errno_error("read the request", errno);
    if (count == 0) return wire::StartRequest::decode(bytes);
    bytes.append(piece, static_cast<std::size_t>(count));
  }
  return Error(ErrorCode::invalid_argument, fmt::format("a request of more than {} bytes", wire::kMaxPayload));
}

// --- becoming one

awaitable<void> Sandbox::join_pool() {
  starting_ = true;
  const auto up = co_await become_member();
  starting_ = false;
  start_slot_.reset();
  wake();
  if (!up) {
    const bool superfluous = up.error().code() == ErrorCode::cancelled;
    co_return end(superfluous ? "terminated" : "failed", up.error().message());
  }
  spawn(watch_vm());
  spawn(watch_member());
}

awaitable<Result<void>> Sandbox::become_member() {
  if (library_stamp_ != base::kBuildStamp) co_return not_ready("the library is of another build");
  auto record = registry::Record::from_json(request_.record);
  if (!record) co_return record.error();
  if (auto good = check_record(*record); !good) co_return good;
  record_ = std::move(*record);
  set_log_name(record_.id);
  auto slot = registry::take_pool_slot(request_.sandboxes_dir, request_.pool_key,
                                       static_cast<int>(number_in(record_, registry::kPoolSlots)));
  if (!slot) co_return slot.error();
  if (!*slot) co_return Error(ErrorCode::cancelled, "the pool has as many members as it may");
  membership_->slot = std::move((*slot)->lock);
  record_.metadata[registry::kPoolSlot] = std::to_string((*slot)->number);
  if (auto passed = failpoint("pool.slot"); !passed) co_return passed;
  if (auto made = claim(); !made) co_return made;
  if (auto passed = failpoint("pool.directory"); !passed) co_return passed;
  if (auto good = co_await verify_template(); !good) co_return good;

  // Whoever claimed the one before is about to run its first command, on the same processors.
  changed_.expires_after(std::chrono::milliseconds(number_in(record_, registry::kPoolDelayMs)));
  co_await changed_.async_wait(kQuietly);
  if (auto turn = co_await await_turn(); !turn) co_return turn;
  if (auto chosen = choose_host(); !chosen) co_return chosen;
  if (auto up = co_await boot(); !up) co_return up;
  if (ending_) co_return Error(ErrorCode::cancelled, "ended while it started");
  if (record_.started_from != "snapshot") co_return not_ready("the template has no snapshot and none could be made");
  if (auto passed = failpoint("pool.booted"); !passed) co_return passed;

  wire::ExecRequest first;
  first.argv = {"/bin/bash", "-c", kFirstCommand};
  first.timeout_ms = static_cast<std::uint64_t>(std::chrono::milliseconds(kFirstCommandWithin).count());
  // A template without a shell is as good a member.
  auto ran = co_await relay_.run(std::move(first), base::Deadline::after(kFirstCommandWithin + kQmpWithin));
  if (!ran && !relay_.guest_established()) co_return ran.error();
  if (auto still = co_await relay_.freeze(base::Deadline::after(kQmpWithin)); !still) co_return still;
  if (auto stopped = co_await vm_->stop(base::Deadline::after(kQmpWithin)); !stopped) co_return stopped;
  relay_.thaw();
  if (auto passed = failpoint("pool.stopped"); !passed) co_return passed;
  if (ending_) co_return Error(ErrorCode::cancelled, "ended while it started");

  record_.status = "running";
  record_.create_ms = std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - born_).count();
  if (auto written = directory_->write_record(record_); !written) co_return written;
  membership_->ready = true;
  co_return directory_->end_transition();
}

// --- waiting

// Why it should not be here any more; empty when it should.
std::string Sandbox::why_leave() const {
  if (base::boot_clock_ms() >= leaves_pool_at_) return "nobody claimed it in time";
  const std::int64_t needed = number_in(record_, registry::kPoolMinAvailableMb);
  const std::int64_t available = base::available_memory_mb();
  if (available != 0 && available < needed) {
    return fmt::format("the host has {} MB of memory available, less than {}", available, needed);
  }
  return is_same_qemu() ? "" : "QEMU was replaced";
}

bool Sandbox::is_same_qemu() const {
  const auto now = vm::identify_qemu(request_.stamp_dir.empty() ? "" : request_.stamp_dir + "/qemu.json");
  return now && now->path == qemu_.path && now->identity == qemu_.identity;
}

awaitable<void> Sandbox::watch_member() {
  leaves_pool_at_ = base::boot_clock_ms() + record_.timeout_seconds * 1000;
  asio::steady_timer timer(io_);
  while (true) {
    const auto left = std::chrono::milliseconds(std::max<std::int64_t>(leaves_pool_at_ - base::boot_clock_ms(), 0));
    const auto wait = std::min<std::chrono::milliseconds>(kWatchEvery, left);
    if (last_resort_) last_resort_->arm(base::boot_clock_ms() + wait.count() + kLastResortMs);
    timer.expires_after(wait);
    co_await timer.async_wait(kQuietly);
    if (ending_ || !membership_->ready) co_return;
    if (const std::string why = why_leave(); !why.empty()) co_return end("terminated", why);
  }
}

// --- the claim

Result<registry::Record> Sandbox::check_claim(const Result<wire::StartRequest>& request) const {
  if (ending_) return not_ready("it is ending");
  if (membership_->claimed) return not_ready("another process was faster");
  if (!membership_->ready) return not_ready("it is not warm yet");
  if (!request) return request.error();
  if (!request->purpose.empty() || request->pool_key != request_.pool_key) return not_ready("it is another machine");
  ORKESTR_TRY(auto record, registry::Record::from_json(request->record));
  ORKESTR_CHECK(check_record(record));
  if (record.template_digest != record_.template_digest || record.memory_mb != record_.memory_mb ||
      record.disk_mb != record_.disk_mb) {
    return not_ready("it is another machine");
  }
  return record;
}

void Sandbox::on_claim(Request from, std::string_view payload) {
  auto request = wire::StartRequest::decode(payload);
  auto record = check_claim(request);
  if (record && !is_same_qemu()) {
    record = not_ready("QEMU was replaced");
    end("terminated", "QEMU was replaced");
  }
  if (!record) return relay_.answer_error(from.client, from.id, record.error());
  // Nothing has waited since the checks: this process has one thread, and is now this client's alone.
  membership_->claimed = true;
  membership_->ready = false;
  membership_->slot.reset();
  membership_->cpu_ms = vm_->cpu_time_ms();
  membership_->directory = std::move(directory_);
  directory_.reset();
  events_.reset();
  creator_ = from.client;
  start_request_ = from;
  relay_.keep_only(from.client);
  born_ = steady_clock::now();
  record->cpu = record_.cpu;
  record->cpu_reason = record_.cpu_reason;
  record->accelerator = record_.accelerator;
  record->accelerator_reason = record_.accelerator_reason;
  record->isolation = record_.isolation;
  record->jail = record_.jail;
  record->started_from = "pool";
  record_ = std::move(*record);
  request_ = std::move(*request);
  set_log_name(record_.id);
  if (last_resort_) last_resort_->arm(base::boot_clock_ms() + 2 * kLastResortMs);
  starting_ = true;
  spawn(take_over());
}

awaitable<void> Sandbox::take_over() {
  const auto up = co_await go_on_as_sandbox();
  starting_ = false;
  wake();
  if (!up) {
    start_error_ = up.error();
    co_return end("failed", up.error().message());
  }
  start_answered_ = true;
  answer_record(*start_request_);
  (void)base::remove_tree(membership_->directory->path());
  membership_->directory.reset();
}

// The guest goes on first of all: what it is told waits in its channel already, and while it does what that says, the
// directory is made. Nothing of the user's reaches it before everything is done.
awaitable<Result<void>> Sandbox::go_on_as_sandbox() {
  if (auto passed = failpoint("pool.claimed"); !passed) co_return passed;
  const auto identified = std::make_shared<std::optional<Result<void>>>();
  asio::co_spawn(io_, give_identity(request_.env, false), [this, identified](std::exception_ptr, Result<void> outcome) {
    *identified = std::move(outcome);
    wake();
  });
  if (auto runs = co_await vm_->cont(base::Deadline::after(kQmpWithin)); !runs) co_return runs;
  if (auto made = claim(); !made) co_return made;
  if (auto passed = failpoint("pool.named"); !passed) co_return passed;
  {
    auto lock = directory_->lock_for_qemu();
    if (!lock) co_return lock.error();
    auto held = co_await vm_->hold("lock", lock->get(), base::Deadline::after(kQmpWithin));
    if (!held) co_return held;
  }
  if (auto passed = failpoint("pool.held"); !passed) co_return passed;
  while (!*identified) {  // it has a deadline of its own
    changed_.expires_after(std::chrono::seconds(1));
    co_await changed_.async_wait(kQuietly);
  }
  if (!**identified) co_return **identified;
  if (auto passed = failpoint("pool.identified"); !passed) co_return passed;
  if (ending_) co_return Error(ErrorCode::cancelled, "the sandbox was ended while it started");
  if (auto done = announce(); !done) co_return done;
  relay_.accept_operations(request_.env);
  co_return Result<void>();
}

// --- ending

// Of a member that ended as members do, and of a sandbox that nobody was told of, not even a record is left.
void Sandbox::leave_pool() {
  if (membership_->directory) (void)base::remove_tree(membership_->directory->path());
  const bool unheard_of = membership_->claimed ? !running_ : ending_->status != "failed";
  if (directory_ && unheard_of) (void)base::remove_tree(directory_->path());
}

}  // namespace orkestr::supervisor
