// Files: atomic writes, trees, locks, copies.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base_test_support.hpp"

using namespace orkestr;
using namespace orkestr::base;
using orkestr::base_test::in_child;
using orkestr::base_test::must;
using orkestr::base_test::TempDir;

namespace {

struct stat stat_of(const std::string& path) {
  struct stat info {};
  REQUIRE(::lstat(path.c_str(), &info) == 0);
  return info;
}

void touch(const std::string& path, std::string_view content = "x") { must(write_file_atomic(path, content)); }

UniqueFd open_rw(const std::string& path) { return must(open_at(AT_FDCWD, path, O_RDWR | O_CREAT, 0600)); }

std::string read_fd(int fd) { return must(read_file("/proc/self/fd/" + std::to_string(fd), 64U << 20U)); }

}  // namespace

TEST_CASE("read_file: content, the cap, and files without a size") {
  TempDir dir;
  touch(dir / "a", "0123456789");
  CHECK(must(read_file(dir / "a")) == "0123456789");
  CHECK(must(read_file(dir / "a", 10)).size() == 10);
  auto error = read_file(dir / "a", 9).error();
  CHECK(error.message() == "read " + (dir / "a") + ": longer than the 9 bytes it may have");
  CHECK(must(read_file("/proc/self/status")).find("Pid:") != std::string::npos);
  CHECK_FALSE(read_file("/proc/self/status", 10).ok());
  CHECK_FALSE(read_file("/dev/zero", 100000).ok());
  CHECK(must(read_file("/dev/null")).empty());
  CHECK(read_file(dir / "none").error().code() == ErrorCode::file_not_found);
  CHECK(read_file(dir.path()).error().code() == ErrorCode::is_a_directory);
  auto fd = must(open_at(AT_FDCWD, dir.path(), O_RDONLY | O_DIRECTORY));
  CHECK(must(read_file_at(fd.get(), "a", 100)) == "0123456789");
  CHECK((::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
  std::string big(300'000, 'q');
  touch(dir / "big", big);
  CHECK(must(read_file(dir / "big")) == big);
}

TEST_CASE("write_file_atomic: mode, replacement, nothing left behind") {
  TempDir dir;
  mode_t old_mask = ::umask(0077);
  must(write_file_atomic(dir / "a", "one", 0444));
  ::umask(old_mask);
  CHECK((stat_of(dir / "a").st_mode & 07777) == 0444);  // exact, whatever the umask
  must(write_file_atomic(dir / "a", "two"));
  CHECK(must(read_file(dir / "a")) == "two");
  CHECK((stat_of(dir / "a").st_mode & 07777) == 0600);

  must(make_directories(dir / "sub"));
  auto fd = must(open_at(AT_FDCWD, dir.path(), O_RDONLY | O_DIRECTORY));
  must(write_file_atomic_at(fd.get(), "sub/b", "three"));
  CHECK(must(read_file(dir / "sub/b")) == "three");
  must(write_file_atomic(dir / std::string(255, 'n'), "the longest name"));

  CHECK(write_file_atomic(dir / "none/x", "y").error().code() == ErrorCode::file_not_found);
  CHECK(write_file_atomic(dir / "sub", "y").error().code() == ErrorCode::is_a_directory);  // fails at the rename
  CHECK(write_file_atomic(dir / "sub/", "y").error().code() == ErrorCode::invalid_argument);
  CHECK(must(list_directory(dir.path())) == std::vector<std::string>{"a", std::string(255, 'n'), "sub"});

  // A link is replaced, not followed.
  touch(dir / "outside", "keep");
  REQUIRE(::symlink((dir / "outside").c_str(), (dir / "link").c_str()) == 0);
  must(write_file_atomic(dir / "link", "new"));
  CHECK(must(read_file(dir / "outside")) == "keep");
  CHECK(S_ISREG(stat_of(dir / "link").st_mode));
}

TEST_CASE("write_file_atomic: a reader never sees a mixture") {
  TempDir dir;
  std::string a(20'000, 'a');
  std::string b(30'000, 'b');
  touch(dir / "f", a);
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; i < 40; ++i) touch(dir / "f", i % 2 == 0 ? b : a);
    done = true;
  });
  int mixed = 0;
  while (!done) {
    auto seen = must(read_file(dir / "f"));
    if (seen != a && seen != b) ++mixed;
  }
  writer.join();
  CHECK(mixed == 0);
}

TEST_CASE("make_directories") {
  TempDir dir;
  must(make_directories(dir / "a/b//c/./d/", 0750));
  CHECK((stat_of(dir / "a/b/c/d").st_mode & 07777) == 0750);
  must(make_directories(dir / "a/b"));
  CHECK((stat_of(dir / "a/b").st_mode & 07777) == 0750);  // existing ones keep theirs
  touch(dir / "file");
  CHECK(make_directories(dir / "file").error().code() == ErrorCode::not_a_directory);
  CHECK(make_directories(dir / "file/x").error().code() == ErrorCode::not_a_directory);
  CHECK(make_directories("").error().code() == ErrorCode::invalid_argument);
  must(make_directories("/"));
  REQUIRE(::symlink("a", (dir / "link").c_str()) == 0);
  must(make_directories(dir / "link/new"));
  CHECK(exists(dir / "a/new"));
}

TEST_CASE("list_directory and exists") {
  TempDir dir;
  for (const char* name : {"b", "a", ".hidden", "C"}) touch(dir / name);
  CHECK(must(list_directory(dir.path())) == std::vector<std::string>{".hidden", "C", "a", "b"});
  CHECK(list_directory(dir / "a").error().code() == ErrorCode::not_a_directory);
  CHECK(list_directory(dir / "none").error().code() == ErrorCode::file_not_found);
  CHECK(exists(dir / "a"));
  CHECK_FALSE(exists(dir / "none"));
  REQUIRE(::symlink("none", (dir / "dangling").c_str()) == 0);
  CHECK(exists(dir / "dangling"));  // the name is taken
}

TEST_CASE("remove_tree: links are removed, what they name stays") {
  TempDir dir;
  must(make_directories(dir / "outside"));
  touch(dir / "outside/precious");
  must(make_directories(dir / "tree/sub/deep"));
  touch(dir / "tree/sub/file");
  touch(dir / "tree/.hidden");
  REQUIRE(::symlink((dir / "outside").c_str(), (dir / "tree/link").c_str()) == 0);
  REQUIRE(::symlink("../../outside", (dir / "tree/sub/relative").c_str()) == 0);
  REQUIRE(::symlink("loop", (dir / "tree/loop").c_str()) == 0);
  REQUIRE(::mkfifo((dir / "tree/fifo").c_str(), 0600) == 0);
  must(remove_tree(dir / "tree"));
  CHECK_FALSE(exists(dir / "tree"));
  CHECK(exists(dir / "outside/precious"));

  REQUIRE(::symlink("outside", (dir / "link").c_str()) == 0);
  must(remove_tree(dir / "link/"));  // with a slash rm and rmdir would look behind the link
  CHECK_FALSE(exists(dir / "link"));
  CHECK(exists(dir / "outside/precious"));

  must(remove_tree(dir / "outside/precious"));
  CHECK_FALSE(exists(dir / "outside/precious"));
  must(remove_tree(dir / "missing"));
  must(remove_tree(dir / "missing/below"));
}

TEST_CASE("remove_tree: paths that cannot be meant") {
  TempDir dir;
  touch(dir / "keep");
  for (const std::string& path : {std::string(), std::string("/"), std::string("//"), std::string("."),
                                  std::string(".."), dir / ".", dir / "..", dir / "x/../"}) {
    CAPTURE(path);
    CHECK(remove_tree(path).error().code() == ErrorCode::invalid_argument);
  }
  CHECK(exists(dir / "keep"));
  CHECK(remove_tree(dir / "keep/x").error().code() == ErrorCode::not_a_directory);
}

TEST_CASE("remove_tree: deeper than the descriptors it may use, wide, and read-only") {
  TempDir dir;
  must(make_directories(dir / "tree"));
  auto at = must(open_at(AT_FDCWD, dir / "tree", O_RDONLY | O_DIRECTORY));
  std::string name(200, 'd');  // 300 levels of it are far beyond PATH_MAX
  for (int i = 0; i < 300; ++i) {
    REQUIRE(::mkdirat(at.get(), name.c_str(), 0700) == 0);
    REQUIRE(::mkdirat(at.get(), "side", 0700) == 0);
    at = must(open_at(at.get(), name, O_RDONLY | O_DIRECTORY));
  }
  at.reset();
  must(make_directories(dir / "tree/wide"));
  for (int i = 0; i < 300; ++i)
    REQUIRE(::mknod((dir / ("tree/wide/" + std::to_string(i))).c_str(), S_IFREG | 0600, 0) == 0);
  REQUIRE(::chmod((dir / "tree/wide").c_str(), 0500) == 0);
  CHECK(in_child([&] {
    rlimit few{128, 128};
    return ::setrlimit(RLIMIT_NOFILE, &few) == 0 && remove_tree(dir / "tree").ok();
  }));
  CHECK_FALSE(exists(dir / "tree"));
}

TEST_CASE("remove_tree: a bind mount inside is refused and not emptied" * doctest::skip(::geteuid() != 0)) {
  TempDir dir;
  must(make_directories(dir / "outside"));
  touch(dir / "outside/precious");
  must(make_directories(dir / "tree/mnt"));
  CHECK(in_child([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount((dir / "outside").c_str(), (dir / "tree/mnt").c_str(), nullptr, MS_BIND, nullptr) != 0) {
      ::_exit(7);
    }
    auto result = remove_tree(dir / "tree");
    return !result.ok() && result.error().message().find("mount point") != std::string::npos;
  }));
  CHECK(exists(dir / "outside/precious"));
}

TEST_CASE("kernels without openat2 and copy_file_range: the same results by older calls") {
  TempDir dir;
  must(make_directories(dir / "outside"));
  touch(dir / "outside/precious");
  must(make_directories(dir / "tree/sub"));
  REQUIRE(::symlink((dir / "outside").c_str(), (dir / "tree/sub/link").c_str()) == 0);
  std::string content = random_bytes(2'500'000);
  touch(dir / "from", content);
  CHECK(in_child([&] {
    base_test::deny_system_calls({SYS_openat2, SYS_copy_file_range});
    auto from = open_at(AT_FDCWD, dir / "from", O_RDONLY);
    auto to = open_at(AT_FDCWD, dir / "to", O_RDWR | O_CREAT, 0600);
    return remove_tree(dir / "tree").ok() && from.ok() && to.ok() && copy_file_contents(from->get(), to->get()).ok();
  }));
  CHECK_FALSE(exists(dir / "tree"));
  CHECK(exists(dir / "outside/precious"));
  CHECK(must(read_file(dir / "to")) == content);
}

TEST_CASE("make_unnamed_file: no name, can be linked, says so where it cannot be") {
  TempDir dir;
  auto file = must(make_unnamed_file(dir.path()));
  CHECK(must(list_directory(dir.path())).empty());
  must(write_all(file.get(), "disk"));
  std::string self = "/proc/self/fd/" + std::to_string(file.get());
  CHECK(::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, (dir / "named").c_str(), AT_SYMLINK_FOLLOW) == 0);
  CHECK(must(read_file(dir / "named")) == "disk");
  CHECK(make_unnamed_file(dir / "none").error().code() == ErrorCode::file_not_found);
  if (::geteuid() != 0) return;                     // others may not write there in the first place
  auto error = make_unnamed_file("/proc").error();  // a file system without O_TMPFILE
  CHECK(error.code() == ErrorCode::not_supported);
  CHECK(error.message().find("ORKESTR_HOME") != std::string::npos);
}

