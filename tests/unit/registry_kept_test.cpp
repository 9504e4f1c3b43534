// Files that cannot be linked (here: they have no file system of ours) are copied once for all paused sandboxes.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.hpp"
#include "registry/kept_files.hpp"
#include "registry_support.hpp"

using namespace orkestr;
using namespace orkestr::registry;
using namespace orkestr::registry::testing;

namespace {

namespace fs = std::filesystem;

base::UniqueFd unlinkable(std::string_view content) {
  base::UniqueFd file(::memfd_create("elsewhere", MFD_CLOEXEC));
  REQUIRE(file);
  REQUIRE(base::write_all(file.get(), content));
  return file;
}

std::string content_of(const std::string& path) { return base::read_file(path, 1000).value(); }

}  // namespace

TEST_CASE("what cannot be linked is copied once, and goes when nothing links it") {
  TemporaryState state;
  const std::string home = fs::path(state.sandboxes()).parent_path();
  const auto at = [&](const char* name) { return home + "/" + name; };
  const auto file = unlinkable("a template");
  REQUIRE(link_or_keep(file.get(), home, at("first")));
  REQUIRE(link_or_keep(file.get(), home, at("second")));
  CHECK(content_of(at("first")) == "a template");
  struct stat first {
  }, second{};
  REQUIRE(::stat(at("first").c_str(), &first) == 0);
  REQUIRE(::stat(at("second").c_str(), &second) == 0);
  CHECK(first.st_ino == second.st_ino);
  CHECK((first.st_mode & 07777) == 0444);
  CHECK(find_unlinked(home).value().empty());

  fs::remove(at("first"));
  fs::remove(at("second"));
  const auto unlinked = find_unlinked(home).value();
  REQUIRE(unlinked.size() == 1);

  SUBCASE("another takes its place") {
    const auto newer = unlinkable("another template");
    REQUIRE(link_or_keep(newer.get(), home, at("third")));
    CHECK(content_of(at("third")) == "another template");
    CHECK_FALSE(base::exists(unlinked.front()));
  }
  SUBCASE("the same is used again") {
    REQUIRE(link_or_keep(file.get(), home, at("third")));
    REQUIRE(::stat(at("third").c_str(), &second) == 0);
    CHECK(second.st_ino == first.st_ino);
  }
}

TEST_CASE("what can be linked is, and a name that is taken is an error") {
  TemporaryState state;
  const std::string home = fs::path(state.sandboxes()).parent_path();
  REQUIRE(base::write_file_atomic(home + "/file", "x"));
  const auto file = base::open_at(AT_FDCWD, home + "/file", O_RDONLY);
  REQUIRE(file);
  REQUIRE(link_or_keep(file->get(), home, home + "/link"));
  CHECK(fs::equivalent(home + "/file", home + "/link"));
  CHECK_FALSE(base::exists(home + "/" + kKeptDirectory));
  CHECK_FALSE(link_or_keep(unlinkable("y").get(), home, home + "/link"));
  CHECK(content_of(home + "/link") == "x");
}
