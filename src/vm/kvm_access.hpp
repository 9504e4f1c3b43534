// How a QEMU that runs under a uid of its own gets at /dev/kvm: by the device's group, given to it as its only
// supplementary group.
#pragma once

#include <sys/types.h>

#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::vm {

// The rule: `mode` and `group` are the device's. No group is needed when everyone may; group 0 is never given away.
Result<std::vector<gid_t>> kvm_groups_for(mode_t mode, gid_t group);
// Applied to /dev/kvm.
Result<std::vector<gid_t>> kvm_access_of_own_uid();

}  // namespace orkestr::vm
