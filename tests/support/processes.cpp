#include "support/processes.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "base/file.hpp"

namespace orkestr::testing {

namespace fs = std::filesystem;

std::vector<Process> processes_of(const std::string& part_of_path) {
  std::vector<Process> found;
  std::error_code ignored;
  for (const auto& process : fs::directory_iterator("/proc", ignored)) {
    std::string name = process.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    for (fs::directory_iterator fd(process.path() / "fd", ignored), end; fd != end; fd.increment(ignored)) {
      std::string target = fs::read_symlink(fd->path(), ignored);
      if (target.find(part_of_path) == std::string::npos) continue;
      auto comm = base::read_file(process.path() / "comm");
      found.push_back({std::stoi(name), comm ? comm->substr(0, comm->find('\n')) : ""});
      break;
    }
  }
  return found;
}

int pid_of(const std::string& sandbox_id, const std::string& command_prefix) {
  for (const Process& process : processes_of(sandbox_id)) {
    if (process.command.compare(0, command_prefix.size(), command_prefix) == 0) return process.pid;
  }
  return 0;
}

double private_mb(int pid) {
  auto text = base::read_file(fmt::format("/proc/{}/smaps_rollup", pid));
  if (!text) return 0;
  double kb = 0;
  for (const char* key : {"Private_Clean:", "Private_Dirty:"}) {
    auto at = text->find(key);
    if (at != std::string::npos) kb += std::stod(text->substr(at + std::string_view(key).size()));
  }
  return kb / 1024;
}

int open_fds(int pid) {
  auto names = base::list_directory(fmt::format("/proc/{}/fd", pid));
  return names ? static_cast<int>(names->size()) : -1;
}

}  // namespace orkestr::testing
