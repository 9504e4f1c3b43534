// Guest memory, with a child process in QEMU's place that maps a file privately and writes to some of it.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "base/checksum.hpp"
#include "base/system.hpp"
#include "vm/guest_memory.hpp"
#include "vm_test_support.hpp"

using namespace orkestr;
using namespace orkestr::vm;
using namespace orkestr::vm::test;

namespace {

constexpr std::size_t kPage = kPageBytes;

// Each page another content, none of it zeros.
std::string page_of(int number) {
  std::string page(kPage, '\0');
  for (std::size_t i = 0; i < kPage; ++i) page[i] = static_cast<char>(1 + (number * 7 + static_cast<int>(i)) % 251);
  return page;
}

// A stopped guest: the file it maps has 'f' everywhere unless it is of zeros.
class Guest {
 public:
  using Body = std::function<void(char* memory)>;

  Guest(int pages, const Body& body, char filler = 'f') : pages_(pages) {
    file_ = std::move(*base::make_unnamed_file(dir_.path));
    if (filler == '\0') {
      REQUIRE(::ftruncate(file_.get(), static_cast<off_t>(bytes())) == 0);
    } else {
      REQUIRE(base::write_all(file_.get(), std::string(bytes(), filler)));
    }
    auto ready = base::make_pipe();
    REQUIRE(ready);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      void* memory = ::mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE, file_.get(), 0);
      if (memory != MAP_FAILED) {
        body(static_cast<char*>(memory));
        (void)!::write(ready->second.get(), "x", 1);
      }
      while (true) ::pause();
    }
    ready->second.reset();
    char c = 0;
    REQUIRE(::read(ready->first.get(), &c, 1) == 1);
  }
  ~Guest() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  std::size_t bytes() const { return static_cast<std::size_t>(pages_) * kPage; }
  pid_t pid() const { return pid_; }
  int file() const { return file_.get(); }
  Result<GuestMemory> find() const { return find_guest_memory(pid_, file_.get()); }
  GuestMemory memory() const {
    auto found = find();
    REQUIRE_MESSAGE(found, (found ? "" : found.error().message()));
    return *found;
  }
  std::vector<PageRun> runs() const {
    auto found = find_private_pages(memory());
    REQUIRE(found);
    return *found;
  }
  std::string content() const {
    const auto guest = memory();
    std::string all(bytes(), '\0');
    iovec local{all.data(), all.size()};
    iovec remote{reinterpret_cast<void*>(guest.address), all.size()};
    REQUIRE(::process_vm_readv(pid_, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(all.size()));
    return all;
  }

 private:
  const int pages_;
  TemporaryDirectory dir_;
  base::UniqueFd file_;
  pid_t pid_ = -1;
};

void put_page(char* memory, int number) {
  const std::string page = page_of(number);
  std::memcpy(memory + static_cast<std::size_t>(number) * kPage, page.data(), kPage);
}

std::vector<std::pair<std::uint64_t, std::uint64_t>> plain(const std::vector<PageRun>& runs) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> pairs;
  for (const PageRun& run : runs) pairs.emplace_back(run.first, run.count);
  return pairs;
}

std::string all_of(int fd) {
  struct stat s {};
  REQUIRE(::fstat(fd, &s) == 0);
  std::string all(static_cast<std::size_t>(s.st_size), '\0');
  REQUIRE(::pread(fd, all.data(), all.size(), 0) == s.st_size);
  return all;
}

// A file of saved pages as a string, and its way back into a fresh guest.
struct Saved {
  std::string bytes;
  std::string checksum;
};

Saved save(const Guest& guest) {
  TemporaryDirectory dir;
  auto file = base::make_unnamed_file(dir.path);
  REQUIRE(file);
  const auto runs = guest.runs();
  auto saved = save_pages(guest.memory(), runs, file->get());
  REQUIRE(saved);
  std::uint64_t pages = 0;
  for (const PageRun& run : runs) pages += run.count;
  CHECK(saved->pages == pages);
  return {all_of(file->get()), saved->checksum};
}

Result<void> load(const Guest& guest, const Saved& saved) {
  TemporaryDirectory dir;
  auto file = base::make_unnamed_file(dir.path);
  REQUIRE(file);
  REQUIRE(base::write_all(file->get(), saved.bytes));
  return load_pages(guest.memory(), file->get(), saved.checksum);
}