TEST_CASE("copy_file_contents: bytes, holes, other file systems") {
  TempDir dir;
  std::string content = random_bytes(3'000'001);
  touch(dir / "from", content);
  auto from = must(open_at(AT_FDCWD, dir / "from", O_RDONLY));
  REQUIRE(::lseek(from.get(), 1234, SEEK_SET) == 1234);  // the offset of the descriptor plays no part
  auto to = open_rw(dir / "to");
  must(copy_file_contents(from.get(), to.get()));
  CHECK(read_fd(to.get()) == content);

  SUBCASE("over longer content") {
    auto longer = open_rw(dir / "longer");
    must(write_all(longer.get(), std::string(3'000'005, 'z')));
    must(copy_file_contents(from.get(), longer.get()));
    CHECK(read_fd(longer.get()) == content + "zzzz");
  }
  SUBCASE("holes stay holes, at the end too") {
    auto sparse = open_rw(dir / "sparse");
    REQUIRE(::pwrite(sparse.get(), "mid", 3, 8 << 20) == 3);
    REQUIRE(::ftruncate(sparse.get(), 64 << 20) == 0);
    auto copy = open_rw(dir / "copy");
    must(copy_file_contents(sparse.get(), copy.get()));
    auto info = stat_of(dir / "copy");
    CHECK(info.st_size == 64 << 20);
    CHECK(info.st_blocks * 512 < 1 << 20);
    CHECK(read_fd(copy.get()) == read_fd(sparse.get()));
    // Into a file that has content a hole must become zeros.
    auto dirty = open_rw(dir / "dirty");
    must(write_all(dirty.get(), std::string(100, 'z')));
    must(copy_file_contents(sparse.get(), dirty.get()));
    CHECK(read_fd(dirty.get()) == read_fd(sparse.get()));
  }
  SUBCASE("files whose size is not known") {
    auto proc = must(open_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", O_RDONLY));
    auto copy = open_rw(dir / "boot");
    must(copy_file_contents(proc.get(), copy.get()));
    CHECK(read_fd(copy.get()) == boot_id() + "\n");
  }
  SUBCASE("across file systems") {
    auto memory = UniqueFd(::memfd_create("copy", MFD_CLOEXEC));
    must(copy_file_contents(from.get(), memory.get()));
    CHECK(read_fd(memory.get()) == content);
  }
  SUBCASE("errors") {
    auto read_only = must(open_at(AT_FDCWD, dir / "to", O_RDONLY));
    CHECK_FALSE(copy_file_contents(from.get(), read_only.get()).ok());
    CHECK_FALSE(copy_file_contents(-1, to.get()).ok());
  }
  SUBCASE("an empty file") {
    auto empty = open_rw(dir / "empty");
    auto copy = open_rw(dir / "copy");
    must(copy_file_contents(empty.get(), copy.get()));
    CHECK(read_fd(copy.get()).empty());
  }
}

TEST_CASE("write_all: more than a pipe holds") {
  auto [read_end, write_end] = must(make_pipe());
  std::string content = random_bytes(1'000'000);
  std::string seen;
  std::thread reader([&, fd = read_end.get()] {
    char buffer[4096];
    for (ssize_t n; (n = ::read(fd, buffer, sizeof buffer)) > 0;) seen.append(buffer, static_cast<std::size_t>(n));
  });
  must(write_all(write_end.get(), content));
  write_end.reset();
  reader.join();
  CHECK(seen == content);
}

TEST_CASE("locks: two open files in one process are strangers") {
  TempDir dir;
  auto a = open_rw(dir / "lock");
  auto b = open_rw(dir / "lock");
  CHECK(must(try_lock_byte(a.get(), 0, LockKind::write)));
  CHECK(must(try_lock_byte(a.get(), 0, LockKind::write)));  // its own lock again
  CHECK_FALSE(must(try_lock_byte(b.get(), 0, LockKind::write)));
  CHECK_FALSE(must(try_lock_byte(b.get(), 0, LockKind::read)));
  CHECK(must(try_lock_byte(b.get(), 1, LockKind::write)));  // bytes are independent
  CHECK(must(is_byte_locked(b.get(), 0)));
  CHECK_FALSE(must(is_byte_locked(a.get(), 0)));  // one's own does not count
  CHECK(must(is_byte_locked(a.get(), 1)));
  CHECK_FALSE(must(is_byte_locked(a.get(), 2)));
  must(unlock_byte(a.get(), 0));
  CHECK(must(try_lock_byte(b.get(), 0, LockKind::write)));
  must(unlock_byte(b.get(), 7));  // never held

  CHECK(must(try_lock_byte(a.get(), 5, LockKind::read)));
  CHECK(must(try_lock_byte(b.get(), 5, LockKind::read)));
  CHECK(must(is_byte_locked(a.get(), 5, LockKind::write)));
  CHECK_FALSE(must(is_byte_locked(a.get(), 5, LockKind::read)));
  CHECK_FALSE(must(try_lock_byte(a.get(), 5, LockKind::write)));  // no upgrade while another reads

  auto read_only = must(open_at(AT_FDCWD, dir / "lock", O_RDONLY));
  CHECK(must(try_lock_byte(read_only.get(), 6, LockKind::read)));
  CHECK_FALSE(try_lock_byte(read_only.get(), 6, LockKind::write).ok());
  CHECK_FALSE(try_lock_byte(-1, 0, LockKind::write).ok());
  CHECK_FALSE(is_byte_locked(-1, 0).ok());
}

TEST_CASE("locks: a fork shares the lock, and it lasts as long as any copy") {
  TempDir dir;
  auto a = open_rw(dir / "lock");
  auto other = open_rw(dir / "lock");
  CHECK(must(try_lock_byte(a.get(), 0, LockKind::write)));
  // The copy of the descriptor holds the same lock; a description opened in the child does not.
  CHECK(in_child([&] { return *try_lock_byte(a.get(), 0, LockKind::write); }));
  CHECK(in_child([&] {
    auto mine = open_at(AT_FDCWD, dir / "lock", O_RDWR);
    return !*try_lock_byte(mine->get(), 0, LockKind::write);
  }));
  // The child's exit closed its copies: a POSIX record lock would be gone now.
  CHECK(must(is_byte_locked(other.get(), 0)));

  auto [hold_read, hold_write] = must(make_pipe());
  pid_t holder = ::fork();
  if (holder == 0) {
    char byte;
    hold_write.reset();
    [[maybe_unused]] auto n = ::read(hold_read.get(), &byte, 1);
    ::_exit(0);
  }
  a.reset();
  CHECK(must(is_byte_locked(other.get(), 0)));  // the child's copy still holds it
  hold_write.reset();
  REQUIRE(::waitpid(holder, nullptr, 0) == holder);
  CHECK_FALSE(must(is_byte_locked(other.get(), 0)));
  CHECK(must(try_lock_byte(other.get(), 0, LockKind::write)));
}
