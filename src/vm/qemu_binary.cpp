#include "vm/qemu_binary.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/child.hpp"
#include "base/file.hpp"
#include "base/json.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "vm/vm_error.hpp"

namespace orkestr::vm {
namespace {

constexpr std::string_view kProgram = "qemu-system-x86_64";

bool is_executable(const std::string& path) {
  struct stat s {};
  return ::stat(path.c_str(), &s) == 0 && S_ISREG(s.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

Error not_found(std::string message) { return vm_error("qemu", std::move(message)); }

}  // namespace

Result<std::string> find_qemu() {
  if (const char* forced = ::getenv("ORKESTR_QEMU"); forced != nullptr && *forced != '\0') {
    const std::string path = forced;
    if (path.starts_with('/') && is_executable(path)) return path;
    return not_found(fmt::format("ORKESTR_QEMU is \"{}\", which is not the absolute path of a program", path));
  }
  const char* variable = ::getenv("PATH");
  std::string_view rest = variable != nullptr ? variable : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    const auto directory = rest.substr(0, colon);
    rest = colon == std::string_view::npos ? "" : rest.substr(colon + 1);
    if (!directory.starts_with('/')) continue;  // the supervisor's directory is /, not its caller's
    if (auto path = fmt::format("{}/{}", directory, kProgram); is_executable(path)) return path;
  }
  return not_found(fmt::format(
      "{} is not on PATH. Run: apt-get install qemu-system-x86 (or set ORKESTR_QEMU to its path)", kProgram));
}

std::string parse_qemu_version(std::string_view text) {
  constexpr std::string_view kBefore = "QEMU emulator version ";
  if (!text.starts_with(kBefore)) return {};
  text.remove_prefix(kBefore.size());
  const auto end = text.find_first_not_of("0123456789.");
  const std::string_view version = text.substr(0, end);
  const bool dotted = !version.empty() && version.front() != '.' && version.find('.') != std::string_view::npos;
  return dotted && version.size() < 32 ? std::string(version) : std::string();
}

std::string QemuBuild::series() const { return version.substr(0, version.find('.', version.find('.') + 1)); }

bool QemuBuild::maps_read_only() const {
  int major = 0, minor = 0;
  return std::sscanf(version.c_str(), "%d.%d", &major, &minor) == 2 && (major > 8 || (major == 8 && minor >= 2));
}

Result<QemuBuild> identify_qemu(const std::string& cache_file) {
  QemuBuild build;
  ORKESTR_TRY(build.path, find_qemu());
  struct stat s {};
  if (::stat(build.path.c_str(), &s) != 0) return base::errno_error("stat " + build.path, errno);
  build.identity = fmt::format("{} {:x}:{} {} {}.{:09}", build.path, s.st_dev, s.st_ino, s.st_size, s.st_mtim.tv_sec,
                               s.st_mtim.tv_nsec);
  if (const auto text = base::read_file(cache_file, 64U << 10U); !cache_file.empty() && text) {
    const auto known = base::JsonValue::parse(*text);
    if (known && known->string_or("identity", "") == build.identity) {
      build.version = known->string_or("version", "");
      if (!build.version.empty()) return build;
    }
  }
  base::ChildOptions child;
  child.argv = {build.path, "--version"};
  child.inherit_env = false;
  child.cwd = std::string("/");
  ORKESTR_TRY(const auto ran, base::run_child(child, base::Deadline::after(std::chrono::seconds(10))));
  build.version = parse_qemu_version(ran.output);
  if (build.version.empty()) {
    return not_found(fmt::format("{} --version says \"{}\" ({}); that is no QEMU that this build knows", build.path,
                                 ran.output.substr(0, 200), ran.status.to_string()));
  }
  if (!cache_file.empty()) {
    base::JsonWriter json;
    json.begin_object().field("identity", build.identity).field("version", build.version).end_object();
    // Not remembering it costs the next start 30 ms.
    (void)base::write_file_atomic(cache_file, json.take() + "\n", 0644).ok();
  }
  return build;
}

}  // namespace orkestr::vm
