#include "vm/guest_memory.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <thread>

#include "base/checksum.hpp"
#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "vm/vm_error.hpp"

namespace orkestr::vm {
namespace {

constexpr std::size_t kChunkBytes = 1U << 20U;  // stays in the processor's cache
constexpr std::uint64_t kMaxMemoryBytes = std::uint64_t{1} << 40U;
constexpr std::uint64_t kPagesWorthAThread = 512;
constexpr std::size_t kMaxMapsBytes = 4U << 20U;

// Linux, Documentation/admin-guide/mm/pagemap.rst.
constexpr std::uint64_t kPresent = std::uint64_t{1} << 63U;
constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62U;
constexpr std::uint64_t kFileOrShared = std::uint64_t{1} << 61U;

Error memory_error(std::string message) { return vm_error("guest memory", std::move(message)); }

struct Mapping {
  std::uint64_t from = 0, to = 0, offset = 0;
  bool is_private = false;
};

// "7f…-7f… rw-p 00000000 fe:00 1234  /path": those of this device and inode.
std::vector<Mapping> mappings_of(const std::string& maps, const struct stat& file) {
  std::vector<Mapping> found;
  std::size_t at = 0;
  while (at < maps.size()) {
    const std::size_t end = std::min(maps.find('\n', at), maps.size());
    const std::string line = maps.substr(at, end - at);
    at = end + 1;
    unsigned long from = 0, to = 0, offset = 0, inode = 0;
    unsigned major_number = 0, minor_number = 0;
    std::array<char, 5> rights{};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s %lx %x:%x %lu", &from, &to, rights.data(), &offset, &major_number,
                    &minor_number, &inode) != 7) {
      continue;
    }
    if (inode != file.st_ino || major_number != major(file.st_dev) || minor_number != minor(file.st_dev)) continue;
    found.push_back({from, to, offset, rights[3] == 'p'});
  }
  return found;
}

// Moves `count` pages of the runs from (run, page in it) on, between the guest and one buffer.
class PageCursor {
 public:
  explicit PageCursor(const std::vector<PageRun>& runs) : runs_(runs) {}

  bool done() const { return run_ == runs_.size(); }
  // Where the next pages are, for at most kChunkBytes.
  std::size_t next(const GuestMemory& memory, std::vector<iovec>& remote) {
    remote.clear();
    std::size_t bytes = 0;
    while (!done() && bytes < kChunkBytes && remote.size() < 512) {
      const PageRun& run = runs_[run_];
      const std::uint64_t pages = std::min<std::uint64_t>(run.count - page_, (kChunkBytes - bytes) / kPageBytes);
      const std::uint64_t address = memory.address + (run.first + page_) * kPageBytes;
      remote.push_back({reinterpret_cast<void*>(address), static_cast<std::size_t>(pages * kPageBytes)});
      bytes += pages * kPageBytes;
      page_ += pages;
      if (page_ == run.count) {
        ++run_;
        page_ = 0;
      }
    }
    return bytes;
  }

 private:
  const std::vector<PageRun>& runs_;
  std::size_t run_ = 0;
  std::uint64_t page_ = 0;
};

std::uint64_t count_pages(const std::vector<PageRun>& runs) {
  std::uint64_t pages = 0;
  for (const PageRun& run : runs) pages += run.count;
  return pages;
}

using Sink = std::function<Result<void>(const char* bytes, std::size_t count, const std::vector<iovec>& from)>;

Result<void> read_pages(const GuestMemory& memory, const std::vector<PageRun>& runs, const Sink& sink) {
  std::vector<char> buffer(kChunkBytes);
  std::vector<iovec> remote;
  PageCursor cursor(runs);
  while (!cursor.done()) {
    const std::size_t bytes = cursor.next(memory, remote);
    iovec local{buffer.data(), bytes};
    const ssize_t got = ::process_vm_readv(memory.pid, &local, 1, remote.data(), remote.size(), 0);
    if (got < 0) return base::errno_error("read guest memory", errno);
    if (static_cast<std::size_t>(got) != bytes)
      return memory_error("guest memory ends early: QEMU unmapped some of it");
    ORKESTR_CHECK(sink(buffer.data(), bytes, remote));
  }
  return {};
}

