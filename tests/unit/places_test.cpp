#include "base/places.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <optional>

#include "image_support.hpp"

using namespace orkestr;
using namespace image_test;

namespace {

// Sets an environment variable for one test (nullptr: unsets it).
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    set(value);
  }
  ~Variable() { set(old_ ? old_->c_str() : nullptr); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const char* value) { value ? ::setenv(name_, value, 1) : ::unsetenv(name_); }
  const char* name_;
  std::optional<std::string> old_;
};

mode_t mode_of(const std::string& path) {
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  return info.st_mode & 07777;
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// An ordinary user for the rest of a test that root runs, as the owner of `directory`.
struct OrdinaryUser {
  explicit OrdinaryUser(const std::string& directory) {
    if (::geteuid() != 0) return;
    REQUIRE(::chown(directory.c_str(), kNobody, kNobody) == 0);
    REQUIRE(::seteuid(kNobody) == 0);
  }
  ~OrdinaryUser() {
    if (::getuid() == 0) CHECK(::seteuid(0) == 0);
  }
  static constexpr uid_t kNobody = 65534;
};

}  // namespace

TEST_CASE("ORKESTR_HOME names both places, and its templates come before the system's") {
  TempDirectory work;
  const std::string home = work / "home";
  Variable variable("ORKESTR_HOME", home.c_str());
  auto places = base::find_places();
  REQUIRE_MESSAGE(places, places.error().message());
  CHECK(places->state_dir == home + "/state");
  CHECK(places->cache_dir == home + "/cache");
  CHECK(places->cache_search == std::vector<std::string>{home + "/cache", "/var/lib/orkestr/cache"});
  CHECK(mode_of(places->state_dir) == 0700);
  CHECK(mode_of(places->cache_dir) == (::geteuid() == 0 ? 0755 : 0700));
  CHECK(base::find_places());
}

TEST_CASE("a place that others could write is refused with the command that repairs it") {
  TempDirectory work;
  Variable variable("ORKESTR_HOME", work.path().c_str());
  REQUIRE(base::find_places());
  REQUIRE(::chmod((work / "state").c_str(), 0770) == 0);
  auto refused = base::find_places();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::not_permitted);
  CHECK(contains(refused.error().message(), "chmod 0700 " + (work / "state")));
  REQUIRE(::chmod((work / "state").c_str(), 0700) == 0);
  REQUIRE(::chmod((work / "cache").c_str(), 0777) == 0);
  CHECK_FALSE(base::find_places());
}

TEST_CASE("an ORKESTR_HOME that others could write is refused, whatever is in it") {
  TempDirectory work;
  const std::string home = work / "home";
  Variable variable("ORKESTR_HOME", home.c_str());
  CHECK(base::check_home(home));  // it is not there yet
  REQUIRE(base::find_places());
  for (const mode_t mode : {0777, 01777, 0775, 0757}) {
    CAPTURE(mode);
    REQUIRE(::chmod(home.c_str(), mode) == 0);
    auto refused = base::find_places();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code() == ErrorCode::not_permitted);
    CHECK(contains(refused.error().message(), "ORKESTR_HOME is " + home));
    CHECK(contains(refused.error().message(), "chmod go-w " + home));
  }
  REQUIRE(::chmod(home.c_str(), 0755) == 0);
  CHECK(base::find_places());
}

TEST_CASE("an ORKESTR_HOME of another user is refused, one of root's is fine" * doctest::skip(::geteuid() != 0)) {
  TempDirectory work;
  const std::string home = work / "home";
  Variable variable("ORKESTR_HOME", home.c_str());
  REQUIRE(base::find_places());
  REQUIRE(::chown(home.c_str(), 12345, 12345) == 0);
  auto refused = base::find_places();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::not_permitted);
  CHECK(contains(refused.error().message(), "which belongs to user 12345"));
  CHECK(contains(refused.error().message(), "chown 0 " + home));

  REQUIRE(::chown(home.c_str(), 0, 0) == 0);
  for (const char* part : {"state", "cache"}) REQUIRE(::chown((home + "/" + part).c_str(), 65534, 65534) == 0);
  REQUIRE(::chmod((home + "/cache").c_str(), 0700) == 0);
  OrdinaryUser user(work.path());
  CHECK(base::find_places());
}

TEST_CASE("a place that belongs to someone else is refused" * doctest::skip(::geteuid() != 0)) {
  TempDirectory work;
  Variable variable("ORKESTR_HOME", work.path().c_str());
  REQUIRE(base::find_places());
  REQUIRE(::chown((work / "state").c_str(), 12345, 12345) == 0);
  auto refused = base::find_places();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::not_permitted);
  CHECK(contains(refused.error().message(), "12345"));
}

TEST_CASE("a relative ORKESTR_HOME is refused, an empty one is none") {
  {
    Variable variable("ORKESTR_HOME", "relative/home");
    auto refused = base::find_places();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code() == ErrorCode::invalid_argument);
    CHECK(contains(refused.error().message(), "relative/home"));
  }
  CHECK_FALSE(base::exists("relative"));
}

TEST_CASE("a user's places follow XDG, the system's templates come first") {
  TempDirectory work;
  OrdinaryUser user(work.path());
  Variable none("ORKESTR_HOME", "");
  Variable home("HOME", work.path().c_str());
  Variable state("XDG_STATE_HOME", nullptr);
  Variable cache("XDG_CACHE_HOME", (work / "elsewhere").c_str());
  auto places = base::find_places();
  REQUIRE_MESSAGE(places, places.error().message());
  CHECK(places->state_dir == work / ".local/state/orkestr");
  CHECK(places->cache_dir == work / "elsewhere/orkestr");
  CHECK(places->cache_search == std::vector<std::string>{"/var/lib/orkestr/cache", work / "elsewhere/orkestr"});
  CHECK(mode_of(places->cache_dir) == 0700);
}
