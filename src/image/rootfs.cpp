#include "image/rootfs.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cerrno>

#include "base/file.hpp"
#include "base/sha256.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "image/apt_sources.hpp"
#include "image/archive.hpp"

namespace orkestr::image {
namespace {

constexpr std::string_view kBaseStage = "base system";
constexpr std::uint64_t kMaxUnpackedBytes = std::uint64_t{4} << 30;

std::string maven_stage(const MavenPart& part) { return "fetch " + part.artifact; }

// The part's file in the download cache, whose content is the one the recipe names.
Result<std::string> fetch_maven(const MavenPart& part, const RootfsContext& context) {
  const std::string stage = maven_stage(part);
  const std::string repository = context.downloads + "/maven";
  std::string file = repository + "/" + part.repository_path();
  auto has_right_content = [&]() -> Result<bool> {
    if (!base::exists(file)) return false;
    ORKESTR_TRY(const std::string digest, base::sha256_file(file));
    return digest == part.sha256;
  };
  ORKESTR_TRY(const bool cached, has_right_content());
  if (cached) return file;
  ::unlink(file.c_str());  // a truncated download would satisfy mvn

  ORKESTR_TRY(const std::string mvn, find_tool(stage, "mvn", "maven"));
  ORKESTR_CHECK(base::make_directories(repository, 0755));
  // The person's settings.xml (mirrors, proxies, credentials) applies; only the local repository is ours, so that sudo
  // leaves nothing in anybody's home.
  ToolRun run;
  run.stage = stage;
  run.argv = {mvn,
              "--batch-mode",
              "-Dmaven.repo.local=" + repository,
              "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:get",
              "-Dartifact=" + part.coordinates(),
              "-Dtransitive=false"};
  run.cwd = context.work;
  run.on_line = context.on_line;
  ORKESTR_TRY(const std::string output, run_tool(run, context.deadline));
  ORKESTR_TRY(const bool right, has_right_content());
  if (right) return file;
  const auto actual = base::sha256_file(file);
  return build_error(
      stage,
      fmt::format("{}: mvn fetched a file whose SHA-256 is {}, the recipe wants {}. The mirror serves something "
                  "else, or the download broke: check the Maven mirror and try again.",
                  part.coordinates(), actual ? *actual : "(no file)", part.sha256),
      output);
}

// A path of the new root as the host sees it, when no link on the way leads out of the root.
Result<std::string> inside_root(const std::string& root, std::string_view path) {
  std::string at = root;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(name.size());
    at += fmt::format("/{}", name);
    char target[1];
    if (::readlink(at.c_str(), target, sizeof target) >= 0) {
      return Error(ErrorCode::template_build_failed,
                   fmt::format("{} is a symbolic link; name the path it stands for", at));
    }
  }
  return at;
}

}  // namespace

Result<void> check_rootfs_tools(const Recipe& recipe) {
  struct Tool {
    const char* name;
    const char* package;
  };
  for (const Tool& tool : {Tool{"mmdebstrap", "mmdebstrap"}, Tool{"apt-config", "apt"}, Tool{"unshare", "util-linux"},
                           Tool{"chroot", "coreutils"}}) {
    ORKESTR_TRY([[maybe_unused]] const auto path, find_tool(kBaseStage, tool.name, tool.package));
  }
  if (!recipe.maven.empty()) {
    ORKESTR_TRY([[maybe_unused]] const auto path, find_tool(maven_stage(recipe.maven.front()), "mvn", "maven"));
  }
  return {};
}

