// The timed guest: one page of long-mode code, identity-mapped by three more, no devices, no interrupts.
//
// It runs in a forked child: a /dev/kvm that hangs in KVM_RUN can be killed there, and the timer's signal handler is
// nobody else's.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/deadline.hpp"
#include "base/system.hpp"
#include "base/unique_fd.hpp"
#include "vm/accel.hpp"
#include "vm/kvm_access.hpp"
#include "vm/vm_error.hpp"

namespace orkestr::vm {
namespace {

constexpr long kRunForUs = 15'000;
constexpr auto kGiveUpAfter = std::chrono::milliseconds(500);
constexpr std::size_t kPage = 4096;
constexpr std::uint64_t kCodeAt = 3 * kPage;
constexpr std::uint64_t kStartCount = 1ULL << 62U;

// What the child reports. `step` is a string literal's text, so that the parent can say where it ended.
struct Report {
  char step[32];
  int error;  // errno, or the exit reason of a guest that stopped by itself
  double iterations_per_s;
};

kvm_run* g_run = nullptr;  // for the signal handler only, in the child only
void stop_guest(int) { g_run->immediate_exit = 1; }

kvm_segment flat_segment(std::uint16_t selector, std::uint8_t type, bool code) {
  kvm_segment s{};
  s.limit = 0xffffffffU;
  s.selector = selector;
  s.type = type;
  s.present = 1;
  s.s = 1;
  s.g = 1;
  s.l = code ? 1 : 0;
  s.db = code ? 0 : 1;
  return s;
}

bool set_long_mode(int vcpu) {
  kvm_sregs s{};
  if (::ioctl(vcpu, KVM_GET_SREGS, &s) != 0) return false;
  s.cs = flat_segment(8, 11, true);
  s.ds = s.es = s.fs = s.gs = s.ss = flat_segment(16, 3, false);
  s.cr3 = 0;
  s.cr4 = 1U << 5U;                   // PAE
  s.cr0 = 0x80000001U | (1U << 4U);   // PG, PE, ET
  s.efer = (1U << 8U) | (1U << 10U);  // LME, LMA
  if (::ioctl(vcpu, KVM_SET_SREGS, &s) != 0) return false;
  kvm_regs r{};
  r.rip = kCodeAt;
  r.rcx = kStartCount;
  r.rflags = 2;
  return ::ioctl(vcpu, KVM_SET_REGS, &r) == 0;
}

// PML4, page directory pointers and directory of 2 MiB pages at 0, 1 and 2; the loop in page 3.
void write_guest(unsigned char* memory) {
  const auto put = [memory](std::size_t at, std::uint64_t v) { std::memcpy(memory + at, &v, sizeof v); };
  put(0, kPage | 3U);
  put(kPage, (2 * kPage) | 3U);
  put(2 * kPage, 0x83U);
  const unsigned char loop[] = {0x48, 0xff, 0xc9, 0x75, 0xfb, 0xf4};  // 1: dec rcx; jnz 1b; hlt
  std::memcpy(memory + kCodeAt, loop, sizeof loop);
}

double seconds_now() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

void start_timer() {
  struct sigaction action {};
  action.sa_handler = stop_guest;
  ::sigaction(SIGALRM, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const itimerval timer{{0, 0}, {0, kRunForUs}};
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

// In the child. Descriptors and mappings go with the process.
Report measure(int kvm) {
  const auto failed = [](const char* step, int error) {
    Report r{};
    std::strncpy(r.step, step, sizeof r.step - 1);
    r.error = error;
    return r;
  };
  if (::ioctl(kvm, KVM_GET_API_VERSION, 0) != 12) return failed("KVM_GET_API_VERSION", errno);
  const int vm = ::ioctl(kvm, KVM_CREATE_VM, 0);
  if (vm < 0) return failed("KVM_CREATE_VM", errno);
  void* memory = ::mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return failed("mmap", errno);
  write_guest(static_cast<unsigned char*>(memory));
  kvm_userspace_memory_region region{0, 0, 0, 4 * kPage, reinterpret_cast<std::uint64_t>(memory)};
  if (::ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) != 0) return failed("KVM_SET_USER_MEMORY_REGION", errno);
  const int vcpu = ::ioctl(vm, KVM_CREATE_VCPU, 0);
  if (vcpu < 0) return failed("KVM_CREATE_VCPU", errno);
  const int size = ::ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  void* run = size < 0 ? MAP_FAILED
                       : ::mmap(nullptr, static_cast<std::size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) return failed("mmap of the vCPU", errno);
  if (!set_long_mode(vcpu)) return failed("KVM_SET_SREGS", errno);

  g_run = static_cast<kvm_run*>(run);
  start_timer();
  const double start = seconds_now();
  const int rc = ::ioctl(vcpu, KVM_RUN, 0);
  const double elapsed = seconds_now() - start;
  if (rc == 0) return failed("KVM_RUN: guest stopped", static_cast<int>(g_run->exit_reason));
  if (errno != EINTR) return failed("KVM_RUN", errno);
  kvm_regs regs{};
  if (::ioctl(vcpu, KVM_GET_REGS, &regs) != 0) return failed("KVM_GET_REGS", errno);
  Report r{};
  r.iterations_per_s = elapsed > 0 ? static_cast<double>(kStartCount - regs.rcx) / elapsed : 0;
  return r;
}

KvmProbe broken(std::string detail) { return {KvmProbe::State::broken, std::move(detail), 0}; }

// The child's report, or nothing when it hangs or dies; reaped in any case.
std::optional<Report> run_child(int kvm) {
  auto pipe = base::make_pipe();
  if (!pipe) return std::nullopt;
  const pid_t child = ::fork();
  if (child < 0) return std::nullopt;
  if (child == 0) {
    const Report r = measure(kvm);
    ::_exit(::write(pipe->second.get(), &r, sizeof r) == sizeof r ? 0 : 1);
  }
  pipe->second.reset();
  const auto deadline = base::Deadline::after(kGiveUpAfter);
  pollfd p{pipe->first.get(), POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&p, 1, deadline.poll_timeout_ms());
  } while (ready < 0 && errno == EINTR);
  Report r{};
  const bool got = ready > 0 && ::read(pipe->first.get(), &r, sizeof r) == sizeof r;
  ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!got) return std::nullopt;
  return r;
}

}  // namespace

