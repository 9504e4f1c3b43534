// The builder when something is wrong: each failure names the step, shows what the tool said and says what to do; none
// leaves anything that passes for a template.
#include <doctest/doctest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "image_world.hpp"

using namespace orkestr;
using namespace orkestr::image;
using namespace image_test;

namespace {

// A file system of its own for the cache, of this size.
class SmallDisk {
 public:
  explicit SmallDisk(World& world, const char* size) : path_(world.path("disk")) {
    REQUIRE(base::make_directories(path_));
    REQUIRE_MESSAGE(::mount("none", path_.c_str(), "tmpfs", 0, fmt::format("size={}", size).c_str()) == 0,
                    "mounting a tmpfs needs CAP_SYS_ADMIN");
    world.set_cache(path_ + "/cache");
  }
  ~SmallDisk() { ::umount2(path_.c_str(), MNT_DETACH); }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  void make_read_only() { REQUIRE(::mount("none", path_.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) == 0); }

 private:
  std::string path_;
};

void check_failure(const World& world, const Result<BuildOutcome>& failed, std::string_view stage,
                   std::initializer_list<std::string_view> texts) {
  REQUIRE_FALSE(failed);
  const Error& error = failed.error();
  CHECK(error.code() == ErrorCode::template_build_failed);
  CHECK(error.details().stage == stage);
  for (const auto text : texts) CHECK_MESSAGE(contains(error.message(), text), text, " is not in: ", error.message());
  CHECK(world.builds().empty());
}

}  // namespace

TEST_CASE("a step that fails names itself, its last lines and what to do" * doctest::skip(kNotRoot)) {
  World world;
  auto fails = [&](std::string_view stage, std::initializer_list<std::string_view> texts) {
    check_failure(world, world.build(), stage, texts);
  };
  SUBCASE("no network") {
    ::setenv("DENY", "network", 1);
    fails("kernel", {"E: cannot reach the mirror", "`apt-get update`"});
  }
  SUBCASE("apt has no lists") {
    world.tool("apt-cache", "echo 'N: Unable to locate package' >&2; exit 100");
    fails("kernel", {"apt-get update"});
  }
  SUBCASE("the Debian mirror is unreachable") {
    world.tool("mmdebstrap", "echo 'E: Failed to fetch http://mirror.example.org' >&2; exit 100");
    fails("base system", {"Failed to fetch", "`apt-get update`", "/etc/apt"});
  }
  SUBCASE("the Maven repository is unreachable") {
    world.tool("mvn", "echo '[ERROR] Could not transfer artifact g:a:jar:1'; exit 1");
    fails("fetch a", {"Could not transfer artifact", "settings.xml"});
  }
  SUBCASE("npm has no such version") {
    ::setenv("DENY", "npm", 1);
    fails("fetch tool", {"404 Not Found", "npm view tool@1.0.0"});
  }
  SUBCASE("pip finds no such package") {
    ::setenv("DENY", "pip", 1);
    fails("fetch 1 Python packages", {"No matching distribution found for nothing==1", "pip3 config list"});
  }
  SUBCASE("a recipe's step") {
    ::setenv("DENY", "step", 1);
    world.tool("unshare", "for i in $(seq 100); do echo \"line $i\"; done; echo 'the step says no' >&2; exit 3");
    fails("fetch 1 Python packages", {"the step says no", "line 100"});
    auto failed = world.build();
    CHECK_FALSE(contains(failed.error().message(), "line 50\n"));  // the last lines only
    CHECK(contains(failed.error().details().console_tail, "line 50\n"));
  }
  SUBCASE("a tool that makes the image") {
    world.tool("mkfs.erofs", "echo 'mkfs.erofs: out of luck'; exit 1");
    fails("base image", {"out of luck"});
  }
  SUBCASE("a tool that does not end") {
    auto failed =
        run_tool({"a step", {"/bin/sh", "-c", "echo waiting for the mirror; sleep 60"}, {}, {}, "Look there."},
                 {base::Deadline::after(std::chrono::seconds(2)), {}, {}});
    REQUIRE_FALSE(failed);
    for (const char* text : {"a step", "not done after", "waiting for the mirror", "Look there."}) {
      CHECK_MESSAGE(contains(failed.error().message(), text), failed.error().message());
    }
  }
}

TEST_CASE("another file than the recipe wants is refused, with both digests" * doctest::skip(kNotRoot)) {
  World world;
  const Recipe recipe = world.recipe();
  const std::string wanted = std::get<MavenPart>(recipe.actions[1]).sha256;
  std::string stage;
  SUBCASE("maven") {
    stage = "fetch a";
    REQUIRE(base::write_file_atomic(world.data("other.jar"), "something else"));
    world.tool("mvn",
               "for a in \"$@\"; do case $a in -Dmaven.repo.local=*) r=${a#*=};; esac; done; mkdir -p $r/g/a/1; cp "
               "$DATA/other.jar $r/g/a/1/a-1.jar");
  }
  SUBCASE("npm") {
    stage = "fetch tool";
    world.tool("npm",
               "for a in \"$@\"; do case $a in --pack-destination=*) d=${a#*=};; esac; done; echo 'something else' > "
               "$d/tool-1.0.0.tgz");
  }
  SUBCASE("pip") {
    stage = "fetch 1 Python packages";
    world.tool("pip3",
               "for a in \"$@\"; do case $a in --dest=*) d=${a#*=};; esac; done; echo 'something else' > "
               "$d/wheel_one-1.0-py3-none-any.whl");
  }
  BuildOptions options;
  options.cache_dir = world.cache();
  auto failed = build_template(recipe, options);
  check_failure(world, failed, stage, {wanted, "SHA-256"});
  CHECK_FALSE(contains(failed.error().message(), wanted + " is " + wanted));
}