std::string checksum_of(const std::string& bytes) {
  base::Checksum sum;
  sum.add(bytes.data(), bytes.size());
  return sum.hex();
}

// The file as PagesHeader and PageRun lay it out.
std::string number(std::uint64_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }
Saved crafted(std::uint64_t runs, std::uint64_t pages, const std::vector<PageRun>& table, std::size_t content_pages) {
  Saved saved;
  saved.bytes = "ORKPAGE1" + number(runs) + number(pages);
  for (const PageRun& run : table) saved.bytes += number(run.first) + number(run.count);
  saved.bytes += std::string(content_pages * kPage, 'c');
  saved.checksum = checksum_of(saved.bytes);
  return saved;
}

void is_refused(const Guest& guest, const Saved& saved, const std::string& why) {
  CAPTURE(why);
  const auto loaded = load(guest, saved);
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code() == ErrorCode::snapshot_incompatible);
  CHECK_MESSAGE(loaded.error().message().find(why) != std::string::npos, loaded.error().message());
}

const auto kNothing = [](char*) {};

}  // namespace

TEST_CASE("guest memory: what a guest wrote is found, and what it only read is not") {
  Guest guest(16, [](char* memory) {
    volatile char sum = 0;
    for (std::size_t i = 0; i < 16; ++i) sum = static_cast<char>(sum + memory[i * kPage]);
    for (const int page : {0, 3, 4, 5, 15}) put_page(memory, page);
    memory[9 * kPage + 17] = 'f';  // the same byte: written all the same
  });
  CHECK(plain(guest.runs()) == std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0, 1}, {3, 3}, {9, 1}, {15, 1}});
  Guest untouched(16, kNothing);
  CHECK(untouched.runs().empty());
}

TEST_CASE("guest memory: only one private mapping of the whole file will do") {
  const auto refused = [](const Guest& guest) {
    const auto found = guest.find();
    REQUIRE_FALSE(found);
    CHECK(found.error().code() == ErrorCode::vm_failed);
    CHECK(found.error().message().find("one private mapping") != std::string::npos);
  };
  refused(Guest(8, [](char* memory) { ::munmap(memory + 3 * kPage, kPage); }));               // two pieces
  refused(Guest(8, [](char* memory) { ::mprotect(memory + 3 * kPage, kPage, PROT_READ); }));  // three
  refused(Guest(8, [](char* memory) { ::munmap(memory, 8 * kPage); }));
  refused(Guest(8, [](char* memory) { ::munmap(memory + 7 * kPage, kPage); }));
  // Its memory replaced by another file's, or by nobody's.
  refused(Guest(8, [](char* memory) {
    ::mmap(memory, 8 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  }));
  Guest moved(8, [](char* memory) {
    if (::mremap(memory, 8 * kPage, 8 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, memory + (64U << 20U)) == MAP_FAILED)
      ::_exit(1);
  });
  CHECK(moved.find().ok());
  {
    // Shared: what it wrote would be everybody's.
    TemporaryDirectory dir;
    auto file = base::make_unnamed_file(dir.path);
    REQUIRE(file);
    REQUIRE(::ftruncate(file->get(), 8 * kPage) == 0);
    void* memory = ::mmap(nullptr, 8 * kPage, PROT_READ, MAP_SHARED, file->get(), 0);
    REQUIRE(memory != MAP_FAILED);
    CHECK_FALSE(find_guest_memory(::getpid(), file->get()).ok());
    ::munmap(memory, 8 * kPage);
  }
  Guest ended(8, kNothing);
  ::kill(ended.pid(), SIGKILL);
  CHECK_FALSE(find_guest_memory(0x7FFFFFFF, ended.file()).ok());
}

TEST_CASE("guest memory: saved in place it is the memory, and zeros take no room") {
  Guest guest(
      600,
      [](char* memory) {
        for (const int page : {1, 2, 300, 599}) put_page(memory, page);
        for (int page = 100; page < 200; ++page) memory[static_cast<std::size_t>(page) * kPage] = 0;  // written, zeros
      },
      '\0');
  TemporaryDirectory dir;
  auto file = base::make_unnamed_file(dir.path);
  REQUIRE(file);
  const auto runs = guest.runs();
  CHECK(runs.size() == 4);
  REQUIRE(save_in_place(guest.memory(), runs, file->get()));
  CHECK(all_of(file->get()) == guest.content());
  struct stat s {};
  REQUIRE(::fstat(file->get(), &s) == 0);
  CHECK(s.st_size == static_cast<off_t>(guest.bytes()));
  CHECK(s.st_blocks * 512 <= 16 * static_cast<off_t>(kPage));
}

TEST_CASE("guest memory: saved pages go back to where they were") {
  // More runs than one system call takes, and a run longer than one buffer.
  const auto body = [](char* memory) {
    for (int page = 0; page < 3000; page += 2) put_page(memory, page);
    for (int page = 3000; page < 3600; ++page) put_page(memory, page);
  };
  Guest guest(4000, body);
  const Saved saved = save(guest);
  CHECK(saved.checksum == checksum_of(saved.bytes));
  Guest fresh(4000, kNothing);
  const auto loaded = load(fresh, saved);
  REQUIRE_MESSAGE(loaded, (loaded ? "" : loaded.error().message()));
  CHECK(fresh.content() == guest.content());
  CHECK(plain(fresh.runs()) == plain(guest.runs()));
  // A guest that changed nothing has a file, too.
  Guest untouched(16, kNothing);
  const Saved nothing = save(untouched);
  CHECK(load(untouched, nothing).ok());
  CHECK(untouched.runs().empty());
}

TEST_CASE("guest memory: a file of saved pages that was cut or changed anywhere is refused") {
  Guest guest(64, [](char* memory) {
    for (const int page : {2, 3, 20, 40, 41, 42}) put_page(memory, page);
  });
  const Saved good = save(guest);
  Guest fresh(64, kNothing);
  REQUIRE(load(fresh, good).ok());
  const std::size_t head = 24 + 3 * 16;  // header and table
  REQUIRE(good.bytes.size() == head + 6 * kPage);
  for (const std::size_t length : {std::size_t{0}, std::size_t{7}, std::size_t{23}, std::size_t{24}, head - 1, head,
                                   head + 1, good.bytes.size() - 1}) {
    Saved cut = good;
    cut.bytes.resize(length);
    is_refused(fresh, cut, "cut short");
  }
  for (std::size_t at = 0; at < good.bytes.size(); at += at < head ? 1 : 509) {
    CAPTURE(at);
    Saved flipped = good;
    flipped.bytes[at] = static_cast<char>(flipped.bytes[at] ^ 0x10);
    const auto loaded = load(fresh, flipped);
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().code() == ErrorCode::snapshot_incompatible);
  }
  Saved other = good;
  other.checksum = std::string(32, '0');
  is_refused(fresh, other, "its checksum is another one");
}

