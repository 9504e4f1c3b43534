// The two things we read from ELF files: whether a kernel has a PVH entry, and what a kernel module says about itself.
//
// The files come out of packages and are treated as hostile: every offset is checked before it is used. Pure functions
// over bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::image {

// Succeeds when `elf` is a 64-bit little-endian x86-64 ELF with an ELF note of owner "Xen" and type 18
// (XEN_ELFNOTE_PHYS32_ENTRY), the address at which a VMM enters a PVH kernel. Else an error that says which of these is
// missing.
Result<void> check_pvh_kernel(std::string_view elf);

// The modules that `module` (a .ko, uncompressed) needs before it can be loaded: "depends=" of its .modinfo section, in
// its order.
Result<std::vector<std::string>> module_depends(std::string_view module);

}  // namespace orkestr::image
