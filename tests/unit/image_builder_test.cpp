// The builder against made-up tools: small scripts first on PATH, which log how they were called and leave files of the
// right kind. So every step, every failure of a step and every moment of a kill is tested in a second, without a
// network and without a mirror.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

#include "base/sha256.hpp"
#include "base/system.hpp"
#include "image/builder.hpp"
#include "image_support.hpp"

using namespace orkestr;
using namespace orkestr::image;
using namespace image_test;

namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

constexpr const char* kModules[] = {"virtio_ring", "virtio",    "virtio_mmio", "virtio_console", "virtio_blk",
                                    "virtio-rng",  "libcrc32c", "erofs",       "overlay"};

// A directory of tools and a cache to build in; PATH is restored at the end.
class World {
 public:
  World() : old_path_(std::getenv("PATH")) {
    REQUIRE(base::make_directories(dir_ / "bin"));
    REQUIRE(base::make_directories(dir_ / "data/modules"));
    const std::string kernel = kernel_elf();
    REQUIRE(base::write_file_atomic(dir_ / "data/vmlinuz", bzimage(with_size(kernel, kernel.size()))));
    for (const char* name : kModules) {
      REQUIRE(base::write_file_atomic(dir_ / fmt::format("data/modules/{}.ko", name),
                                      module_elf(std::string_view(name) == "erofs" ? "libcrc32c" : "")));
    }
    REQUIRE(base::write_file_atomic(dir_ / "data/modules/modules.builtin", "kernel/fs/ext4/ext4.ko\n"));
    // The part's "jar": an archive of one file, made by the tar of the host.
    REQUIRE(std::system(
                fmt::format("cd {}/data && mkdir tree && echo tool > tree/tool && tar cf part.jar tree", dir_.path())
                    .c_str()) == 0);

    tool("apt-cache",
         "echo 'Package: linux-image-cloud-amd64'; echo 'Depends: linux-image-6.1.0-9-cloud-amd64 (= 6.1.9-1)'");
    tool("apt-get",
         "[ \"$DENY\" = network ] && { echo 'E: cannot reach the mirror' >&2; exit 100; }; touch package.deb");
    tool("dpkg-deb",
         "mkdir -p $3/boot $3/lib/modules/6.1.0-9-cloud-amd64; cp $DATA/vmlinuz $3/boot/vmlinuz-6.1.0-9-cloud-amd64; "
         "cp $DATA/modules/* $3/lib/modules/6.1.0-9-cloud-amd64/");
    tool("apt-config",
         "echo 'Acquire::http::Proxy \"http://user:secret@proxy.example:3128\";'; echo 'APT::Other \"1\";'");
    // The target is the last argument but one; the sources and options are kept for the test to look at.
    tool("mmdebstrap",
         "cp \"${@: -1}\" $DATA/used.sources; for a in \"$@\"; do case $a in --aptopt=*) cp ${a#--aptopt=} "
         "$DATA/used.conf;; esac; done; "
         "mkdir -p \"${@: -2:1}/usr/local/bin\" \"${@: -2:1}/proc\"");
    tool("mvn",
         "for a in \"$@\"; do case $a in -Dmaven.repo.local=*) r=${a#*=};; esac; done; mkdir -p $r/g/a/1; cp "
         "$DATA/part.jar $r/g/a/1/a-1.jar");
    tool("unshare", "[ \"$DENY\" = step ] && { echo 'the step says no' >&2; exit 3; }; exit 0");
    tool("mkfs.erofs", "[ -e \"${@: -1}/usr/local/lib/tool\" ] || exit 9; echo image > \"${@: -2:1}\"");
    tool("mke2fs", "printf scratch > \"${@: -1}\"; truncate -s 1M \"${@: -1}\"");
    tool("qemu-img", "echo overlay > \"${@: -2:1}\"");
    ::setenv("PATH", fmt::format("{}/bin:{}", dir_.path(), old_path_).c_str(), 1);
    ::setenv("DATA", (dir_ / "data").c_str(), 1);
    ::unsetenv("DENY");
  }
  ~World() {
    ::setenv("PATH", old_path_.c_str(), 1);
    ::unsetenv("DENY");
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  void tool(const std::string& name, std::string_view body) {
    const std::string script = fmt::format("#!/bin/bash\necho {} \"$@\" >> {}/calls\n{}\n", name, dir_.path(), body);
    REQUIRE(base::write_file_atomic(dir_ / ("bin/" + name), script, 0755));
  }
  std::string calls() const {
    auto text = base::read_file(dir_ / "calls");
    return text ? *text : std::string();
  }
  std::string cache() const { return dir_ / "cache"; }
  std::string data(std::string_view name) const { return dir_ / fmt::format("data/{}", name); }

  Recipe recipe() const {
    auto recipe = parse_recipe(fmt::format(
        R"({{"name":"thing","parts":[{{"source":"debian","suite":"bookworm","packages":["bash"]}},
            {{"source":"maven","artifact":"g:a:1","sha256":"{}","unpack":[{{"from":"tree","to":"/usr/local/lib"}}]}}],
            "steps":[{{"name":"a step","run":["true"]}}]}})",
        *base::sha256_file(dir_ / "data/part.jar")));
    REQUIRE_MESSAGE(recipe, recipe.error().message());
    return *recipe;
  }
  Result<BuildOutcome> build(bool force = false, std::function<void(const BuildProgress&)> on_progress = {}) const {
    BuildOptions options;
    options.cache_dir = cache();
    options.force = force;
    options.deadline = base::Deadline::after(std::chrono::seconds(30));
    options.on_progress = std::move(on_progress);
    return build_template(recipe(), options);
  }
  // Everything in the template's folder, hidden names included.
  std::vector<std::string> builds() const {
    auto names = base::list_directory(cache() + "/templates/thing");
    return names ? *names : std::vector<std::string>();
  }

 private:
  TempDirectory dir_;
  std::string old_path_;
};