TEST_CASE("guest memory: a table of pages that cannot be is refused, whatever the checksum says") {
  Guest guest(64, kNothing);
  REQUIRE(load(guest, crafted(2, 3, {{1, 2}, {10, 1}}, 3)).ok());
  REQUIRE(load(guest, crafted(2, 3, {{1, 2}, {3, 1}}, 3)).ok());
  is_refused(guest, crafted(2, 3, {{10, 1}, {1, 2}}, 3), "out of order");
  is_refused(guest, crafted(2, 4, {{1, 2}, {2, 2}}, 4), "out of order");
  is_refused(guest, crafted(1, 0, {{1, 0}}, 0), "out of order");
  is_refused(guest, crafted(1, 1, {{64, 1}}, 1), "out of order");
  is_refused(guest, crafted(1, 2, {{63, 2}}, 2), "out of order");
  is_refused(guest, crafted(1, 2, {{~std::uint64_t{0}, 2}}, 2), "out of order");
  is_refused(guest, crafted(1, 1, {{1, ~std::uint64_t{0}}}, 1), "out of order");
  is_refused(guest, crafted(1, 65, {{0, 65}}, 65), "more pages than the guest has");
  is_refused(guest, crafted(65, 65, std::vector<PageRun>(65, {0, 1}), 65), "more pages than the guest has");
  is_refused(guest, crafted(~std::uint64_t{0}, 1, {{0, 1}}, 1), "more pages than the guest has");
  is_refused(guest, crafted(1, 3, {{0, 2}}, 3), "does not add up");
  Saved none = crafted(1, 1, {{0, 1}}, 1);
  none.bytes[0] = 'X';
  none.checksum = checksum_of(none.bytes);
  is_refused(guest, none, "it is none");
}
