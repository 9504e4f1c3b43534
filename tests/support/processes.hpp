// A sandbox's processes as the kernel shows them, without trusting anything the library says.
#pragma once

#include <string>
#include <vector>

namespace orkestr::testing {

struct Process {
  int pid = 0;
  std::string command;  // comm: "qemu-system-x86", "orkestr-supervi"
};

// Every process of the machine that holds a file open whose path has this in it, a sandbox's id or a directory: its
// supervisor and its QEMU hold the lock file.
std::vector<Process> processes_of(const std::string& part_of_path);
// The one whose command begins like this; 0 when there is none.
int pid_of(const std::string& sandbox_id, const std::string& command_prefix);
// Private memory (not shared with any other process) in MiB.
double private_mb(int pid);
int open_fds(int pid);

}  // namespace orkestr::testing
