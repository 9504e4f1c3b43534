// Ending a supervisor that hangs, or a QEMU that outlived its own. F_OFD_GETLK does not tell whose a lock is,
// /proc/PID/fdinfo does.
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <string_view>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "registry/registry.hpp"

namespace orkestr::registry {
namespace {

// As the kernel cuts it, to 15 bytes.
constexpr std::string_view kSupervisorName = "orkestr-supervi";
constexpr std::size_t kMaxProcFile = 64U << 10U;

// "lock:\t1: OFDLCK  ADVISORY  WRITE -1 00:1f:1234 0 0": a lock on byte 0 and only that.
bool shows_lock(std::string_view fdinfo, std::int64_t byte) {
  while (!fdinfo.empty()) {
    const auto end = fdinfo.find('\n');
    const auto line = fdinfo.substr(0, end);
    fdinfo = end == std::string_view::npos ? "" : fdinfo.substr(end + 1);
    if (line.starts_with("lock:") && line.find(" OFDLCK ") != std::string_view::npos &&
        line.ends_with(fmt::format(" {0} {0}", byte))) {
      return true;
    }
  }
  return false;
}

bool holds_byte(const std::string& process, const struct stat& lock, std::int64_t byte) {
  const auto descriptors = base::list_directory(process + "/fd");
  if (!descriptors) return false;
  for (const auto& fd : *descriptors) {
    struct stat file {};
    if (::stat(fmt::format("{}/fd/{}", process, fd).c_str(), &file) != 0) continue;
    if (file.st_dev != lock.st_dev || file.st_ino != lock.st_ino) continue;
    const auto info = base::read_file(fmt::format("{}/fdinfo/{}", process, fd), kMaxProcFile);
    if (info && shows_lock(*info, byte)) return true;
  }
  return false;
}

// `name`: what its comm must begin with.
Result<void> kill_holder(int lock_fd, const std::string& id, std::int64_t byte, std::string_view what,
                         std::string_view name) {
  struct stat lock {};
  if (::fstat(lock_fd, &lock) != 0) return base::errno_error(fmt::format("look at the lock of sandbox {}", id), errno);
  ORKESTR_TRY(const auto processes, base::list_directory("/proc"));
  for (const auto& process_id : processes) {
    pid_t pid = 0;
    const char* const end = process_id.data() + process_id.size();
    const auto parsed = std::from_chars(process_id.data(), end, pid);
    if (parsed.ec != std::errc() || parsed.ptr != end || pid == ::getpid()) continue;
    const auto command = base::read_file("/proc/" + process_id + "/comm", kMaxProcFile);
    if (!command || !command->starts_with(name)) continue;
    // Opened before the look: whatever takes this number later, the signal goes to the process that was looked at.
    const base::UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!process || !holds_byte("/proc/" + process_id, lock, byte)) continue;
    if (::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) == 0 || errno == ESRCH) return {};
    return Error(ErrorCode::vm_failed, fmt::format("its {}, process {}, cannot be killed: {}", what, pid,
                                                   base::errno_error("pidfd_send_signal", errno).message()));
  }
  return Error(ErrorCode::vm_failed,
               fmt::format("no process of this machine that we may look at is the {} of sandbox {}; it may "
                           "belong to another user or container",
                           what, id));
}

}  // namespace

Result<void> kill_supervisor(int lock_fd, const std::string& id) {
  return kill_holder(lock_fd, id, kSupervisorByte, "supervisor", kSupervisorName);
}

// Whatever it calls itself: a QEMU that did not die with its supervisor is one that somebody has broken into.
Result<void> kill_qemu(int lock_fd, const std::string& id) { return kill_holder(lock_fd, id, kQemuByte, "QEMU", ""); }

}  // namespace orkestr::registry
