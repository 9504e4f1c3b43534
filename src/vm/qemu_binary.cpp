#include "vm/qemu_binary.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

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

}  // namespace orkestr::vm
