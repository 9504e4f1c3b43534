#include "vm/vm.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdlib>
#include <vector>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "vm/cpu_share.hpp"
#include "vm/kvm_access.hpp"
#include "vm/qemu_args.hpp"
#include "vm/qemu_binary.hpp"
#include "vm/scratch.hpp"
#include "vm/shared_files.hpp"
#include "vm/tail.hpp"
#include "vm/vm_error.hpp"

namespace orkestr::vm {

namespace asio = boost::asio;
using asio::awaitable;

namespace {

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kConsoleTailBytes = 4096;
constexpr std::size_t kStderrTailBytes = 8192;
// After SIGKILL a process that still lives hangs in the kernel (a dead disk, say).
constexpr auto kReapWithin = std::chrono::seconds(10);

// Our end first.
struct Sockets {
  std::pair<base::UniqueFd, base::UniqueFd> qmp, agent, console;
};

Result<Sockets> make_sockets() {
  Sockets s;
  ORKESTR_TRY(s.qmp, base::socket_pair(SOCK_STREAM));
  ORKESTR_TRY(s.agent, base::socket_pair(SOCK_STREAM));
  ORKESTR_TRY(s.console, base::socket_pair(SOCK_STREAM));
  ORKESTR_CHECK(base::set_nonblocking(s.agent.first.get(), true));
  ORKESTR_CHECK(base::set_nonblocking(s.console.first.get(), true));
  return s;
}

enum SharedIndex : std::size_t { kKernel, kInitrd, kBase, kScratch };

Result<std::vector<SharedFile>> open_shared_files(const VmConfig& config) {
  std::vector<SharedFile> files;
  for (const auto* path :
       {&config.kernel_path, &config.initrd_path, &config.base_image_path, &config.scratch_image_path}) {
    ORKESTR_TRY(auto file, open_shared_file(*path));
    files.push_back(std::move(file));
  }
  return files;
}

MachineConfig machine_of(const VmConfig& config, std::string qemu) {
  MachineConfig m;
  m.qemu = std::move(qemu);
  m.sandbox_id = config.sandbox_id;
  m.accelerator = config.accelerator.kind;
  m.tsc_khz = config.accelerator.tsc_khz;
  m.vcpus = config.vcpus;
  m.memory_mb = config.memory_mb;
  m.extra_kernel_args = config.extra_kernel_args;
  return m;
}

}  // namespace

struct Vm::State {
  explicit State(const asio::any_io_executor& executor) : pidfd(executor) {}

  // In the order of start(); undone backwards.
  std::optional<UidLease> uid;
  std::optional<CpuShare> share;
  std::string no_share_reason;
  JailedProcess process;
  pid_t pid = -1;
  base::UniqueFd agent;
  std::unique_ptr<TailReader> console, errors;
  asio::posix::stream_descriptor pidfd;
  std::unique_ptr<Qmp> qmp;
  std::string stage = "prepare";
  std::optional<std::string> exit;
  std::int64_t cpu_at_exit_ms = 0;

  std::int64_t read_cpu_ms() const;
  bool reap();
  Result<void> launch(const VmConfig& config, std::vector<SharedFile>& shared, base::UniqueFd& qmp_socket);
  void limit_cpu(const VmConfig& config);
  Error describe(const Error& error);
  static awaitable<Result<void>> run_guest(std::shared_ptr<State> self, VmConfig config, base::Deadline deadline);
  static awaitable<std::optional<std::string>> wait_exit(std::shared_ptr<State> self, base::Deadline deadline);
};

std::int64_t Vm::State::read_cpu_ms() const {
  clockid_t clock{};
  timespec t{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &t) != 0) return cpu_at_exit_ms;
  return std::int64_t{t.tv_sec} * 1000 + t.tv_nsec / 1'000'000;
}

// True when it has ended; the uid may then be somebody else's.
bool Vm::State::reap() {
  if (exit) return true;
  if (process.pid <= 0) return true;
  const auto cpu = read_cpu_ms();
  exit = process.try_reap();
  if (!exit) return false;
  cpu_at_exit_ms = cpu;
  share.reset();
  uid.reset();
  return true;
}