Result<void> make_base_system(const DebianPart& part, const RootfsContext& context) {
  ORKESTR_TRY(const std::string mmdebstrap, find_tool(kBaseStage, "mmdebstrap", "mmdebstrap"));
  ORKESTR_TRY(const std::string sources, host_sources(part.suite));
  ORKESTR_TRY(const std::string options, host_apt_options(context.deadline));
  const std::string sources_file = context.work + "/build.sources";
  const std::string options_file = context.work + "/apt.conf";
  ORKESTR_CHECK(base::write_file_atomic(sources_file, sources));
  ORKESTR_CHECK(base::write_file_atomic(options_file, options));
  ToolRun run;
  run.stage = std::string(kBaseStage);
  run.argv = {mmdebstrap, "--mode=root", "--variant=minbase", "--architectures=amd64", "--format=directory",
              fmt::format("--include={}", fmt::join(part.packages, ",")), "--aptopt=" + options_file,
              "--dpkgopt=force-unsafe-io",
              // Documentation and translations are a fifth of a minimal system, and nobody reads them in a sandbox.
              "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
              "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
              "--dpkgopt=path-exclude=/usr/share/info/*", part.suite, context.root, sources_file};
  run.env = {"TMPDIR=" + context.work};
  run.cwd = context.work;
  run.on_line = context.on_line;
  if (auto done = run_tool(run, context.deadline); !done) return done.error();
  return {};
}

Result<void> add_maven_part(const MavenPart& part, const RootfsContext& context) {
  ORKESTR_TRY(const std::string file, fetch_maven(part, context));
  for (const UnpackRule& rule : part.unpack) {
    if (context.on_line) context.on_line(fmt::format("unpack {} to {}", rule.from, rule.to));
    auto target = inside_root(context.root, rule.to);
    if (!target) return target.error();
    if (auto count = unpack(file, rule.from, *target, kMaxUnpackedBytes); !count) {
      return build_error(maven_stage(part), count.error().message());
    }
  }
  return {};
}

Result<void> run_step(const RecipeStep& step, const RootfsContext& context) {
  ORKESTR_TRY(const std::string unshare, find_tool(step.name, "unshare", "util-linux"));
  ORKESTR_TRY(const std::string chroot, find_tool(step.name, "chroot", "coreutils"));
  ToolRun run;
  run.stage = step.name;
  run.argv = {unshare, "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child",
              fmt::format("--mount-proc={}/proc", context.root), chroot, context.root,
              // The host's environment ends here: SOURCE_DATE_EPOCH or PYTHONPATH would change what is built.
              "/usr/bin/env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
              "LANG=C.UTF-8", "TERM=dumb", "/bin/bash", "-euo", "pipefail", "-c",
              fmt::format("umask 022\n{}\n", fmt::join(step.run, "\n"))};
  run.cwd = context.work;
  run.on_line = context.on_line;
  auto done = run_tool(run, context.deadline);
  if (done) return {};
  // The whole command line is a script here; name the step instead.
  const std::string& output = done.error().details().console_tail;
  return build_error(step.name, fmt::format("step '{}' of the recipe failed in the new root:\n{}", step.name, output),
                     output);
}

RecipeStep tidy_step() {
  return {"tidy",
          {"mkdir -p /workspace /persist /root /tmp /run /proc /sys /dev", "chmod 1777 /tmp",
           "chmod 755 /workspace /persist", "echo sandbox > /etc/hostname",
           "printf '127.0.0.1\\tlocalhost sandbox\\n::1\\tlocalhost ip6-localhost ip6-loopback\\n' > /etc/hosts",
           // A link into /run (resolvconf, systemd) would dangle in the guest.
           "rm -f /etc/resolv.conf && : > /etc/resolv.conf", ": > /etc/machine-id", "rm -f /var/lib/dbus/machine-id",
           "rm -f /etc/apt/apt.conf.d/99mmdebstrap /etc/apt/auth.conf.d/* /etc/apt/auth.conf",
           ("find /etc/apt/sources.list /etc/apt/sources.list.d -type f -exec sed -i -E 's#://[^/@ ]*@#://#g' {} + "
            "2>/dev/null || true"),
           ("rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/cache/debconf/*-old "
            "/var/log/*.log /var/log/apt /var/lib/dpkg/*-old /tmp/* /var/tmp/* /root/.cache /root/.bash_history"),
           // What a sandbox must not share with its sisters.
           "rm -f /etc/ssh/ssh_host_* /var/lib/systemd/random-seed"}};
}

}  // namespace orkestr::image
