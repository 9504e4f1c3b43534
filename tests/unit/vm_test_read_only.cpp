// Shared files are read-only in fact: a program in QEMU's place, in the same jail with the same descriptors, tries to
// change them in every way there is.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <set>
#include <sstream>

#include "vm/jail.hpp"
#include "vm/shared_files.hpp"
#include "vm_test_support.hpp"

using namespace orkestr;
using namespace orkestr::vm;
using namespace orkestr::vm::test;

namespace {

enum class Owner { somebody_else, the_program };
enum class Walls { with_landlock, without };

// The names of the ways that worked, of the program as the files' owner or not.
void check_ways(Owner owner, Walls walls, std::set<std::string> harmless) {
  TemporaryDirectory dir;
  std::vector<std::string> paths;
  std::vector<SharedFile> files;
  const std::string content(64U << 10U, 's');
  for (const char* name : {"memory", "base.erofs", "scratch.raw", "layer.qcow2"}) {
    paths.push_back(dir.path + "/" + name);
    REQUIRE(base::write_file_atomic(paths.back(), content, 0444));
    auto opened = open_shared_file(paths.back());
    REQUIRE(opened);
    files.push_back(std::move(*opened));
  }
  const std::string program = dir.path + "/probe";
  REQUIRE(base::write_file_atomic(program, *base::read_file(ORKESTR_PROBE), 0755));

  JailConfig jail;
  jail.argv = {program};
  jail.landlock = walls == Walls::with_landlock;
  for (std::size_t i = 0; i < files.size(); ++i) {
    jail.argv.push_back(paths[i]);
    jail.fds.emplace_back(files[i].fd.get(), 3 + static_cast<int>(i));
    jail.read_fds.push_back(files[i].fd.get());
  }
  std::optional<UidLease> uid;
  if (::geteuid() == 0) {
    auto lease = UidLease::acquire(dir.path + "/uids", {});
    REQUIRE(lease);
    jail.uid = lease->uid();
    uid.emplace(std::move(*lease));
    paths.push_back(dir.path);
    for (const auto& path : paths) {
      if (owner == Owner::the_program) REQUIRE(::chown(path.c_str(), *jail.uid, *jail.uid) == 0);
    }
    paths.pop_back();
  }
  struct stat before {};
  REQUIRE(::stat(paths[0].c_str(), &before) == 0);
  auto probe = start_jailed(jail);
  REQUIRE_MESSAGE(probe, (probe ? "" : probe.error().message()));
  const std::string said = read_to_end(probe->stderr_fd.get());
  REQUIRE_MESSAGE(said.ends_with("done\n"), said);
  if (walls == Walls::with_landlock && !probe->report.find("landlock")->applied) {
    MESSAGE("no Landlock here: ", probe->report.to_string());
    harmless.insert("make a file beside it");
  }

  int tried = 0;
  std::istringstream lines(said);
  for (std::string line; std::getline(lines, line);) {
    tried += line != "done";
    if (!line.ends_with(": WORKED")) continue;
    const std::string way = line.substr(2, line.size() - 10);  // the descriptor's number is in front
    CHECK_MESSAGE(harmless.count(way) == 1, way, " worked\n", said);
  }
  CHECK(tried == 4 * 34);
  for (const auto& path : paths) {
    CAPTURE(path);
    CHECK(*base::read_file(path) == content);
  }
  struct stat after {};
  REQUIRE(::stat(paths[0].c_str(), &after) == 0);
  CHECK(after.st_mode == before.st_mode);
  CHECK(after.st_ino == before.st_ino);
  CHECK(after.st_mtim.tv_sec == before.st_mtim.tv_sec);
  CHECK(after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
}

const std::string kPrivateMap = "map privately (which changes nothing)";

}  // namespace

TEST_CASE("in the jail, nothing changes a shared file" * doctest::skip(::geteuid() != 0)) {
  check_ways(Owner::somebody_else, Walls::with_landlock, {kPrivateMap});
  check_ways(Owner::somebody_else, Walls::without, {kPrivateMap});
}

// An ordinary user's QEMU owns the templates that this user has built.
TEST_CASE("in the jail, nothing changes a shared file, even for its owner") {
  check_ways(Owner::the_program, Walls::with_landlock, {kPrivateMap});
}

TEST_CASE("in the jail, nothing changes a shared file, even for its owner on a kernel without Landlock") {
  check_ways(Owner::the_program, Walls::without, {kPrivateMap, "make a file beside it"});
}
