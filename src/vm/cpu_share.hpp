// A fraction of a CPU for one QEMU, by a cgroup (version 2) of its own, which limits its memory, too.
//
// A cgroup with processes cannot hand the cpu controller to its children, so the new one is made beside the caller's
// own (under a systemd user session that place is delegated), or in the directory that ORKESTR_CGROUP names. Where
// neither works, there is no share, and the reason is for a person.
#pragma once

#include <sys/types.h>

#include <string>

#include "orkestr/error.hpp"

namespace orkestr::vm {

// Where cgroups are looked for. Tests have a tree of their own.
struct CgroupPlaces {
  std::string mount = "/sys/fs/cgroup";   // of cgroup2
  std::string own = "/proc/self/cgroup";  // its line "0::/PATH" names the caller's cgroup
  std::string configured;                 // ORKESTR_CGROUP: a directory for ours; empty: beside the caller's
};

class CpuShare {
 public:
  // Makes a cgroup "orkestr-NAME" limited to `cpus` (0.01 to 1024) CPUs and, where its parent hands the memory
  // controller down, to the guest's `memory_mb` and 256 MiB for QEMU itself. not_supported says why none can be had
  // here.
  static Result<CpuShare> create(const CgroupPlaces& places, const std::string& name, double cpus, int memory_mb);
  // Removes the cgroup, if its processes have ended.
  ~CpuShare();
  CpuShare(CpuShare&& other) noexcept;
  CpuShare& operator=(CpuShare&&) = delete;

  // Moves a process, with all its threads, into it.
  Result<void> add(pid_t pid) const;
  const std::string& path() const { return path_; }

 private:
  explicit CpuShare(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace orkestr::vm