TEST_CASE("half a download of an earlier build is fetched again" * doctest::skip(kNotRoot)) {
  World world;
  for (const char* file : {"maven/g/a/1/a-1.jar", "npm/tool-1.0.0.tgz", "pip/3.12/wheel_one-1.0-py3-none-any.whl"}) {
    const std::string path = world.cache() + "/downloads/" + file;
    REQUIRE(base::make_directories(path.substr(0, path.rfind('/'))));
    REQUIRE(base::write_file_atomic(path, "half"));
  }
  auto built = world.build();
  // pip would leave a wheel of the right name alone; ours is named otherwise, so both are there and the right one is
  // taken.
  CHECK_MESSAGE(built, (built ? "" : built.error().message()));
}

TEST_CASE("a program that is missing is named with its package before anything starts" * doctest::skip(kNotRoot)) {
  World world;
  struct Missing {
    const char* program;
    const char* stage;
    const char* package;
  };
  for (const Missing& one :
       {Missing{"mvn", "fetch a", "maven"}, Missing{"npm", "fetch tool", "npm"},
        Missing{"pip3", "fetch 1 Python packages", "python3-pip"}, Missing{"mmdebstrap", "base system", "mmdebstrap"},
        Missing{"mkfs.erofs", "check the host", "erofs-utils"}}) {
    CAPTURE(one.program);
    CHECK(in_child([&] {
      // The host's own are hidden behind something that cannot be run, in a mount namespace of this child's own.
      if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
      ::setenv("PATH", world.path("bin").c_str(), 1);
      world.remove_tool(one.program);
      for (const char* directory : {"/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"}) {
        const std::string path = std::string(directory) + one.program;
        if (::access(path.c_str(), F_OK) == 0) ::mount("/dev/null", path.c_str(), nullptr, MS_BIND, nullptr);
      }
      auto failed = world.build();
      if (failed) return false;
      const bool good = failed.error().details().stage == one.stage &&
                        contains(failed.error().message(), one.program) &&
                        contains(failed.error().message(), fmt::format("apt-get install {}", one.package)) &&
                        world.calls().empty() && !base::exists(world.cache());
      if (!good) fmt::print(stderr, "{}\n", failed.error().message());
      return good;
    }));
    // The child removed our own script for all of us.
    world.tool(one.program, "exit 0");
  }
}

TEST_CASE("a full disk is called by its name, and is no trouble once there is room" * doctest::skip(kNotRoot)) {
  World world;
  SmallDisk disk(world, "2m");
  SUBCASE("the tool says it") {
    world.tool("mkfs.erofs", "head -c 8M /dev/zero > \"${@: -2:1}\"");
    check_failure(world, world.build(), "base image",
                  {"No space left on device", "is full", world.cache(), "ORKESTR_HOME"});
  }
  SUBCASE("the tool does not") {
    world.tool("mmdebstrap", "head -c 8M /dev/zero > \"${@: -2:1}.tar\" 2>/dev/null; exit 25");
    check_failure(world, world.build(), "base system", {"is full (0 MB free)", "ORKESTR_HOME"});
  }
  SUBCASE("there is no room for the directories") {
    REQUIRE(base::make_directories(world.cache()));
    REQUIRE(std::system(fmt::format("head -c 8M /dev/zero > {}/filler 2>/dev/null; true", world.cache()).c_str()) == 0);
    auto failed = world.build();
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code() == ErrorCode::template_build_failed);
    CHECK_MESSAGE(contains(failed.error().message(), "No space left on device"), failed.error().message());
    REQUIRE(::unlink((world.cache() + "/filler").c_str()) == 0);
  }
  world.tool("mkfs.erofs", "echo image > \"${@: -2:1}\"");
  world.tool(
      "mmdebstrap",
      "r=\"${@: -2:1}\"; mkdir -p $r/usr/local/lib $r/dev $r/var/lib/dpkg $r/var/tmp; touch $r/var/lib/dpkg/status");
  auto built = world.build();
  CHECK_MESSAGE(built, (built ? "" : built.error().message()));
}