Result<std::vector<gid_t>> kvm_groups_for(mode_t mode, gid_t group) {
  if ((mode & 0006U) == 0006U) return std::vector<gid_t>{};
  if ((mode & 0060U) == 0060U && group != 0) return std::vector<gid_t>{group};
  return vm_error(
      "accelerator",
      fmt::format("QEMU runs under a uid of its own, which may not open /dev/kvm (mode {:04o}, group {}). Run: "
                  "chgrp kvm /dev/kvm && chmod 0660 /dev/kvm",
                  mode & 07777U, group));
}

Result<std::vector<gid_t>> kvm_access_of_own_uid() {
  struct stat s {};
  if (::stat("/dev/kvm", &s) != 0) return base::errno_error("stat /dev/kvm", errno);
  return kvm_groups_for(s.st_mode, s.st_gid);
}

KvmProbe probe_kvm() {
  base::UniqueFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm) {
    if (errno == ENOENT || errno == ENXIO || errno == ENODEV) {
      return {KvmProbe::State::absent, fmt::format("/dev/kvm: {}", std::strerror(errno)), 0};
    }
    return {KvmProbe::State::refused,
            fmt::format("/dev/kvm: {}; add the user to the group kvm (usermod -aG kvm USER) and log in again",
                        std::strerror(errno)),
            0};
  }
  const auto report = run_child(kvm.get());
  if (!report) return broken("a guest of one loop did not come back");
  if (report->step[0] != '\0') return broken(fmt::format("{} failed ({})", report->step, report->error));
  KvmProbe probe{KvmProbe::State::ran, "", report->iterations_per_s};
  if (::geteuid() == 0) {
    // Slowness is the better reason to give: access could be repaired, speed cannot.
    auto access = kvm_access_of_own_uid();
    if (!access && probe.iterations_per_s >= kFastKvmIterationsPerS) {
      probe.state = KvmProbe::State::refused;
      probe.detail = access.error().message();
    }
  }
  return probe;
}

}  // namespace orkestr::vm