const bool kNotRoot = ::geteuid() != 0;

}  // namespace

TEST_CASE("a build makes a template, and the next one finds it" * doctest::skip(kNotRoot)) {
  World world;
  std::vector<std::string> steps;
  auto built = world.build(false, [&](const BuildProgress& p) {
    if (p.line.empty() && p.index > 0) steps.emplace_back(p.step);
    CHECK(p.count == (p.index > 0 ? 9 : 0));
  });
  REQUIRE_MESSAGE(built, built.error().message());
  CHECK(built->built);
  CHECK(steps == std::vector<std::string>{"kernel", "base system", "fetch a", "a step", "tidy", "base image",
                                          "scratch disk", "checksums", "publish"});
  CHECK(world.builds() == std::vector<std::string>{built->files.build_id, "current"});
  for (const auto* path :
       {&built->files.base_image, &built->files.scratch_image, &built->files.scratch_overlay, &built->files.kernel}) {
    struct stat info {};
    REQUIRE(::stat(path->c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0444);
  }
  TempDirectory stamps;
  CHECK(verify_template(built->files, stamps.path()));

  // mmdebstrap was told what it does not know by itself.
  CHECK(contains(*base::read_file(world.data("used.conf")), "Acquire::http::Proxy"));
  CHECK_FALSE(contains(*base::read_file(world.data("used.conf")), "APT::Other"));
  CHECK(contains(*base::read_file(world.data("used.sources")), "Suites: bookworm"));
  CHECK_FALSE(contains(world.calls(), "secret"));  // never on a command line

  const std::string calls = world.calls();
  auto again = world.build();
  REQUIRE(again);
  CHECK_FALSE(again->built);
  CHECK(world.calls() == calls);

  auto forced = world.build(true);
  REQUIRE_MESSAGE(forced, forced.error().message());
  CHECK(forced->built);
  CHECK(forced->files.build_id != built->files.build_id);
  CHECK(world.builds() == std::vector<std::string>{built->files.build_id, forced->files.build_id, "current"});
  const std::string second = world.calls().substr(calls.size());
  CHECK_FALSE(contains(second, "mvn"));               // the download is kept
  CHECK_FALSE(contains(second, "apt-get download"));  // so is the kernel

  auto third = world.build(true);  // the build before the last one goes
  REQUIRE(third);
  CHECK(world.builds() == std::vector<std::string>{forced->files.build_id, third->files.build_id, "current"});
}

TEST_CASE("a step that fails names itself, its output and what to do, and leaves nothing" * doctest::skip(kNotRoot)) {
  World world;
  auto fails = [&](std::string_view stage, std::string_view text) {
    auto failed = world.build();
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code() == ErrorCode::template_build_failed);
    CHECK(failed.error().details().stage == stage);
    CHECK_MESSAGE(contains(failed.error().message(), text), failed.error().message());
    CHECK(world.builds().empty());
  };
  SUBCASE("no network") {
    ::setenv("DENY", "network", 1);
    fails("kernel", "E: cannot reach the mirror");
  }
  SUBCASE("apt has no lists") {
    world.tool("apt-cache", "echo 'N: Unable to locate package' >&2; exit 100");
    fails("kernel", "apt-get update");
  }
  SUBCASE("a recipe's step") {
    ::setenv("DENY", "step", 1);
    fails("a step", "the step says no");
  }
  SUBCASE("a tool fails") {
    world.tool("mkfs.erofs", "echo 'No space left on device'; exit 1");
    fails("base image", "No space left on device");
  }
  SUBCASE("another file than the recipe wants") {
    const Recipe recipe = world.recipe();
    REQUIRE(base::write_file_atomic(world.data("part.jar"), "something else"));
    BuildOptions options;
    options.cache_dir = world.cache();
    auto failed = build_template(recipe, options);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().details().stage == "fetch a");
    CHECK(contains(failed.error().message(), recipe.maven[0].sha256));
  }
  SUBCASE("a tool is missing") {
    // Only our tools are reachable, and /usr/sbin and /bin, where mvn is not.
    ::unlink((world.cache() + "/../bin/mvn").c_str());
    ::setenv("PATH", (world.cache() + "/../bin").c_str(), 1);
    if (::access("/usr/bin/mvn", X_OK) != 0) fails("fetch a", "apt-get install maven");
  }
}

