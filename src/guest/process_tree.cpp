#include "guest/process_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::guest {
namespace {

constexpr std::size_t kMaxIdle = 16;
// Each pass of a kill without cgroups finds what was forked during the one before.
constexpr int kKillPasses = 20;

// The file from its beginning, as far as one small buffer goes: kernel files of a few lines.
std::string_view reread(int fd, std::array<char, 1024>& buffer) {
  const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), 0);
  return {buffer.data(), n > 0 ? static_cast<std::size_t>(n) : 0};
}

// The number behind "key " at the beginning of a line.
std::optional<std::uint64_t> number_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.substr(0, key.size()) != key || line.size() <= key.size() || line[key.size()] != ' ') continue;
    line.remove_prefix(key.size() + 1);
    std::uint64_t value = 0;
    if (std::from_chars(line.data(), line.data() + line.size(), value).ec == std::errc()) return value;
  }
  return std::nullopt;
}

bool write_control(int directory, const char* file, std::string_view value) {
  const base::UniqueFd fd(::openat(directory, file, O_WRONLY | O_CLOEXEC));
  return fd && ::write(fd.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
}

std::vector<pid_t> parse_pids(std::string_view text) {
  std::vector<pid_t> pids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    pid_t pid = 0;
    const auto parsed = std::from_chars(at, end, pid);
    if (parsed.ec == std::errc() && pid > 1) pids.push_back(pid);
    at = parsed.ptr + 1;
  }
  return pids;
}

// Process mode: does /proc/PID belong to the session, or carry the mark?
bool belongs(const std::string& pid, pid_t session, const std::string& mark) {
  auto stat = base::read_file("/proc/" + pid + "/stat", 4096);
  if (!stat) return false;
  // "PID (any text) STATE …": a zombie holds nothing any more.
  const std::size_t name_end = stat->rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= stat->size() || (*stat)[name_end + 2] == 'Z') return false;
  if (session > 1 && ::getsid(std::atoi(pid.c_str())) == session) return true;
  auto environment = base::read_file("/proc/" + pid + "/environ", 1U << 20U);
  if (!environment) return false;
  const std::string text = '\0' + *environment + '\0';
  return text.find('\0' + mark + '\0') != std::string::npos;
}

}  // namespace

std::vector<pid_t> ProcessTree::members() const {
  if (directory_) {
    auto text = base::read_file_at(directory_.get(), "cgroup.procs", 1U << 20U);
    return text ? parse_pids(*text) : std::vector<pid_t>();
  }
  std::vector<pid_t> pids;
  auto names = base::list_directory("/proc");
  if (!names) return pids;
  for (const std::string& name : *names) {
    if (name.front() < '1' || name.front() > '9') continue;
    const pid_t pid = std::atoi(name.c_str());
    if (pid != ::getpid() && belongs(name, leader_, mark_)) pids.push_back(pid);
  }
  return pids;
}

// Frozen, so that nobody forks between the listing and the signal; who does slip through meets kill() later.
void ProcessTree::terminate() {
  if (directory_) write_control(directory_.get(), "cgroup.freeze", "1");
  for (const pid_t pid : members()) ::kill(pid, SIGTERM);
  if (directory_) write_control(directory_.get(), "cgroup.freeze", "0");
}

void ProcessTree::kill() {
  if (directory_ && write_control(directory_.get(), "cgroup.kill", "1")) return;
  for (int pass = 0; pass < kKillPasses; ++pass) {
    const std::vector<pid_t> pids = members();
    if (pids.empty()) return;
    for (const pid_t pid : pids) ::kill(pid, SIGKILL);
  }
}

bool ProcessTree::is_empty() const {
  if (!directory_) return members().empty();
  std::array<char, 1024> buffer;
  return number_of(reread(events_.get(), buffer), "populated").value_or(0) == 0;
}

TreeUsage ProcessTree::usage() const {
  TreeUsage usage;
  std::array<char, 1024> buffer;
  if (cpu_) {
    const std::string_view text = reread(cpu_.get(), buffer);
    usage.user_us = number_of(text, "user_usec").value_or(0) - at_start_.user_us;
    usage.system_us = number_of(text, "system_usec").value_or(0) - at_start_.system_us;
    usage.known = !text.empty();
  }
  if (memory_) usage.oom = number_of(reread(memory_.get(), buffer), "oom_kill").value_or(0) > oom_kills_at_start_;
  return usage;
}

ProcessTrees::~ProcessTrees() {
  for (auto& [fd, tree] : populated_) reactor_.remove(fd);
}

Result<std::unique_ptr<ProcessTree>> ProcessTrees::take() {
  if (root_.empty()) {
    auto tree = std::make_unique<ProcessTree>();
    tree->mark_ = fmt::format("ORKESTR_EXEC={}.{}", ::getpid(), next_++);
    return tree;
  }
  std::unique_ptr<ProcessTree> tree;
  if (idle_.empty()) {
    ORKESTR_TRY(tree, make());
  } else {
    tree = std::move(idle_.back());
    idle_.pop_back();
  }
  // The counters of a cgroup only grow; this command's share is the difference.
  std::array<char, 1024> buffer;
  const std::string_view cpu = tree->cpu_ ? reread(tree->cpu_.get(), buffer) : std::string_view();
  tree->at_start_.user_us = number_of(cpu, "user_usec").value_or(0);
  tree->at_start_.system_us = number_of(cpu, "system_usec").value_or(0);
  if (tree->memory_) tree->oom_kills_at_start_ = number_of(reread(tree->memory_.get(), buffer), "oom_kill").value_or(0);
  return tree;
}

Result<std::unique_ptr<ProcessTree>> ProcessTrees::make() {
  auto tree = std::make_unique<ProcessTree>();
  tree->name_ = fmt::format("{}/{}", root_, next_++);
  if (::mkdir(tree->name_.c_str(), 0755) != 0) return base::errno_error("make cgroup " + tree->name_, errno);
  ORKESTR_TRY(tree->directory_, base::open_at(AT_FDCWD, tree->name_, O_RDONLY | O_DIRECTORY));
  const int directory = tree->directory_.get();
  ORKESTR_TRY(tree->events_, base::open_at(directory, "cgroup.events", O_RDONLY));
  tree->cpu_.reset(::openat(directory, "cpu.stat", O_RDONLY | O_CLOEXEC));
  tree->memory_.reset(::openat(directory, "memory.events", O_RDONLY | O_CLOEXEC));  // only with that controller
  return tree;
}

void ProcessTrees::give_back(std::unique_ptr<ProcessTree> tree) {
  if (tree->name_.empty()) return;
  const int fd = tree->events_.get();
  if (tree->is_empty()) {
    if (idle_.size() >= kMaxIdle) return remove(*tree);
    idle_.push_back(std::move(tree));
    return;
  }
  tree->cpu_.reset();
  tree->memory_.reset();
  if (!reactor_.add(fd, EPOLLPRI | EPOLLET, [this, fd](std::uint32_t) { on_change(fd); })) return;
  populated_[fd] = std::move(tree);
  on_change(fd);  // the last one may have ended between the look above and the watch
}

void ProcessTrees::on_change(int events_fd) {
  auto found = populated_.find(events_fd);
  if (found == populated_.end() || !found->second->is_empty()) return;
  reactor_.remove(events_fd);
  remove(*found->second);
  populated_.erase(found);
}

void ProcessTrees::remove(const ProcessTree& tree) { ::rmdir(tree.name_.c_str()); }

}  // namespace orkestr::guest
