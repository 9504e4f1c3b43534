#include "image/rootfs.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "image/apt_sources.hpp"
#include "image/archive.hpp"

namespace orkestr::image {
namespace {

constexpr std::string_view kBaseStage = "base system";
constexpr std::uint64_t kMaxUnpackedBytes = std::uint64_t{4} << 30;
constexpr std::size_t kMaxStatusBytes = 64U << 20U;

// Into the root $1, with the devices that every program expects: bound from the host, as a user namespace cannot make
// any.
constexpr const char* kEnterRoot = R"(
mount -t tmpfs -o nosuid,mode=0755 dev "$1/dev"
for device in null zero full random urandom; do
  : > "$1/dev/$device"
  mount --bind "/dev/$device" "$1/dev/$device"
done
ln -s /proc/self/fd "$1/dev/fd"
mkdir -m 1777 "$1/dev/shm"
exec chroot "$@"
)";

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

Result<void> unpack_rules(const std::string& stage, const std::string& file, const std::vector<UnpackRule>& rules,
                          const RootfsContext& context) {
  for (const UnpackRule& rule : rules) {
    if (context.fetch.tools.on_line) context.fetch.tools.on_line(fmt::format("unpack {} to {}", rule.from, rule.to));
    auto target = inside_root(context.root, rule.to);
    if (!target) return target.error();
    ORKESTR_CHECK(base::make_directories(target->substr(0, target->rfind('/')), 0755));
    if (auto count = unpack(file, rule.from, *target, kMaxUnpackedBytes); !count) {
      return build_error(stage, fmt::format("{}: {}", stage, count.error().message()));
    }
  }
  return {};
}

Result<void> add(const DebianPart& part, const RootfsContext& context) {
  ORKESTR_TRY(const std::string mmdebstrap, find_tool(kBaseStage, "mmdebstrap", "mmdebstrap"));
  ORKESTR_TRY(const std::string sources, host_sources(part.suite));
  ORKESTR_TRY(const std::string options, host_apt_options(context.fetch.tools));
  const std::string& work = context.fetch.work;
  const std::string sources_file = work + "/build.sources";
  const std::string options_file = work + "/apt.conf";
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
  run.env = {"TMPDIR=" + work};
  run.cwd = work;
  run.advice = "Is the Debian mirror reachable? `apt-get update` tells; proxies and mirrors are set in /etc/apt.";
  run.as_root = true;
  if (auto done = run_tool(run, context.fetch.tools); !done) return done.error();
  // Whoever builds, the image is the same: only root makes device nodes, and a guest has a /dev of its own.
  ORKESTR_TRY(const std::string find, find_tool(kBaseStage, "find", "findutils"));
  ToolRun empty{std::string(kBaseStage), {find, context.root + "/dev", "-mindepth", "1", "-delete"}, work, {}, {}};
  empty.as_root = true;
  ORKESTR_CHECK(run_tool(empty, context.fetch.tools));
  context.parts->push_back(
      {"debian", part.suite, "", fmt::format("{}", fmt::join(source_addresses(sources), ", ")), "", 0});
  ORKESTR_TRY(const std::string status, base::read_file(context.root + "/var/lib/dpkg/status", kMaxStatusBytes));
  for (auto& package : installed_packages(status)) {
    package.origin = part.suite;
    context.parts->push_back(std::move(package));
  }
  return {};
}

Error cannot_fetch(const ContainerPart& part) {
  return build_error(kBaseStage,
                     fmt::format("this template is made from the container image {}, and this version cannot fetch "
                                 "container images yet. Use the template '{}' instead.",
                                 part.image, part.instead));
}
Result<void> add(const ContainerPart& part, const RootfsContext&) { return cannot_fetch(part); }

Result<void> add(const MavenPart& part, const RootfsContext& context) {
  ORKESTR_TRY(const FetchedFile file, fetch(part, context.fetch));
  ORKESTR_CHECK(unpack_rules(fetch_stage(part), file.path, part.unpack, context));
  context.parts->push_back(
      {"maven", part.group + ":" + part.artifact, part.version, part.coordinates(), file.sha256, file.bytes});
  return {};
}

Result<void> add(const NpmPart& part, const RootfsContext& context) {
  ORKESTR_TRY(const FetchedFile file, fetch(part, context.fetch));
  ORKESTR_CHECK(unpack_rules(fetch_stage(part), file.path, part.unpack, context));
  context.parts->push_back(
      {"npm", part.package, part.version, part.package + "@" + part.version, file.sha256, file.bytes});
  return {};
}

Result<void> add(const PipPart& part, const RootfsContext& context) {
  ORKESTR_TRY(const auto files, fetch(part, context.fetch));
  const std::string wheels = context.root + "/var/tmp/wheels";
  ORKESTR_CHECK(base::make_directories(wheels, 0755));
  for (std::size_t i = 0; i < files.size(); ++i) {
    const FetchedFile& file = files[i];
    const std::string name = file.path.substr(file.path.rfind('/') + 1);
    ORKESTR_TRY(const base::UniqueFd from, base::open_at(AT_FDCWD, file.path, O_RDONLY));
    ORKESTR_TRY(const base::UniqueFd to, base::open_at(AT_FDCWD, wheels + "/" + name, O_WRONLY | O_CREAT, 0644));
    ORKESTR_CHECK(base::copy_file_contents(from.get(), to.get()));
    context.parts->push_back({"pip", part.packages[i].name, part.packages[i].version, name, file.sha256, file.bytes});
  }
  return run_step({fetch_stage(part),
                   {"python3 -m pip install --quiet --no-index --no-deps --no-compile --root-user-action=ignore "
                    "--disable-pip-version-check /var/tmp/wheels/*.whl",
                    "rm -rf /var/tmp/wheels"}},
                  context);
}

Result<void> add(const RecipeStep& step, const RootfsContext& context) { return run_step(step, context); }

}  // namespace