TEST_CASE("a build that is killed leaves nothing that passes for done, and the next one clears up" *
          doctest::skip(kNotRoot)) {
  World world;
  for (int step = 1; step <= 9; ++step) {
    CAPTURE(step);
    const std::vector<std::string> before = world.builds();
    const bool present = !before.empty();
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      (void)world.build(true, [&](const BuildProgress& p) {
        if (p.index == step) ::kill(::getpid(), SIGKILL);
      });
      ::_exit(1);
    }
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFSIGNALED(status));
    CHECK(open_template({world.cache()}, "thing", {}, {}).ok() == present);
    auto next = world.build(true);
    REQUIRE_MESSAGE(next, next.error().message());
    for (const auto& name : world.builds()) CHECK_FALSE(name.starts_with("."));
    auto kernels = base::list_directory(world.cache() + "/kernels");
    REQUIRE(kernels);
    CHECK(kernels->size() == 1);
  }
}

TEST_CASE("two builds at once build once" * doctest::skip(kNotRoot)) {
  World world;
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      auto built = world.build();
      ::_exit(!built ? 2 : built->built ? 1 : 0);
    }
    children.push_back(pid);
  }
  int did = 0;
  for (const pid_t pid : children) {
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) < 2);
    did += WEXITSTATUS(status);
  }
  CHECK(did == 1);
}

TEST_CASE("a kernel that was damaged on disk is made again" * doctest::skip(kNotRoot)) {
  World world;
  auto built = world.build();
  REQUIRE_MESSAGE(built, built.error().message());
  REQUIRE(::chmod(built->files.kernel.c_str(), 0644) == 0);
  REQUIRE(::truncate(built->files.kernel.c_str(), 3) == 0);
  auto again = world.build(true);
  REQUIRE_MESSAGE(again, again.error().message());
  CHECK(*base::sha256_file(again->files.kernel) == again->files.kernel_sha256);
}

TEST_CASE("without root a build says how to get it" * doctest::skip(!kNotRoot)) {
  World world;
  auto refused = world.build();
  REQUIRE_FALSE(refused);
  CHECK(contains(refused.error().message(), "sudo orkestr template build thing"));
}