// The synchronous half: everything is opened, the process started. Milliseconds.
Result<void> Vm::State::launch(const VmConfig& config, std::vector<SharedFile>& shared, base::UniqueFd& qmp_socket) {
  stage = "qemu";
  ORKESTR_TRY(const std::string qemu, find_qemu());
  stage = "files";
  ORKESTR_TRY(shared, open_shared_files(config));
  ORKESTR_TRY(const auto disk,
              make_scratch_overlay(config.disk_directory, config.overlay_image_path, config.disk_bytes));
  ORKESTR_TRY(auto sockets, make_sockets());

  JailConfig jail;
  jail.argv = qemu_args(machine_of(config, qemu));
  jail.fds = {{sockets.qmp.second.get(), kQmpFd},         {sockets.agent.second.get(), kAgentFd},
              {sockets.console.second.get(), kConsoleFd}, {shared[kKernel].fd.get(), kKernelFd},
              {shared[kInitrd].fd.get(), kInitrdFd},      {shared[kBase].fd.get(), kBaseFd},
              {shared[kScratch].fd.get(), kScratchFd},    {disk.get(), kOverlayFd}};
  if (config.lock_fd >= 0) jail.fds.emplace_back(config.lock_fd, kLockFd);
  jail.read_fds = {shared[kKernel].fd.get(), shared[kInitrd].fd.get()};
  const bool kvm = config.accelerator.kind == Accelerator::Kind::kvm;
  if (kvm) jail.write_paths = {"/dev/kvm"};

  if (::geteuid() == 0) {
    stage = "uid";
    const char* range_text = ::getenv("ORKESTR_UID_RANGE");
    ORKESTR_TRY(const auto range, parse_uid_range(range_text != nullptr ? range_text : ""));
    ORKESTR_TRY(auto lease, UidLease::acquire(config.uid_lock_path, range));
    jail.uid = lease.uid();
    uid.emplace(std::move(lease));
    if (kvm) {
      ORKESTR_TRY(jail.groups, kvm_access_of_own_uid());
    }
  }

  stage = "jail";
  ORKESTR_TRY(process, start_jailed(jail));
  pid = process.pid;
  if (config.cpu_limit > 0) limit_cpu(config);
  pidfd.assign(::fcntl(process.pidfd.get(), F_DUPFD_CLOEXEC, 0));
  const auto executor = pidfd.get_executor();
  console = std::make_unique<TailReader>(executor, std::move(sockets.console.first), kConsoleTailBytes);
  errors = std::make_unique<TailReader>(executor, std::move(process.stderr_fd), kStderrTailBytes);
  agent = std::move(sockets.agent.first);
  qmp_socket = std::move(sockets.qmp.first);
  return {};
}

// Not having it costs the host's other work, never the sandbox: so it is reported, and no error.
void Vm::State::limit_cpu(const VmConfig& config) {
  CgroupPlaces places;
  if (const char* directory = ::getenv("ORKESTR_CGROUP"); directory != nullptr) places.configured = directory;
  auto made = CpuShare::create(places, config.sandbox_id, config.cpu_limit);
  if (!made) {
    no_share_reason = made.error().message();
    return;
  }
  share.emplace(std::move(*made));
  if (auto added = share->add(pid); !added) {
    no_share_reason = added.error().message();
    share.reset();
  }
}

// The error of a step, with all that helps to understand it.
Error Vm::State::describe(const Error& error) {
  std::string message = fmt::format("{} (stage {})", error.message(), stage);
  reap();
  if (exit) message += "; QEMU has ended: " + *exit;
  if (const std::string text = errors ? errors->text() : ""; !text.empty()) message += "; its last words:\n" + text;
  return vm_error(stage, std::move(message), console ? console->text() : "");
}

awaitable<Result<void>> Vm::State::run_guest(std::shared_ptr<State> self, VmConfig config, base::Deadline deadline) {
  std::vector<SharedFile> shared;
  base::UniqueFd qmp_socket;
  if (auto ok = self->launch(config, shared, qmp_socket); !ok) co_return ok;
  if (config.on_process) {
    config.on_process([weak = std::weak_ptr<State>(self)] {
      if (const auto state = weak.lock()) state->process.kill();
    });
  }

  self->stage = "qmp";
  auto qmp = co_await Qmp::connect(std::move(qmp_socket), deadline);
  if (!qmp) co_return qmp.error();
  self->qmp = std::move(*qmp);

  self->stage = "read-only check";
  if (auto ok = check_held_read_only(self->pid, shared); !ok) co_return ok;

  self->stage = "cont";
  if (auto done = co_await self->qmp->execute("cont", "", deadline); !done) co_return done.error();
  // `cont` succeeds even where the VM then does not run (a disk whose lock another QEMU holds).
  auto status = co_await self->qmp->execute("query-status", "", deadline);
  if (!status) co_return status.error();
  if (const std::string is = status->string_or("status", "unknown"); is != "running") {
    co_return vm_error(self->stage, fmt::format("the guest does not run after cont: its status is \"{}\"", is));
  }
  self->stage = "running";
  co_return Result<void>();
}

