// The memory of a guest as its QEMU holds it: a file mapped privately. Pages the guest has written are anonymous pages
// of the mapping; all others are still the file's. So what a guest changed is found in /proc/PID/pagemap, read and
// written from outside, and costs what it changed, not what it has.
//
// Needs the rights to trace the process: root, or the same user as its parent. The guest must be stopped. Free
// functions without state; blocking, at memory speed.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::vm {

inline constexpr std::uint64_t kPageBytes = 4096;

struct GuestMemory {
  pid_t pid = 0;
  std::uint64_t address = 0;  // of the mapping in that process
  std::uint64_t bytes = 0;
};

// The one private mapping of the whole file that `file_fd` is. Looked for anew each time: a QEMU that a guest has taken
// over could have moved it.
Result<GuestMemory> find_guest_memory(pid_t pid, int file_fd);

struct PageRun {
  std::uint64_t first = 0;  // page number from the start of guest memory
  std::uint64_t count = 0;
};

// The pages that differ from the file, as runs in order.
Result<std::vector<PageRun>> find_private_pages(const GuestMemory& memory);

// Writes these pages to their own places in a file, which is made as long as the memory; pages of zeros stay holes.
Result<void> save_in_place(const GuestMemory& memory, const std::vector<PageRun>& runs, int fd);

struct SavedPages {
  std::uint64_t pages = 0;
  std::string checksum;  // of the whole file (base/checksum.hpp)
};

// Writes these pages to the start of an empty file, one after the other behind a table of the runs.
Result<SavedPages> save_pages(const GuestMemory& memory, const std::vector<PageRun>& runs, int fd);

// Puts the pages of such a file back. snapshot_incompatible when it is not what was written (`checksum`); the memory is
// then of no use.
Result<void> load_pages(const GuestMemory& memory, int fd, const std::string& checksum);

}  // namespace orkestr::vm
