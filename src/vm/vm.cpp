#include "vm/vm.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

// The order in which Vm::shared_files() has them; a booting guest's kernel and initrd follow.
enum SharedIndex : std::size_t { kBase, kScratch, kMemory, kLayer };

// Guest memory that is all zeros: nobody else's, but a file like any other, so that what the guest writes is found the
// same way.
Result<SharedFile> make_zero_memory(const VmConfig& config) {
  ORKESTR_TRY(const auto file, base::make_unnamed_file(config.disk_directory, 0444));
  const auto bytes = static_cast<off_t>(round_memory_mb(config.memory_mb)) << 20U;
  // (Whatever the umask: QEMU may have a uid of its own.)
  if (::ftruncate(file.get(), bytes) != 0 || ::fchmod(file.get(), 0444) != 0) {
    return base::errno_error("make the guest's memory", errno);
  }
  return share_open_file("the guest's memory", file.get());
}

Result<std::vector<SharedFile>> open_shared_files(const VmConfig& config) {
  std::vector<SharedFile> files;
  const auto open = [&](const std::string& path) -> Result<void> {
    ORKESTR_TRY(auto file, open_shared_file(path));
    files.push_back(std::move(file));
    return {};
  };
  ORKESTR_CHECK(open(config.base_image_path));
  ORKESTR_CHECK(open(config.scratch_image_path));
  if (config.saved && !config.saved->memory_path.empty()) {
    ORKESTR_CHECK(open(config.saved->memory_path));
  } else {
    ORKESTR_TRY(auto zeros, make_zero_memory(config));
    files.push_back(std::move(zeros));
  }
  if (config.saved && !config.saved->layer_path.empty()) ORKESTR_CHECK(open(config.saved->layer_path));
  return files;
}

