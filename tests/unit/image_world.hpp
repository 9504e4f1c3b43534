// A machine for the builder: made-up tools, small scripts first on PATH, which log how they were called and leave files
// of the right kind. So every step, every failure of a step and every moment of a kill is tested in a second, without a
// network and without a mirror.
#pragma once

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "base/sha256.hpp"
#include "image/builder.hpp"
#include "image_support.hpp"

namespace image_test {

using namespace orkestr;
using namespace orkestr::image;

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

inline constexpr const char* kModules[] = {"virtio_ring", "virtio",    "virtio_mmio", "virtio_console", "virtio_blk",
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
         "r=\"${@: -2:1}\"; mkdir -p $r/usr/local/bin $r/proc $r/dev $r/var/lib/dpkg $r/var/tmp; printf 'Package: "
         "bash\\nStatus: "
         "install ok installed\\nVersion: 5.2\\n' > $r/var/lib/dpkg/status");
    tool("npm",
         "[ \"$DENY\" = npm ] && { echo 'npm error 404 Not Found' >&2; exit 1; }; for a in \"$@\"; do case $a in "
         "--pack-destination=*) d=${a#*=};; esac; done; cp $DATA/part.jar $d/tool-1.0.0.tgz");
    tool(
        "pip3",
        "[ \"$DENY\" = pip ] && { echo 'ERROR: No matching distribution found for nothing==1' >&2; exit 1; }; for a in "
        "\"$@\"; do case $a in --dest=*) d=${a#*=};; *==*) n=${a%%==*}; cp $DATA/part.jar "
        "$d/${n//-/_}-${a##*==}-py3-none-any.whl;; "
        "esac; done");
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
  // Where the build goes; a test may put it elsewhere.
  std::string cache() const { return cache_.empty() ? dir_ / "cache" : cache_; }
  void set_cache(std::string cache) { cache_ = std::move(cache); }
  std::string path(std::string_view name) const { return dir_ / name; }
  void remove_tool(const std::string& name) { REQUIRE(::unlink((dir_ / ("bin/" + name)).c_str()) == 0); }
  std::string data(std::string_view name) const { return dir_ / fmt::format("data/{}", name); }

  Recipe recipe() const {
    auto recipe = parse_recipe(fmt::format(
        R"({{"name":"thing","parts":[{{"source":"debian","suite":"bookworm","packages":["bash"]}},
            {{"source":"maven","artifact":"g:a:1","sha256":"{0}","unpack":[{{"from":"tree","to":"/usr/local/lib"}}]}},
            {{"source":"npm","package":"tool","version":"1.0.0","sha256":"{0}","unpack":[{{"from":"tree","to":"/usr/local/share/a/b"}}]}},
            {{"source":"pip","python":"3.12","packages":[{{"name":"wheel-one","version":"1.0","sha256":"{0}"}}]}}],
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
  image_test::TempDirectory dir_;
  std::string old_path_;
  std::string cache_;
};

// Runs `test` in a forked copy of this process, for what cannot be undone; true when it returned true.
inline bool in_child(const std::function<bool()>& test) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(test() ? 0 : 1);
  int status = 0;
  return pid > 0 && ::waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

inline const bool kNotRoot = ::geteuid() != 0;

}  // namespace image_test