Result<void> write_at(int fd, const char* bytes, std::size_t count, std::uint64_t offset) {
  while (count > 0) {
    const ssize_t n = ::pwrite(fd, bytes, count, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::errno_error("write guest memory to disk", errno);
    bytes += n;
    count -= static_cast<std::size_t>(n);
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<void> read_all(int fd, void* into, std::size_t count, std::uint64_t offset) {
  auto* bytes = static_cast<char*>(into);
  while (count > 0) {
    const ssize_t n = ::pread(fd, bytes, count, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::errno_error("read saved guest memory", errno);
    if (n == 0) return Error(ErrorCode::snapshot_incompatible, "the file of the saved memory is cut short");
    bytes += n;
    count -= static_cast<std::size_t>(n);
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

bool is_zero_page(const char* page) { return page[0] == 0 && std::memcmp(page, page + 1, kPageBytes - 1) == 0; }

// The file of save_pages(): this, the runs as they are in memory, then the pages. Written and read on one machine only.
struct PagesHeader {
  std::array<char, 8> magic{'O', 'R', 'K', 'P', 'A', 'G', 'E', '1'};
  std::uint64_t runs = 0;
  std::uint64_t pages = 0;
};

// Pages that are together in the file and go to QEMU in one call.
struct Piece {
  std::uint64_t offset = 0;  // in the file
  std::size_t bytes = 0;
  std::vector<iovec> remote;
};

std::vector<Piece> pieces_of(const GuestMemory& memory, const std::vector<PageRun>& runs, std::uint64_t offset) {
  std::vector<Piece> pieces;
  PageCursor cursor(runs);
  while (!cursor.done()) {
    Piece piece{offset, 0, {}};
    piece.bytes = cursor.next(memory, piece.remote);
    offset += piece.bytes;
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

Result<void> put(const GuestMemory& memory, const Piece& piece, char* bytes) {
  iovec local{bytes, piece.bytes};
  const ssize_t n = ::process_vm_writev(memory.pid, &local, 1, piece.remote.data(), piece.remote.size(), 0);
  if (n < 0) return base::errno_error("write guest memory", errno);
  if (static_cast<std::size_t>(n) != piece.bytes) {
    return memory_error("guest memory ends early: QEMU unmapped some of it");
  }
  return {};
}

}  // namespace

Result<GuestMemory> find_guest_memory(pid_t pid, int file_fd) {
  struct stat file {};
  if (::fstat(file_fd, &file) != 0) return base::errno_error("stat the memory file", errno);
  ORKESTR_TRY(const std::string maps, base::read_file(fmt::format("/proc/{}/maps", pid), kMaxMapsBytes));
  const auto found = mappings_of(maps, file);
  if (found.size() != 1 || !found[0].is_private || found[0].offset != 0 ||
      found[0].to - found[0].from != static_cast<std::uint64_t>(file.st_size)) {
    return memory_error(
        fmt::format("QEMU maps the memory file in {} pieces where one private mapping of all its {} "
                    "bytes was expected",
                    found.size(), file.st_size));
  }
  return GuestMemory{pid, found[0].from, found[0].to - found[0].from};
}

Result<std::vector<PageRun>> find_private_pages(const GuestMemory& memory) {
  if (memory.bytes > kMaxMemoryBytes) return memory_error("the guest has more memory than any of ours");
  ORKESTR_TRY(const base::UniqueFd pagemap,
              base::open_at(AT_FDCWD, fmt::format("/proc/{}/pagemap", memory.pid), O_RDONLY));
  const std::uint64_t pages = memory.bytes / kPageBytes;
  std::vector<std::uint64_t> entries(1U << 15U);
  std::vector<PageRun> runs;
  for (std::uint64_t at = 0; at < pages; at += entries.size()) {
    const std::size_t count = std::min<std::uint64_t>(entries.size(), pages - at);
    ORKESTR_CHECK(read_all(pagemap.get(), entries.data(), count * sizeof(std::uint64_t),
                           (memory.address / kPageBytes + at) * sizeof(std::uint64_t)));
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t entry = entries[i];
      const bool anonymous = (entry & kPresent) != 0 && (entry & kFileOrShared) == 0;
      if (!anonymous && (entry & kSwapped) == 0) continue;
      if (!runs.empty() && runs.back().first + runs.back().count == at + i) {
        ++runs.back().count;
      } else {
        runs.push_back({at + i, 1});
      }
    }
  }
  return runs;
}

Result<void> save_in_place(const GuestMemory& memory, const std::vector<PageRun>& runs, int fd) {
  if (::ftruncate(fd, static_cast<off_t>(memory.bytes)) != 0) return base::errno_error("size the memory file", errno);
  return read_pages(memory, runs, [&](const char* bytes, std::size_t, const std::vector<iovec>& from) -> Result<void> {
    for (const iovec& part : from) {
      const std::uint64_t offset = reinterpret_cast<std::uint64_t>(part.iov_base) - memory.address;
      // Neighbours that are not all zero go together.
      std::size_t at = 0;
      while (at < part.iov_len) {
        std::size_t end = at;
        while (end < part.iov_len && !is_zero_page(bytes + end)) end += kPageBytes;
        if (end > at) ORKESTR_CHECK(write_at(fd, bytes + at, end - at, offset + at));
        at = end + kPageBytes;
      }
      bytes += part.iov_len;
    }
    return {};
  });
}

Result<SavedPages> save_pages(const GuestMemory& memory, const std::vector<PageRun>& runs, int fd) {
  base::Checksum sum;
  std::uint64_t at = 0;
  auto append = [&](const void* bytes, std::size_t count) -> Result<void> {
    sum.add(bytes, count);
    ORKESTR_CHECK(write_at(fd, static_cast<const char*>(bytes), count, at));
    at += count;
    return {};
  };
  PagesHeader header;
  header.runs = runs.size();
  header.pages = count_pages(runs);
  ORKESTR_CHECK(append(&header, sizeof header));
  ORKESTR_CHECK(append(runs.data(), runs.size() * sizeof(PageRun)));
  ORKESTR_CHECK(read_pages(memory, runs, [&](const char* bytes, std::size_t count, const std::vector<iovec>&) {
    return append(bytes, count);
  }));
  return SavedPages{header.pages, sum.hex()};
}

Result<void> load_pages(const GuestMemory& memory, int fd, const std::string& checksum) {
  const auto damaged = [](std::string_view what) {
    return Error(ErrorCode::snapshot_incompatible, fmt::format("the file of the saved memory is damaged: {}", what));
  };
  base::Checksum sum;
  PagesHeader header;
  ORKESTR_CHECK(read_all(fd, &header, sizeof header, 0));
  sum.add(&header, sizeof header);
  const std::uint64_t limit = memory.bytes / kPageBytes;
  if (header.magic != PagesHeader{}.magic) return damaged("it is none");
  if (header.runs > limit || header.pages > limit) return damaged("it counts more pages than the guest has");
  std::vector<PageRun> runs(header.runs);
  ORKESTR_CHECK(read_all(fd, runs.data(), runs.size() * sizeof(PageRun), sizeof header));
  sum.add(runs.data(), runs.size() * sizeof(PageRun));
  std::uint64_t next = 0;
  for (const PageRun& run : runs) {
    if (run.count == 0 || run.first < next || run.count > limit || run.first > limit - run.count) {
      return damaged("its table of pages is out of order");
    }
    next = run.first + run.count;
  }
  if (count_pages(runs) != header.pages) return damaged("its table of pages does not add up");

  const std::vector<Piece> pieces = pieces_of(memory, runs, sizeof header + runs.size() * sizeof(PageRun));
  // Two at it: most of the time is the kernel's, which gives each page to QEMU.
  const std::size_t half = pieces.size() / 2;
  Result<void> rest;
  std::optional<std::jthread> helper;
  if (header.pages > kPagesWorthAThread) {
    helper.emplace([&] {
      std::vector<char> buffer(kChunkBytes);
      for (std::size_t i = half; i < pieces.size() && rest; ++i) {
        rest = read_all(fd, buffer.data(), pieces[i].bytes, pieces[i].offset);
        if (rest) rest = put(memory, pieces[i], buffer.data());
      }
    });
  }
  std::vector<char> buffer(kChunkBytes);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    ORKESTR_CHECK(read_all(fd, buffer.data(), pieces[i].bytes, pieces[i].offset));
    sum.add(buffer.data(), pieces[i].bytes);
    if (!helper || i < half) ORKESTR_CHECK(put(memory, pieces[i], buffer.data()));
  }
  if (helper) helper->join();
  if (!rest) return rest;
  if (sum.hex() != checksum) return damaged("its checksum is another one");
  return {};
}

}  // namespace orkestr::vm