std::string action_name(const RecipeAction& action) {
  struct Name {
    std::string operator()(const DebianPart&) const { return std::string(kBaseStage); }
    std::string operator()(const ContainerPart&) const { return std::string(kBaseStage); }
    std::string operator()(const MavenPart& part) const { return fetch_stage(part); }
    std::string operator()(const NpmPart& part) const { return fetch_stage(part); }
    std::string operator()(const PipPart& part) const { return fetch_stage(part); }
    std::string operator()(const RecipeStep& step) const { return step.name; }
  };
  return std::visit(Name{}, action);
}

Result<void> check_tools(const Recipe& recipe) {
  struct Tool {
    const char* name;
    const char* package;
  };
  for (const Tool& tool : {Tool{"mmdebstrap", "mmdebstrap"}, Tool{"apt-config", "apt"}, Tool{"unshare", "util-linux"},
                           Tool{"chroot", "coreutils"}}) {
    ORKESTR_TRY([[maybe_unused]] const auto path, find_tool(kBaseStage, tool.name, tool.package));
  }
  for (const auto& action : recipe.actions) ORKESTR_CHECK(check_client(action));
  return {};
}

Result<void> check_sources(const Recipe& recipe) {
  for (const auto& action : recipe.actions) {
    if (const auto* container = std::get_if<ContainerPart>(&action)) return cannot_fetch(*container);
  }
  return {};
}

Result<void> run_action(const RecipeAction& action, const RootfsContext& context) {
  return std::visit([&](const auto& one) { return add(one, context); }, action);
}

Result<void> run_step(const RecipeStep& step, const RootfsContext& context) {
  ORKESTR_TRY(const std::string unshare, find_tool(step.name, "unshare", "util-linux"));
  ToolRun run;
  run.stage = step.name;
  run.as_root = true;
  run.argv = {unshare, "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child",
              fmt::format("--mount-proc={}/proc", context.root), "/bin/sh", "-euc", kEnterRoot, "sh", context.root,
              // The host's environment ends here: SOURCE_DATE_EPOCH or PYTHONPATH would change what is built.
              "/usr/bin/env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
              "LANG=C.UTF-8", "TERM=dumb", "/bin/bash", "-euo", "pipefail", "-c",
              fmt::format("umask 022\n{}\n", fmt::join(step.run, "\n"))};
  run.cwd = context.fetch.work;
  auto done = run_tool(run, context.fetch.tools);
  if (done) return {};
  if (done.error().code() == ErrorCode::cancelled) return done.error();
  // The whole command line is a script here; name the step instead.
  const std::string& output = done.error().details().console_tail;
  return build_error(step.name,
                     fmt::format("step '{}' of the recipe failed in the new root:\n{}\nThe recipe needs repair, or "
                                 "the sources changed under it.",
                                 step.name, last_lines(output, 12)),
                     output);
}

RecipeStep tidy_step() {
  return {"tidy",
          {"mkdir -p /workspace /persist /root /tmp /run /proc /sys /dev", "chmod 1777 /tmp",
           "chmod 755 /workspace /persist",
           // Directories that were made outside, under whatever umask the builder has.
           "find /usr/local -type d ! -perm -055 -exec chmod go+rx {} +", "echo sandbox > /etc/hostname",
           "printf '127.0.0.1\\tlocalhost sandbox\\n::1\\tlocalhost ip6-localhost ip6-loopback\\n' > /etc/hosts",
           // A link into /run (resolvconf, systemd) would dangle in the guest.
           "rm -f /etc/resolv.conf && : > /etc/resolv.conf", ": > /etc/machine-id", "rm -f /var/lib/dbus/machine-id",
           "rm -f /etc/apt/apt.conf.d/99mmdebstrap /etc/apt/auth.conf.d/* /etc/apt/auth.conf",
           ("find /etc/apt/sources.list /etc/apt/sources.list.d -type f -exec sed -i -E 's#://[^/@ ]*@#://#g' {} + "
            "2>/dev/null || true"),
           ("rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/cache/debconf/*-old "
            "/var/log/*.log /var/log/apt /var/lib/dpkg/*-old /tmp/* /var/tmp/* /root/.cache/pip /root/.npm "
            "/root/.bash_history"),
           // What a sandbox must not share with its sisters.
           "rm -f /etc/ssh/ssh_host_* /var/lib/systemd/random-seed"}};
}

std::vector<PartRecord> installed_packages(std::string_view text) {
  std::vector<PartRecord> out;
  PartRecord package{"debian", {}, {}, {}, {}, 0};
  bool installed = false;
  auto field = [](std::string_view line, std::string_view name) -> std::optional<std::string> {
    if (!line.starts_with(name)) return std::nullopt;
    return std::string(line.substr(name.size()));
  };
  auto flush = [&] {
    if (installed && !package.name.empty()) out.push_back(package);
    package.name.clear();
    installed = false;
  };
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.empty()) flush();
    if (auto name = field(line, "Package: ")) package.name = std::move(*name);
    if (auto version = field(line, "Version: ")) package.version = std::move(*version);
    if (line == "Status: install ok installed") installed = true;
  }
  flush();
  return out;
}

}  // namespace orkestr::image
