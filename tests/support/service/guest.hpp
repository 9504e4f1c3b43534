// What a sandbox of the test service runs in: namespaces of its own (user, mounts, process ids), a file system in
// memory with /workspace, /tmp and /persist, and the machine's /usr, read-only. No isolation to rely on: for tests.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace orkestr::testing {

struct GuestCommand {
  std::string line, cwd;
  std::map<std::string, std::string> env;
  std::chrono::milliseconds timeout{0};  // 0: none
  bool merged = false;                   // standard error goes where standard output goes
};

struct GuestEnd {
  int exit_code = 0;
  int signal = 0;
  bool timed_out = false;
  bool stopped = false;  // because `stop` said so
  int cwd_error = 0;     // errno; then nothing has run
  std::chrono::microseconds duration{0};
};

// Of the processes that live now.
struct GuestUsage {
  std::uint64_t memory_bytes = 0;
  double cpu_seconds = 0;
};

class Guest {
 public:
  Guest(std::string id, std::map<std::string, std::string> env, std::uint64_t disk_mb);
  ~Guest();
  // Where a path of the guest is on this machine.
  std::string path(const std::string& in_guest) const { return root_ + in_guest; }

  // Runs a command until its end. `started` gets its process id; `output` (true: standard output) its bytes; `stop` is
  // asked now and then, and when it says so everything of the command ends.
  GuestEnd run(const GuestCommand& command, const std::function<void(int)>& started,
               const std::function<void(bool, std::string_view)>& output, const std::function<bool()>& stop);
  GuestUsage usage() const;
  void freeze();
  void thaw();
  void end();  // nothing of it is left

 private:
  int start(const GuestCommand& command, const std::string& mark, int out, int err, int status) const;
  std::vector<int> processes(const std::string& mark) const;
  void signal_all(const std::string& mark, int signal) const;
  void end_tree(const std::string& mark) const;
  void drain(int fd);

  const std::string id_;
  const std::map<std::string, std::string> env_;
  std::string root_;
  int life_ = -1;    // its standard input
  int keeper_ = -1;  // unshare(1), whose child is process 1 of the guest
  int first_ = -1;
  std::atomic<int> commands_ = 0;
  std::mutex mutex_;
  std::vector<std::thread> drains_;
  bool ended_ = false;
};

}  // namespace orkestr::testing
