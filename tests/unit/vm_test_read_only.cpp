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

TEST_CASE("in the jail, nothing changes a shared file") {
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
  struct stat before {};
  REQUIRE(::stat(paths[0].c_str(), &before) == 0);

  JailConfig jail;
  jail.argv = {program};
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
  }
  auto probe = start_jailed(jail);
  REQUIRE_MESSAGE(probe, (probe ? "" : probe.error().message()));
  const std::string said = read_to_end(probe->stderr_fd.get());
  REQUIRE_MESSAGE(said.ends_with("done\n"), said);
  const bool owner = !probe->report.find("own uid")->applied;
  const bool walled = probe->report.find("landlock") != nullptr && probe->report.find("landlock")->applied;

  int tried = 0;
  std::set<std::string> worked;
  std::istringstream lines(said);
  for (std::string line; std::getline(lines, line);) {
    tried += line != "done";
    // The descriptor's number is in front.
    if (line.ends_with(": WORKED")) worked.insert(line.substr(2, line.size() - 10));
  }
  CHECK(tried == 4 * 34);
  std::set<std::string> harmless = {"map privately (which changes nothing)"};
  if (owner && !walled) {
    MESSAGE("not run as root and without Landlock: the files' owner can change their mode; ",
            probe->report.to_string());
    harmless.merge(std::set<std::string>{"fchmod", "chmod", "chmod by name", "open again after chmod", "times",
                                         "rename", "unlink", "link", "make a file beside it"});
  } else if (owner) {
    // Landlock leaves an owner the mode and the times of his files; writing it does not.
    harmless.merge(std::set<std::string>{"fchmod", "chmod", "chmod by name", "times", "flags"});
  }
  for (const auto& way : worked) CHECK_MESSAGE(harmless.count(way) == 1, way, " worked\n", said);
  if (owner && !walled) return;
  for (const auto& path : paths) {
    CAPTURE(path);
    CHECK(*base::read_file(path) == content);
  }
  if (owner) return;
  struct stat after {};
  REQUIRE(::stat(paths[0].c_str(), &after) == 0);
  CHECK(after.st_mode == before.st_mode);
  CHECK(after.st_ino == before.st_ino);
  CHECK(after.st_mtim.tv_sec == before.st_mtim.tv_sec);
  CHECK(after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
  CHECK(*base::list_directory(dir.path) ==
        std::vector<std::string>{"base.erofs", "layer.qcow2", "memory", "probe", "scratch.raw", "uids"});
}
