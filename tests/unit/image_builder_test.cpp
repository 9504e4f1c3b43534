// The builder against made-up tools: how it goes well.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "base/system.hpp"
#include "image_world.hpp"

using namespace orkestr;
using namespace orkestr::image;
using namespace image_test;

TEST_CASE("a build makes a template, and the next one finds it" * doctest::skip(kNotRoot)) {
  World world;
  std::vector<std::string> steps;
  auto built = world.build(false, [&](const BuildProgress& p) {
    if (p.line.empty() && p.index > 0) steps.emplace_back(p.step);
    CHECK(p.count == (p.index > 0 ? 11 : 0));
  });
  REQUIRE_MESSAGE(built, built.error().message());
  CHECK(built->built);
  CHECK(steps == std::vector<std::string>{"kernel", "base system", "fetch a", "fetch tool", "fetch 1 Python packages",
                                          "a step", "tidy", "base image", "scratch disk", "checksums", "publish"});
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
  for (const char* client : {"mvn", "npm", "pip3"})
    CHECK_FALSE(contains(second, fmt::format("\n{} ", client)));  // the downloads are kept
  CHECK_FALSE(contains(second, "apt-get download"));              // so is the kernel

  auto third = world.build(true);  // the build before the last one goes
  REQUIRE(third);
  CHECK(world.builds() == std::vector<std::string>{forced->files.build_id, third->files.build_id, "current"});
}

TEST_CASE("a build that is killed leaves nothing that passes for done, and the next one clears up" *
          doctest::skip(kNotRoot)) {
  World world;
  for (int step = 1; step <= 11; ++step) {
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

TEST_CASE("a build that is told to stop ends soon and leaves nothing" * doctest::skip(kNotRoot)) {
  World world;
  world.tool("mmdebstrap", "echo begun; sleep 60");
  std::stop_source stop;
  BuildOptions options;
  options.cache_dir = world.cache();
  options.stop = stop.get_token();
  options.on_progress = [&](const BuildProgress& p) {
    if (p.line == "begun") stop.request_stop();
  };
  const auto start = std::chrono::steady_clock::now();
  auto stopped = build_template(world.recipe(), options);
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().code() == ErrorCode::cancelled);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
  CHECK(world.builds().empty());
}

TEST_CASE("template.json says where everything came from; removing takes the kernel along" * doctest::skip(kNotRoot)) {
  World world;
  auto built = world.build();
  REQUIRE_MESSAGE(built, built.error().message());
  auto info = inspect_template({world.cache()}, "thing");
  REQUIRE_MESSAGE(info, info.error().message());
  CHECK(info->built);
  CHECK(info->current);  // a recipe that is not built in is its own measure
  std::vector<std::string> sources;
  for (const auto& part : info->parts) sources.push_back(part.source + " " + part.name + " " + part.version);
  CHECK(sources == std::vector<std::string>{"kernel linux 6.1.0-9-cloud-amd64_6.1.9-1", "debian bookworm ",
                                            "debian bash 5.2", "maven g:a 1", "npm tool 1.0.0", "pip wheel-one 1.0"});
  for (const auto& part : info->parts) {
    CHECK_FALSE(part.origin.empty());
    if (part.source != "debian") CHECK(part.sha256.size() == 64);
  }
  auto listed = list_templates({world.cache()});
  REQUIRE(listed);
  for (const auto& one : *listed) CHECK(one.parts.empty());

  // A kernel that nothing refers to goes with the next build, the one in use stays.
  const std::string old = world.cache() + "/kernels/5.0.0-1-cloud-amd64_5.0-1";
  REQUIRE(base::make_directories(old));
  REQUIRE(world.build(true));
  CHECK_FALSE(base::exists(old));
  CHECK(base::exists(built->files.kernel));

  REQUIRE(remove_template(world.cache(), "thing"));
  CHECK_FALSE(base::exists(world.cache() + "/templates/thing"));
  CHECK_FALSE(base::exists(built->files.kernel));
  CHECK(remove_template(world.cache(), "thing").error().code() == ErrorCode::template_not_found);
  CHECK(inspect_template({world.cache()}, "thing").error().code() == ErrorCode::template_not_found);
  REQUIRE(world.build());
}
