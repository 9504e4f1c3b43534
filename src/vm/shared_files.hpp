// Files that all sandboxes of a template share: opened read-only, and proven to be so in QEMU before the guest runs.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::vm {

struct SharedFile {
  std::string path;
  base::UniqueFd fd;
  dev_t device = 0;
  ino_t inode = 0;
};

// O_RDONLY; a regular file.
Result<SharedFile> open_shared_file(const std::string& path);
// The same for an open file without a name; `what` stands for its path in errors. It is opened again, read-only.
Result<SharedFile> share_open_file(const std::string& what, int fd);

// Looks through /proc/PID/fd of a process: vm_failed when it holds a writable descriptor of one of the files.
Result<void> check_held_read_only(pid_t pid, const std::vector<SharedFile>& files);

}  // namespace orkestr::vm
