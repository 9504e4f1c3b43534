// The guest's initramfs: the agent as /init, and the kernel modules it loads before there is any disk.
//
//   /init               orkestr-agent
//   /modules/NN-name.ko in load order
//   /dev/console        so that PID 1 has descriptors 0, 1, 2
//   /dev /proc /sys /run /newroot     empty directories to mount on
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::image {

struct NamedFile {
  std::string name;
  std::string content;
};

// The archive's bytes; the same input gives the same bytes. Pure.
Result<std::string> make_initramfs(std::string_view agent, const std::vector<NamedFile>& modules);

// The path of a finished initramfs for the kernel `kernel_version` of `cache_dir` and the agent at `agent_path`: one
// that is in `cache_dir`/initramfs or in `writable_cache_dir`/initramfs already, else a new one in the latter.
//
// The file is named by a digest of agent and modules. To spare hashing the agent at each start, a stamp remembers the
// digest under the agent's device, inode, size, mtime and ctime; with it the call costs a few system calls. Archives
// and stamps of earlier agents are removed when a new one is made, except those of the last hour, which a starting
// sandbox may be about to open. template_build_failed when the agent or the kernel cannot be read.
Result<std::string> ensure_initramfs(const std::string& cache_dir, std::string_view kernel_version,
                                     const std::string& agent_path, const std::string& writable_cache_dir);

// Removes every archive and stamp of `cache_dir` but those named in `keep` and those of the last hour. What is missing
// later is made again; failures only leave a file behind.
void collect_initramfs(const std::string& cache_dir, const std::vector<std::string>& keep);

}  // namespace orkestr::image
