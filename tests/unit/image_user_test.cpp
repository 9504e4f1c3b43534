// Builds by an ordinary user, against made-up tools. The user is nobody, its subordinate ids are those of files that
// only this test sees, in a mount namespace of its own.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include "image/staging.hpp"
#include "image/user_namespace.hpp"
#include "image_world.hpp"

using namespace orkestr;
using namespace orkestr::image;
using namespace image_test;

namespace {

constexpr unsigned kNobody = 65534;
constexpr const char* kRange = "somebody:100000:65536\nnobody:300000:65536\n";
const bool kNoUidmap = kNotRoot || ::access("/usr/bin/newuidmap", X_OK) != 0;

// A World that belongs to nobody, whose mmdebstrap makes what only root could: files of others, one of them in a
// directory that only its owner may enter, and an empty /dev with something in it.
class UserWorld : public World {
 public:
  UserWorld() {
    tool("mmdebstrap",
         "r=\"${@: -2:1}\"; mkdir -p $r/usr/local/bin $r/dev $r/var/lib/dpkg $r/var/tmp $r/var/cache/man; touch "
         "$r/var/lib/dpkg/status $r/dev/null; echo x > $r/var/cache/man/index; chown -R 6:12 $r/var/cache/man; chmod "
         "700 $r/var/cache/man; touch $r/last; chown 65534:65534 $r/last");
    tool(
        "mkfs.erofs",
        "cd \"${@: -1}\" && stat -c '%n %u:%g' . usr var/cache/man var/cache/man/index last dev/* > $DATA/owners; echo "
        "image > \"${@: -2:1}\"");
    REQUIRE(base::write_file_atomic(path("subids"), kRange, 0644));
  }
  void set_ranges(std::string_view text) { REQUIRE(base::write_file_atomic(path("subids"), text, 0644)); }
  std::string owners() const {
    auto text = base::read_file(data("owners"));
    return text ? *text : text.error().message();
  }
  // `test` as nobody, in a process of its own; `hidden` are programs that it cannot run.
  bool as_nobody(const std::function<bool()>& test, const std::vector<const char*>& hidden = {}) const {
    REQUIRE(std::system(fmt::format("chown -R {0}:{0} {1}", kNobody, path("")).c_str()) == 0);
    return in_child([&] {
      if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
      for (const char* file : {"/etc/subuid", "/etc/subgid"}) {
        if (::mount(path("subids").c_str(), file, nullptr, MS_BIND, nullptr) != 0) return false;
      }
      for (const char* program : hidden) {
        if (::mount("/dev/null", program, nullptr, MS_BIND, nullptr) != 0) return false;
      }
      if (::setgroups(0, nullptr) != 0 || ::setresgid(kNobody, kNobody, kNobody) != 0) return false;
      return ::setresuid(kNobody, kNobody, kNobody) == 0 && test();
    });
  }
  bool refuses(const std::vector<std::string>& parts, const std::vector<const char*>& hidden = {}) const {
    return as_nobody(
        [&] {
          const auto refused = build();
          if (refused) return false;
          bool good = refused.error().code() == ErrorCode::template_build_failed && calls().empty() &&
                      contains(refused.error().message(), "sudo orkestr template build thing");
          for (const auto& part : parts) good = good && contains(refused.error().message(), part);
          if (!good) fmt::print(stderr, "{}\n", refused.error().message());
          return good;
        },
        hidden);
  }
};

}  // namespace

TEST_CASE("an ordinary user builds with the owners that root gives, and leaves nothing" * doctest::skip(kNoUidmap)) {
  UserWorld world;
  CHECK(world.as_nobody([&] {
    const auto built = world.build();
    if (!built) fmt::print(stderr, "{}\n", built.error().message());
    return built && built->built;
  }));
  CHECK(world.owners() ==
        ". 0:0\nusr 0:0\nvar/cache/man 6:12\nvar/cache/man/index 6:12\nlast 65534:65534\n");  // and nothing in /dev
  const auto builds = world.builds();
  REQUIRE(builds.size() == 2);
  CHECK(builds[1] == "current");
}

TEST_CASE("what an ordinary user's build leaves when it is killed, the next one and a removal clear up" *
          doctest::skip(kNoUidmap)) {
  UserWorld world;
  const auto killed = [&] {
    (void)world.build(true, [](const BuildProgress& p) {
      if (p.step == "fetch a") ::kill(::getpid(), SIGKILL);
    });
    return true;
  };
  CHECK_FALSE(world.as_nobody(killed));
  REQUIRE(world.builds().size() == 1);
  CHECK(base::exists(world.cache() + "/templates/thing/" + world.builds()[0] + "/root/var/cache/man/index"));
  CHECK(world.as_nobody([&] {
    const auto built = world.build();
    if (!built) fmt::print(stderr, "{}\n", built.error().message());
    return built.ok();
  }));
  CHECK(world.builds().size() == 2);
  CHECK_FALSE(world.as_nobody(killed));
  CHECK(world.builds().size() == 3);
  CHECK(world.as_nobody([&] { return remove_template(world.cache(), "thing").ok(); }));
  CHECK(world.builds().empty());
}

TEST_CASE("a user who cannot build is told what is missing" * doctest::skip(kNoUidmap)) {
  UserWorld world;
  CHECK(world.refuses({"newuidmap", "apt-get install uidmap"}, {"/usr/bin/newuidmap"}));
  CHECK(world.refuses({"newgidmap", "apt-get install uidmap"}, {"/usr/bin/newgidmap"}));
  CHECK(world.refuses({"/usr/bin/unshare", "user.max_user_namespaces"}, {"/usr/bin/unshare"}));
  world.set_ranges("somebody:100000:65536\n");
  CHECK(world.refuses({"user nobody has no 65536 subordinate ids",
                       "usermod --add-subuids 165536-231071 --add-subgids 165536-231071 nobody"}));
  world.set_ranges("nobody:100000:1000\n");
  CHECK(world.refuses({"user nobody has no 65536 subordinate ids"}));
}

TEST_CASE("subordinate ids, as subuid(5) has them") {
  const auto range = subordinate_ids(kRange, "nobody", kNobody);
  REQUIRE(range);
  CHECK(range->first == 300000);
  CHECK(range->count == 65536);
  CHECK(subordinate_ids("65534:7:9\nnobody:1:2\n", "nobody", kNobody)->count == 9);
  for (const char* text : {"", "nobody", "nobody:", "nobody:1", "nobody:1:", "nobody:x:1", "nobody:1:2x", "nobody:-1:2",
                           "nobody:1:99999999999999999999", "anybody:1:2", "#nobody:1:2"}) {
    CAPTURE(text);
    CHECK_FALSE(subordinate_ids(text, "nobody", kNobody));
  }
  CHECK(free_subordinate_ids("") == 100000);
  CHECK(free_subordinate_ids("a:5:6\n") == 100000);
  CHECK(free_subordinate_ids(kRange) == 365536);
}