MachineConfig machine_of(const VmConfig& config) {
  MachineConfig m;
  m.qemu = config.qemu.path;
  m.read_only_memory = config.qemu.maps_read_only();
  m.start_from = config.saved ? StartFrom::saved_state : StartFrom::boot;
  m.layered = config.saved && !config.saved->layer_path.empty();
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
  base::UniqueFd disk;
  std::vector<SharedFile> shared;
  std::vector<SharedFile> start_files;  // kernel and initrd, or the devices' state
  std::unique_ptr<TailReader> console, errors;
  asio::posix::stream_descriptor pidfd;
  std::unique_ptr<Qmp> qmp;
  std::string stage = "prepare";
  std::optional<std::string> exit;
  std::int64_t cpu_at_exit_ms = 0;

  std::int64_t read_cpu_ms() const;
  bool reap();
  Result<void> open_files(VmConfig& config);
  Result<JailConfig> make_jail(const VmConfig& config, const Sockets& sockets,
                               const std::optional<SharedFile>& preload);
  Result<void> launch(VmConfig& config, base::UniqueFd& qmp_socket);
  Result<void> check_read_only() const;
  awaitable<Result<void>> load(VmConfig::SavedState saved, bool run, base::Deadline deadline);
  awaitable<Result<void>> cont(base::Deadline deadline);
  awaitable<Result<void>> check_running(base::Deadline deadline);
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

Result<void> Vm::State::open_files(VmConfig& config) {
  ORKESTR_TRY(shared, open_shared_files(config));
  std::vector<std::string> paths = {config.kernel_path, config.initrd_path};
  if (config.saved) paths = {config.saved->devices_path};
  for (const auto& path : paths) {
    ORKESTR_TRY(auto file, open_shared_file(path));
    start_files.push_back(std::move(file));
  }
  disk = std::move(config.disk);
  if (!disk) {
    ORKESTR_TRY(disk, make_scratch_overlay(config.disk_directory, config.overlay_image_path, config.disk_bytes));
  }
  return {};
}

Result<JailConfig> Vm::State::make_jail(const VmConfig& config, const Sockets& sockets,
                                        const std::optional<SharedFile>& preload) {
  JailConfig jail;
  jail.argv = qemu_args(machine_of(config));
  jail.private_directory = config.disk_directory;
  jail.fds = {{sockets.qmp.second.get(), kQmpFd},
              {sockets.agent.second.get(), kAgentFd},
              {sockets.console.second.get(), kConsoleFd},
              {shared[kMemory].fd.get(), kMemoryFd},
              {shared[kBase].fd.get(), kBaseFd},
              {shared[kScratch].fd.get(), kScratchFd},
              {disk.get(), kOverlayFd}};
  const int first = config.saved ? kDevicesFd : kKernelFd;
  for (std::size_t i = 0; i < start_files.size(); ++i) {
    jail.fds.emplace_back(start_files[i].fd.get(), first + static_cast<int>(i));
    jail.read_fds.push_back(start_files[i].fd.get());
  }
  if (shared.size() > kLayer) jail.fds.emplace_back(shared[kLayer].fd.get(), kLayerFd);
  jail.read_fds.push_back(shared[kMemory].fd.get());
  const auto last = [&] { return static_cast<int>(jail.fds.size()) + 3; };
  if (preload) {
    jail.env = {fmt::format("LD_PRELOAD=/proc/self/fd/{}", last())};
    jail.read_fds.push_back(preload->fd.get());
    jail.fds.emplace_back(preload->fd.get(), last());
  }
  if (config.lock_fd >= 0) jail.fds.emplace_back(config.lock_fd, last());
  if (config.accelerator.kind == Accelerator::Kind::kvm) jail.write_paths = {"/dev/kvm"};
  return jail;
}

// The synchronous half: everything is opened, the process started. Milliseconds.
Result<void> Vm::State::launch(VmConfig& config, base::UniqueFd& qmp_socket) {
  stage = "files";
  ORKESTR_CHECK(open_files(config));
  std::optional<SharedFile> preload;
  if (!config.qemu.maps_read_only()) {
    auto opened = open_shared_file(config.preload_path);
    if (!opened) return opened.error().with_context("the helper that keeps guest memory read-only; install it again");
    preload = std::move(*opened);
  }
  ORKESTR_TRY(auto sockets, make_sockets());
  ORKESTR_TRY(auto jail, make_jail(config, sockets, preload));
  if (::geteuid() == 0) {
    stage = "uid";
    const char* range_text = ::getenv("ORKESTR_UID_RANGE");
    ORKESTR_TRY(const auto range, parse_uid_range(range_text != nullptr ? range_text : ""));
    ORKESTR_TRY(auto lease, UidLease::acquire(config.uid_lock_path, range));
    jail.uid = lease.uid();
    uid.emplace(std::move(lease));
    if (config.accelerator.kind == Accelerator::Kind::kvm) {
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

Result<void> Vm::State::check_read_only() const {
  ORKESTR_CHECK(check_held_read_only(pid, shared));
  return check_held_read_only(pid, start_files);
}

// Not having it costs the host's other work, never the sandbox: so it is reported, and no error.
void Vm::State::limit_cpu(const VmConfig& config) {
  CgroupPlaces places;
  if (const char* directory = ::getenv("ORKESTR_CGROUP"); directory != nullptr) places.configured = directory;
  auto made = CpuShare::create(places, config.sandbox_id, config.cpu_limit, round_memory_mb(config.memory_mb));
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
  if (error.code() == ErrorCode::snapshot_incompatible) return error;
  std::string message = fmt::format("{} (stage {})", error.message(), stage);
  reap();
  if (exit) message += "; QEMU has ended: " + *exit;
  if (const std::string text = errors ? errors->text() : ""; !text.empty()) message += "; its last words:\n" + text;
  return vm_error(stage, std::move(message), console ? console->text() : "");
}

// Memory first: the devices' state is loaded into a machine that is complete.
awaitable<Result<void>> Vm::State::load(VmConfig::SavedState saved, bool run, base::Deadline deadline) {
  if (!saved.pages_path.empty()) {
    stage = "load memory";
    auto pages = base::open_at(AT_FDCWD, saved.pages_path, O_RDONLY);
    if (!pages) co_return pages.error();
    auto memory = find_guest_memory(pid, shared[kMemory].fd.get());
    if (!memory) co_return memory.error();
    if (auto ok = load_pages(*memory, pages->get(), saved.pages_checksum); !ok) co_return ok;
  }
  stage = "load devices";
  // With `cont` right behind, the guest goes on as soon as they are loaded.
  std::vector<Qmp::Command> commands = {
      {"migrate-incoming", fmt::format(R"({{"uri":"fd:{}"}})", static_cast<int>(kDevicesFd))}};
  if (run) commands.push_back({"cont", ""});
  if (auto begun = co_await qmp->execute_all(std::move(commands), deadline); !begun) co_return begun;
  asio::steady_timer pause(co_await asio::this_coro::executor);
  while (true) {
    auto answer = co_await qmp->execute("query-migrate", "", deadline);
    if (!answer) co_return answer.error();
    const std::string status = answer->string_or("status", "none");
    if (status == "completed") co_return Result<void>();
    if (status == "failed") co_return vm_error(stage, "QEMU does not accept the saved state of its devices");
    pause.expires_after(std::chrono::microseconds(300));
    co_await pause.async_wait(kTuple);
  }
}

awaitable<Result<void>> Vm::State::cont(base::Deadline deadline) {
  if (auto done = co_await qmp->execute("cont", "", deadline); !done) co_return done.error();
  co_return co_await check_running(deadline);
}

awaitable<Result<void>> Vm::State::check_running(base::Deadline deadline) {
  // `cont` succeeds even where the VM then does not run (a disk whose lock another QEMU holds).
  auto status = co_await qmp->execute("query-status", "", deadline);
  if (!status) co_return status.error();
  if (const std::string is = status->string_or("status", "unknown"); is != "running") {
    co_return vm_error(stage, fmt::format("the guest does not run after cont: its status is \"{}\"", is));
  }
  co_return Result<void>();
}

awaitable<Result<void>> Vm::State::run_guest(std::shared_ptr<State> self, VmConfig config, base::Deadline deadline) {
  base::UniqueFd qmp_socket;
  if (auto ok = self->launch(config, qmp_socket); !ok) co_return ok;
  if (config.on_process) {
    config.on_process([weak = std::weak_ptr<State>(self)] {
      if (const auto state = weak.lock()) state->process.kill();
    });
  }

  self->stage = "qmp";
  auto qmp = co_await Qmp::connect(std::move(qmp_socket), deadline);
  if (!qmp) co_return qmp.error();
  self->qmp = std::move(*qmp);
  self->qmp->on_event([hook = config.on_disk_stop](const base::JsonValue& event) {
    if (!hook || event.string_or("event", "") != "BLOCK_IO_ERROR") return;
    if (event["data"].string_or("action", "") == "stop") hook(event["data"].string_or("reason", "unknown"));
  });

  self->stage = "read-only check";
  if (auto ok = self->check_read_only(); !ok) co_return ok;
  if (config.saved) {
    if (auto ok = co_await self->load(std::move(*config.saved), config.run, deadline); !ok) co_return ok;
    if (config.run) {
      self->stage = "cont";
      if (auto ok = co_await self->check_running(deadline); !ok) co_return ok;
    }
  } else if (config.run) {
    self->stage = "cont";
    if (auto ok = co_await self->cont(deadline); !ok) co_return ok;
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

awaitable<Result<void>> Vm::cont(base::Deadline deadline) {
  const auto state = state_;
  state->stage = "cont";
  auto done = co_await state->cont(deadline);
  if (!done) co_return state->describe(done.error());
  state->stage = "running";
  co_return done;
}

awaitable<Result<void>> Vm::stop(base::Deadline deadline) {
  const auto state = state_;
  auto done = co_await state->qmp->execute("stop", "", deadline);
  if (!done) co_return done.error();
  co_return Result<void>();
}

// By the command that was made for Xen and needs none: it writes what a migration would, without the memory.
awaitable<Result<void>> Vm::save_devices(int fd, base::Deadline deadline) {
  const auto state = state_;
  auto set = co_await state->qmp->execute("add-fd", "", deadline, fd);
  if (!set) co_return set.error();
  const std::int64_t number = set->integer_or("fdset-id", -1);
  auto saved = co_await state->qmp->execute(
      "xen-save-devices-state", fmt::format(R"({{"filename":"/dev/fdset/{}","live":false}})", number), deadline);
  auto removed = co_await state->qmp->execute("remove-fd", fmt::format(R"({{"fdset-id":{}}})", number), deadline);
  if (!saved) co_return saved.error();
  if (!removed) co_return removed.error();
  co_return Result<void>();
}

awaitable<Result<void>> Vm::hold(std::string name, int fd, base::Deadline deadline) {
  const auto state = state_;
  auto done = co_await state->qmp->execute("getfd", fmt::format(R"({{"fdname":"{}"}})", name), deadline, fd);
  if (!done) co_return done.error();
  co_return Result<void>();
}

Result<GuestMemory> Vm::memory() const { return find_guest_memory(state_->pid, state_->shared[kMemory].fd.get()); }
int Vm::disk_fd() const { return state_->disk.get(); }
const std::vector<SharedFile>& Vm::shared_files() const { return state_->shared; }

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
