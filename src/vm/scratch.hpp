// The writable disk of one sandbox: a qcow2 layer over the template's scratch image, in a file that never has a name.
#pragma once

#include <cstdint>
#include <string>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::vm {

// Copies the template's ready-made empty qcow2 (200 kB; 0.1 ms, where qemu-img create takes 6) into an unnamed file on
// the file system of `directory`. The descriptor is the disk: when its last copy is closed the storage is free, however
// the processes end.
//
// `disk_bytes` is the size that the guest sees, a multiple of 512; at least that of the copied image (0: exactly that),
// at most 128 GiB. What lies beyond the image below reads as zero; the guest grows its file system over it.
Result<base::UniqueFd> make_scratch_overlay(const std::string& directory, const std::string& empty_qcow2,
                                            std::uint64_t disk_bytes = 0);

}  // namespace orkestr::vm
