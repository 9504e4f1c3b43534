// The files that say which machine this is: /etc/hostname, /etc/hosts, /etc/machine-id and the kernel's boot id.
//
// They are on a file system in memory, each mounted over its place, and the agent keeps them open from the boot on. So
// writing them anew in a clone touches neither the overlay nor the disk, whose code is cold then (50 ms under
// emulation), and nothing that a guest does to the names leads the agent elsewhere.
#pragma once

#include <string_view>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::guest {

struct IdentityFiles {
  base::UniqueFd hostname, hosts, machine_id, boot_id;
  base::UniqueFd random;  // /dev/urandom, to add entropy to
};

// A step of the boot, once /etc, /proc and /run are there.
Result<IdentityFiles> make_identity_files();

// Replaces all of the content. What has the length of before is written in place: taking the page away first and making
// it again costs a clone more than all the rest of its identity.
Result<void> rewrite(const base::UniqueFd& file, std::string_view content);

}  // namespace orkestr::guest
