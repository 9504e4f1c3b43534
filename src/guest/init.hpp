// PID 1: from the kernel's first program to a system in which commands can run. A column of named steps; each is
// announced on the kernel's console ("orkestr: stage …"), so that a boot that stalls says where.
//
// The initramfs holds /init (this program) and /modules/NN-name.ko, loaded in the order of their names. The disks are
// found by their serials: "base", an erofs image that stays read-only, and "scratch", an ext4 file system that takes
// all writes.
#pragma once

#include <string>

#include "base/unique_fd.hpp"
#include "guest/identity_files.hpp"
#include "orkestr/error.hpp"

namespace orkestr::guest {

struct System {
  base::UniqueFd port;      // the virtio console port to the supervisor
  std::string cgroup_root;  // where commands get their cgroups
  IdentityFiles identity;
};

// The error's message names the stage.
Result<System> boot();

// A line on the kernel's log and console.
void announce(std::string_view text);
// The end: the VM goes down, and the supervisor sees it.
[[noreturn]] void power_off();

}  // namespace orkestr::guest