TEST_CASE("a cache that cannot be written, or is of a newer version" * doctest::skip(kNotRoot)) {
  World world;
  SUBCASE("read-only") {
    SmallDisk disk(world, "8m");
    REQUIRE(base::make_directories(world.cache()));
    disk.make_read_only();
    check_failure(world, world.build(), "prepare the cache", {"Read-only file system", world.cache(), "ORKESTR_HOME"});
  }
  SUBCASE("newer") {
    REQUIRE(world.build());
    REQUIRE(base::write_file_atomic(world.cache() + "/version", "2\n", 0644));
    for (const Error& error :
         {world.build(true).error(), world.build().error(), open_template({world.cache()}, "thing", {}, {}).error(),
          inspect_template({world.cache()}, "thing").error()}) {
      CHECK(error.code() == ErrorCode::template_build_failed);
      CHECK_MESSAGE(contains(error.message(), "format '2', this version of orkestr reads 1"), error.message());
      CHECK(contains(error.message(), "Upgrade"));
    }
  }
}

TEST_CASE("who waits sees the progress of who builds, and finds the work done" * doctest::skip(kNotRoot)) {
  World world;
  world.tool("mmdebstrap",
             "echo \"pid $$\"; while [ ! -e $DATA/go ]; do sleep 0.05; done; r=\"${@: -2:1}\"; mkdir -p "
             "$r/usr/local/bin $r/dev $r/var/lib/dpkg $r/var/tmp; touch $r/var/lib/dpkg/status");
  std::string heard;
  Result<BuildOutcome> first = Error(ErrorCode::internal, "not yet");
  Result<BuildOutcome> second = first;
  std::atomic<bool> begun{false};
  std::thread builder([&] {
    first = world.build(false, [&](const BuildProgress& p) { begun = begun || p.line.substr(0, 3) == "pid"; });
  });
  while (!begun) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  second = world.build(false, [&](const BuildProgress& p) {
    heard += fmt::format("{} {}/{} {}\n", p.template_name, p.index, p.count, p.step);
    if (p.step == "base system") REQUIRE(base::write_file_atomic(world.data("go"), ""));
  });
  builder.join();
  REQUIRE_MESSAGE(first, first.error().message());
  REQUIRE_MESSAGE(second, second.error().message());
  CHECK(first->built);
  CHECK_FALSE(second->built);
  CHECK(second->files.build_id == first->files.build_id);
  CHECK(contains(heard, "thing 1/11 kernel\n"));
  CHECK(contains(heard, "thing 2/11 base system\n"));
  CHECK(contains(heard, "thing 11/11 publish\n"));
}

TEST_CASE("when the builder dies, one of those who wait builds" * doctest::skip(kNotRoot)) {
  World world;
  world.tool("mmdebstrap",
             "while [ ! -e $DATA/go ]; do echo x >> $DATA/alive; sleep 0.02; done; r=\"${@: "
             "-2:1}\"; mkdir -p $r/usr/local/bin $r/dev "
             "$r/var/lib/dpkg $r/var/tmp; touch $r/var/lib/dpkg/status");
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    (void)world.build();
    ::_exit(1);
  }
  while (!base::exists(world.data("alive"))) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  bool killed = false;
  off_t alive = 0;
  auto size = [&] {
    struct stat info {};
    return ::stat(world.data("alive").c_str(), &info) == 0 ? info.st_size : 0;
  };
  auto built = world.build(false, [&](const BuildProgress&) {
    if (killed) return;
    killed = true;
    REQUIRE(::kill(pid, SIGKILL) == 0);
    // Its tool goes with it, instead of writing into what the next build clears up.
    const auto patience = base::Deadline::after(std::chrono::seconds(5));
    do {
      alive = size();
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
    } while (size() != alive && !patience.expired());
    CHECK(size() == alive);
    CHECK(alive > 0);
    REQUIRE(base::write_file_atomic(world.data("go"), ""));
  });
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  REQUIRE(WIFSIGNALED(status));
  CHECK(killed);  // it did wait
  REQUIRE_MESSAGE(built, built.error().message());
  CHECK(built->built);
  CHECK(world.builds() == std::vector<std::string>{built->files.build_id, "current"});
}

TEST_CASE("when the builder fails, those who wait for the same fail with it" * doctest::skip(kNotRoot)) {
  World world;
  world.tool("mmdebstrap",
             "touch $DATA/begun; while [ ! -e $DATA/go ]; do sleep 0.05; done; echo 'no such mirror' >&2; exit 7");
  Result<BuildOutcome> first = Error(ErrorCode::internal, "not yet");
  std::thread builder([&] { first = world.build(); });
  while (!base::exists(world.data("begun"))) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  auto second =
      world.build(false, [&](const BuildProgress&) { REQUIRE(base::write_file_atomic(world.data("go"), "")); });
  builder.join();
  check_failure(world, first, "base system", {"no such mirror"});
  check_failure(world, second, "base system", {"no such mirror"});
  CHECK(contains(second.error().details().console_tail, "no such mirror"));
  const std::string calls = world.calls();
  CHECK(calls.find("mmdebstrap") == calls.rfind("\nmmdebstrap") + 1);  // asked once
  // That was then: the next build tries again.
  CHECK_FALSE(world.build());
  const std::string more = world.calls();
  CHECK(more.find("mmdebstrap") != more.rfind("\nmmdebstrap") + 1);
}