awaitable<std::optional<std::string>> Vm::State::wait_exit(std::shared_ptr<State> self, base::Deadline deadline) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  if (const auto at = deadline.time_point()) {
    timer.expires_at(*at);
    // The timer's handler is kept alive by nothing but `self`: a pending wait on the pidfd is cancelled, and the loop
    // sees the deadline.
    timer.async_wait([weak = std::weak_ptr<State>(self)](boost::system::error_code error) {
      const auto state = weak.lock();
      if (!error && state) state->pidfd.cancel();
    });
  }
  while (!self->reap() && !deadline.expired() && self->pidfd.is_open()) {
    co_await self->pidfd.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
    if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none) break;
  }
  co_return self->exit;
}

Vm::Vm(std::shared_ptr<State> state) : state_(std::move(state)) {}

Vm::~Vm() {
  // Coroutines that hold the state wake up to closed descriptors and find the process gone.
  auto& s = *state_;
  s.qmp.reset();
  s.process.kill();
  if (s.process.pid > 0) {
    auto ended = std::move(s.process);  // its destructor waits
  }
  if (!s.exit) s.exit = "signal 9 (Killed)";
  boost::system::error_code ignored;
  s.pidfd.close(ignored);
  s.console.reset();
  s.errors.reset();
  s.share.reset();
  s.uid.reset();
}

awaitable<Result<std::unique_ptr<Vm>>> Vm::start(VmConfig config, base::Deadline deadline) {
  auto state = std::make_shared<State>(co_await asio::this_coro::executor);
  std::unique_ptr<Vm> vm(new Vm(state));
  auto started = co_await State::run_guest(state, std::move(config), deadline);
  if (!started) {
    // A QEMU that refused its command line closes its socket just before it ends; its exit code is worth a moment.
    if (state->pid > 0) co_await State::wait_exit(state, base::Deadline::after(std::chrono::milliseconds(100)));
    co_return state->describe(started.error());
  }
  co_return std::move(vm);
}

base::UniqueFd Vm::take_agent_channel() { return std::move(state_->agent); }
pid_t Vm::pid() const { return state_->pid; }
std::int64_t Vm::cpu_time_ms() const { return state_->exit ? state_->cpu_at_exit_ms : state_->read_cpu_ms(); }
std::string Vm::console_tail() const { return state_->console->text(); }
std::string Vm::stderr_tail() const { return state_->errors->text(); }
const std::string& Vm::no_share_reason() const { return state_->no_share_reason; }
const JailReport& Vm::jail_report() const { return state_->process.report; }
Qmp& Vm::qmp() { return *state_->qmp; }
bool Vm::exited() const { return state_->reap(); }
void Vm::kill() { state_->process.kill(); }

awaitable<std::string> Vm::wait_exit() {
  auto exit = co_await State::wait_exit(state_, base::Deadline::never());
  co_return exit.value_or("an unknown status");
}

awaitable<Result<void>> Vm::quit(base::Deadline deadline) {
  const auto state = state_;
  if (!state->reap() && state->qmp) {
    // An error here is no news: the answer is lost when QEMU is quicker, and a QEMU that hangs is killed next.
    (void)(co_await state->qmp->execute("quit", "", deadline)).ok();
    co_await State::wait_exit(state, deadline);
  }
  if (!state->reap()) {
    state->process.kill();
    co_await State::wait_exit(state, base::Deadline::after(kReapWithin));
  }
  if (state->reap()) co_return Result<void>();
  co_return vm_error(
      "quit",
      fmt::format("QEMU (process {}) is still there {} s after SIGKILL; it hangs in the kernel: see the host's dmesg",
                  state->pid, kReapWithin.count()));
}

}  // namespace orkestr::vm
