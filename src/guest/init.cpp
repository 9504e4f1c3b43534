#include "guest/init.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "base/deadline.hpp"
#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::guest {
namespace {

using std::chrono::milliseconds;

// Devices appear when the kernel has probed them: milliseconds on a quiet machine, seconds under emulation and load.
constexpr std::chrono::seconds kDevicePatience{20};
constexpr milliseconds kDevicePoll{1};
constexpr const char* kPort = "/dev/vport0p1";
constexpr const char* kRoot = "/newroot";
constexpr const char* kOverlayWork = "/scratch/overlay";
constexpr const char* kCgroups = "/sys/fs/cgroup";
constexpr const char* kCommandCgroups = "/sys/fs/cgroup/exec";
// Shown on the console even with `quiet loglevel=3`, which lets pass what is below 3.
constexpr std::string_view kConsoleLevel = "<2>";

Result<void> mount_at(const char* source, const std::string& target, const char* type, unsigned long flags,
                      const char* options = nullptr) {
  if (::mkdir(target.c_str(), 0755) != 0 && errno != EEXIST)
    return base::errno_error("make directory " + target, errno);
  if (::mount(source, target.c_str(), type, flags, options) != 0) {
    return base::errno_error(fmt::format("mount {} ({}) on {}", source, type, target), errno);
  }
  return {};
}

Result<void> move_mount(const std::string& from, const std::string& to) {
  if (::mkdir(to.c_str(), 0755) != 0 && errno != EEXIST) return base::errno_error("make directory " + to, errno);
  if (::mount(from.c_str(), to.c_str(), nullptr, MS_MOVE, nullptr) != 0) {
    return base::errno_error(fmt::format("move mount {} to {}", from, to), errno);
  }
  return {};
}

// For kernel files: a failure is the caller's to judge.
bool write_file(const std::string& path, std::string_view text) {
  const base::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

Result<void> mount_kernel_views() {
  ORKESTR_CHECK(mount_at("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC));
  ORKESTR_CHECK(mount_at("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC));
  ORKESTR_CHECK(mount_at("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=755"));
  write_file("/proc/sys/kernel/printk_devkmsg", "on\n");  // else ten lines in five seconds
  return {};
}

Result<void> load_modules() {
  ORKESTR_TRY(const auto names, base::list_directory("/modules"));
  for (const std::string& name : names) {
    ORKESTR_TRY(const base::UniqueFd file, base::open_at(AT_FDCWD, "/modules/" + name, O_RDONLY));
    if (::syscall(SYS_finit_module, file.get(), "", 0) != 0 && errno != EEXIST) {
      return base::errno_error("load module " + name, errno);
    }
  }
  return {};
}

// The device whose serial number is `serial`, as soon as it is there.
Result<std::string> find_disk(std::string_view serial) {
  const auto deadline = base::Deadline::after(kDevicePatience);
  while (true) {
    for (char letter = 'a'; letter <= 'z'; ++letter) {
      const std::string name = fmt::format("vd{}", letter);
      auto found = base::read_file(fmt::format("/sys/block/{}/serial", name), 4096);  // sysfs: every file "has" a page
      if (!found) continue;
      if (found->substr(0, found->find('\n')) == serial && base::exists("/dev/" + name)) return "/dev/" + name;
    }
    if (deadline.expired()) {
      return Error(ErrorCode::file_not_found,
                   fmt::format("no virtio disk with serial '{}' within {} s", serial, kDevicePatience.count()));
    }
    std::this_thread::sleep_for(kDevicePoll);
  }
}

Result<void> mount_base() {
  ORKESTR_TRY(const std::string disk, find_disk("base"));
  return mount_at(disk.c_str(), "/base", "erofs", MS_RDONLY | MS_NOATIME);
}

// The file system was made for the smallest disk there is; this one may be larger.
Result<void> grow_to_disk(const std::string& disk, const char* mount_point) {
  // From linux/fs.h, which glibc's sys/mount.h does not get along with, and from a header that is not installed.
  constexpr unsigned long kBlockDeviceSize = 0x80081272;  // BLKGETSIZE64: bytes
  constexpr unsigned long kExt4Resize = 0x40086610;       // EXT4_IOC_RESIZE_FS: the new count of blocks
  ORKESTR_TRY(const auto device, base::open_at(AT_FDCWD, disk, O_RDONLY));
  ORKESTR_TRY(const auto root, base::open_at(AT_FDCWD, mount_point, O_RDONLY | O_DIRECTORY));
  std::uint64_t bytes = 0;
  struct statfs status {};
  if (::ioctl(device.get(), kBlockDeviceSize, &bytes) != 0) return base::errno_error("size of " + disk, errno);
  if (::fstatfs(root.get(), &status) != 0) return base::errno_error("statfs " + std::string(mount_point), errno);
  std::uint64_t blocks = bytes / static_cast<std::uint64_t>(status.f_bsize);
  if (::ioctl(root.get(), kExt4Resize, &blocks) != 0) {
    return base::errno_error(fmt::format("grow the file system of {} to {} blocks", disk, blocks), errno);
  }
  return {};
}

Result<void> mount_scratch() {
  ORKESTR_TRY(const std::string disk, find_disk("scratch"));
  ORKESTR_CHECK(mount_at(disk.c_str(), "/scratch", "ext4", MS_NOATIME, "discard"));
  ORKESTR_CHECK(grow_to_disk(disk, "/scratch"));
  for (const char* directory : {"/scratch/upper", kOverlayWork}) {
    if (::mkdir(directory, 0755) != 0 && errno != EEXIST) return base::errno_error(directory, errno);
  }
  // An upper directory that a `volatile` overlay left behind is refused by default; ours is only ever this sandbox's
  // own.
  return base::remove_tree(std::string(kOverlayWork) + "/work" + "/incompat");
}

Result<void> mount_overlay() {
  ORKESTR_CHECK(mount_at("overlay", kRoot, "overlay", MS_NOATIME,
                         "lowerdir=/base,upperdir=/scratch/upper,workdir=/scratch/overlay,volatile"));
  // The overlay keeps both file systems; nobody needs to see them.
  ::umount2("/base", MNT_DETACH);
  ::umount2("/scratch", MNT_DETACH);
  return {};
}

Result<void> switch_root() {
  const std::string root = kRoot;
  for (const char* path : {"/dev", "/proc", "/sys"}) ORKESTR_CHECK(move_mount(path, root + path));
  // The initramfs is memory: give it back. This program's own pages stay until it ends.
  ORKESTR_CHECK(base::remove_tree("/modules"));
  ::unlink("/init");
  if (::chdir(kRoot) != 0 || ::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || ::chroot(".") != 0 ||
      ::chdir("/") != 0) {
    return base::errno_error("switch to the overlay", errno);
  }
  return {};
}

Result<void> mount_system() {
  ORKESTR_CHECK(mount_at("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666"));
  ORKESTR_CHECK(mount_at("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"));
  ORKESTR_CHECK(mount_at("run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64m"));
  // devtmpfs has the devices; these links are udev's work elsewhere.
  const std::pair<const char*, const char*> links[] = {{"/proc/self/fd", "/dev/fd"},
                                                       {"/proc/self/fd/0", "/dev/stdin"},
                                                       {"/proc/self/fd/1", "/dev/stdout"},
                                                       {"/proc/self/fd/2", "/dev/stderr"}};
  for (const auto& [target, name] : links) {
    if (::symlink(target, name) != 0 && errno != EEXIST) return base::errno_error(name, errno);
  }
  return {};
}

// On the overlay: large temporary files use disk, not memory.
Result<void> make_writable_roots() {
  const std::pair<const char*, mode_t> roots[] = {{"/tmp", 01777}, {"/workspace", 0755}, {"/root", 0700}};
  for (const auto& [path, mode] : roots) {
    if (::mkdir(path, mode) == 0) {
      if (::chmod(path, mode) != 0) return base::errno_error(path, errno);
    } else if (errno != EEXIST) {
      return base::errno_error(path, errno);
    }
  }
  struct stat tmp {};
  if (::stat("/tmp", &tmp) == 0 && (tmp.st_mode & 07777U) != 01777) ::chmod("/tmp", 01777);
  return {};
}

Result<void> mount_cgroups() {
  ORKESTR_CHECK(mount_at("cgroup2", kCgroups, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC));
  if (::mkdir(kCommandCgroups, 0755) != 0) return base::errno_error(kCommandCgroups, errno);
  // For memory.events. A kernel booted without the controller only loses the word "oom" in an exit record.
  if (write_file(std::string(kCgroups) + "/cgroup.subtree_control", "+memory")) {
    write_file(std::string(kCommandCgroups) + "/cgroup.subtree_control", "+memory");
  }
  return {};
}

Result<void> bring_up_loopback() {
  const base::UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!socket || ::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return base::errno_error("bring up lo", errno);
  return {};
}

// As PID 1 the agent is none that the kernel kills when memory is short. launch() takes the limit back for commands.
Result<void> protect_agent() {
  const rlimit files{65536, 524288};
  if (::setrlimit(RLIMIT_NOFILE, &files) != 0) return base::errno_error("setrlimit", errno);
  constexpr std::string_view name = "sandbox";  // until `configure`
  if (::sethostname(name.data(), name.size()) != 0) return base::errno_error("sethostname", errno);
  return {};
}

Result<base::UniqueFd> open_port() {
  const auto deadline = base::Deadline::after(kDevicePatience);
  while (true) {
    base::UniqueFd port(::open(kPort, O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (port || deadline.expired()) {
      if (!port) return base::errno_error(fmt::format("open {} within {} s", kPort, kDevicePatience.count()), errno);
      return port;
    }
    std::this_thread::sleep_for(kDevicePoll);
  }
}

struct Stage {
  const char* name;
  Result<void> (*run)();
};

constexpr Stage kStages[] = {
    {"modules", load_modules},
    {"mount base", mount_base},
    {"mount scratch", mount_scratch},
    {"mount overlay", mount_overlay},
    {"switch root", switch_root},
    {"mount system", mount_system},
    {"writable roots", make_writable_roots},
    {"cgroups", mount_cgroups},
    {"loopback", bring_up_loopback},
    {"protect agent", protect_agent},
};

}  // namespace

void announce(std::string_view text) {
  const base::UniqueFd log(::open("/dev/kmsg", O_WRONLY | O_CLOEXEC));
  if (!log) return;
  const std::string line = fmt::format("{}orkestr: {}\n", kConsoleLevel, text);
  [[maybe_unused]] auto n = ::write(log.get(), line.data(), line.size());
}

void power_off() {
  ::sync();
  ::reboot(RB_AUTOBOOT);  // QEMU runs with -no-reboot, and a microvm always knows how to reset
  while (true) ::pause();
}

Result<System> boot() {
  if (auto mounted = mount_kernel_views(); !mounted) return mounted.error().with_context("stage kernel views");
  for (const Stage& stage : kStages) {
    announce(fmt::format("stage {}", stage.name));
    if (auto done = stage.run(); !done) return done.error().with_context(fmt::format("stage {}", stage.name));
  }
  announce("stage identity");
  auto identity = make_identity_files();
  if (!identity) return identity.error().with_context("stage identity");
  announce("stage open port");
  auto port = open_port();
  if (!port) return port.error().with_context("stage open port");
  announce("stage ready");
  return System{*std::move(port), kCommandCgroups, *std::move(identity)};
}

}  // namespace orkestr::guest
