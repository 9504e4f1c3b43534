#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <set>

#include "base/build_stamp.hpp"
#include "base/child.hpp"
#include "base/json.hpp"
#include "base/try.hpp"
#include "host/inspect.hpp"
#include "image/kernel.hpp"
#include "image/store.hpp"
#include "image/tool.hpp"
#include "image/user_namespace.hpp"
#include "local/supervisor_path.hpp"

namespace orkestr {
namespace host {
namespace {

constexpr auto kHelperWithin = std::chrono::seconds(15);
constexpr int kOldestQemu[] = {7, 2};
constexpr int kOldestKernel[] = {5, 9};  // close_range, without which nothing keeps descriptors from QEMU
constexpr const char* kInstallQemu = "apt-get install qemu-system-x86";
constexpr const char* kOtherQemu = "unset ORKESTR_QEMU, or name a program with it: a QEMU of 7.2 or later";

Result<std::string> output_of(std::vector<std::string> argv) {
  base::ChildOptions child;
  child.argv = std::move(argv);
  child.env = {"LC_ALL=C"};
  const std::string program = child.argv.front();
  ORKESTR_TRY(auto ran, base::run_child(std::move(child), base::Deadline::after(kHelperWithin)));
  if (!ran.status.success()) {
    return Error(ErrorCode::internal,
                 fmt::format("{}: {}: {}", program, ran.status.to_string(), ran.output.substr(0, 500)));
  }
  return std::move(ran.output);
}

// What the supervisor finds, or null where it cannot be asked.
base::JsonValue ask_supervisor(Findings& findings) {
  const auto libexec = local::find_libexec();
  if (!libexec) {
    findings.problem("helpers", libexec.error().message(), "install the package again, or set ORKESTR_LIBEXEC");
    return {};
  }
  const std::string supervisor = *libexec + "/orkestr-supervisor";
  auto text = output_of({supervisor, "--check-host"});
  auto json = text ? base::JsonValue::parse(*text) : Result<base::JsonValue>(text.error());
  const std::string remedy = "install library and helpers of the same version, or unset ORKESTR_LIBEXEC";
  if (!json) {
    findings.problem("helpers",
                     fmt::format("{} does not answer as this library's does: {}", supervisor, json.error().message()),
                     remedy);
    return {};
  }
  const std::string stamp = json->string_or("stamp", "");
  if (stamp != base::kBuildStamp) {
    findings.problem("helpers",
                     fmt::format("{} is of build {}, the library of {}", supervisor, stamp, base::kBuildStamp), remedy);
    return {};
  }
  findings.ok("helpers", fmt::format("{} (build {})", *libexec, stamp));
  return std::move(*json);
}

// "7.2.22 (Debian …)" → {7, 2}
std::array<int, 2> parse_version(std::string_view text) {
  std::array<int, 2> version{0, 0};
  const char* end = text.data() + text.size();
  const auto major = std::from_chars(text.data(), end, version[0]);
  if (major.ptr < end && *major.ptr == '.') std::from_chars(major.ptr + 1, end, version[1]);
  return version;
}

bool is_older(const std::array<int, 2>& version, const int (&oldest)[2]) {
  return std::lexicographical_compare(version.begin(), version.end(), std::begin(oldest), std::end(oldest));
}

void inspect_qemu(const base::JsonValue& qemu, Findings& findings) {
  const char* named = std::getenv("ORKESTR_QEMU");
  const std::string remedy = named == nullptr || *named == '\0' ? kInstallQemu : kOtherQemu;
  const std::string path = qemu.string_or("path", "");
  if (path.empty()) return findings.problem("qemu", qemu.string_or("error", "not looked for"), remedy);
  const auto version = output_of({path, "--version"});
  if (!version) return findings.problem("qemu", version.error().message(), remedy);
  const std::string first_line = version->substr(0, version->find('\n'));
  constexpr std::string_view kBefore = "version ";
  const auto at = first_line.find(kBefore);
  if (at == std::string::npos || is_older(parse_version(first_line.substr(at + kBefore.size())), kOldestQemu)) {
    return findings.problem(
        "qemu", fmt::format("{} is \"{}\"; {}.{} or later is needed", path, first_line, kOldestQemu[0], kOldestQemu[1]),
        remedy == kOtherQemu ? remedy : remedy + ", from a newer release of the distribution");
  }
  const auto machines = output_of({path, "-machine", "help"});
  if (!machines || machines->find("\nmicrovm ") == std::string::npos) {
    return findings.problem("qemu", fmt::format("{} has no machine type microvm", path), remedy);
  }
  findings.ok("qemu", fmt::format("{}: {}, machine microvm", path, first_line));
}

void inspect_accelerator(const base::JsonValue& accelerator, Findings& findings) {
  const std::string name = accelerator.string_or("name", "");
  if (name.empty()) {
    return findings.problem("accelerator", accelerator.string_or("error", "not looked for"), "unset ORKESTR_ACCEL");
  }
  const std::string message = fmt::format("{}, isolation {} ({})", name, accelerator.string_or("isolation", ""),
                                          accelerator.string_or("reason", ""));
  if (name == "kvm") return findings.ok("accelerator", message);
  const bool refused = accelerator.string_or("reason", "").starts_with("kvm-refused") && ::geteuid() != 0;
  findings.warning("accelerator", message + "; sandboxes work, and run some ten times slower than on hardware",
                   refused ? "sudo usermod -aG kvm $USER, and log in again"
                           : "give this machine a /dev/kvm that runs on hardware, or leave it");
}

// Steps whose absence makes the containment of QEMU itself weaker, as opposed to those that are not asked for.
bool weakens(std::string_view step) {
  return step == "own uid" || step == "landlock" || step == "network namespace" || step == "ipc namespace";
}

void inspect_jail(const base::JsonValue& jail, Findings& findings) {
  const auto& steps = jail["steps"].items();
  if (steps.empty()) {
    return findings.problem("isolation", jail.string_or("error", "not looked at"),
                            "see the message; ORKESTR_UID_RANGE names the uids that sandboxes may use");
  }
  std::string applied, missing;
  for (const auto& step : steps) {
    const std::string name = step.string_or("name", "");
    if (step.boolean_or("applied", false)) {
      applied += (applied.empty() ? "" : ", ") + name;
      if (name == "landlock") applied += fmt::format(" ({})", step.string_or("detail", ""));
    } else if (weakens(name)) {
      missing += fmt::format("{}{} ({})", missing.empty() ? "" : ", ", name, step.string_or("detail", ""));
    }
  }
  if (missing.empty()) return findings.ok("isolation", "QEMU runs with " + applied);
  findings.warning("isolation", fmt::format("QEMU runs with {}; without {}", applied, missing),
                   ::geteuid() == 0 ? "a kernel with Landlock, a container that may make namespaces"
                                    : "run as root for a uid and namespaces of its own, or leave it");
}

// The command that builds a template again where it is: in this user's own cache, or in the system's.
std::string build_command(const base::Places& places, const image::TemplateInfo& info) {
  const bool own = info.cache_dir == places.cache_dir && ::geteuid() != 0;
  return fmt::format("{}orkestr template build {}", own ? "" : "sudo ", info.name);
}

// The kernel that QEMU and its jail stand on, and those that the guests boot.
void inspect_kernels(const base::Places& places, Findings& findings) {
  utsname host{};
  ::uname(&host);
  if (is_older(parse_version(host.release), kOldestKernel)) {
    return findings.problem("kernel",
                            fmt::format("this machine runs Linux {}; {}.{} or later is needed", host.release,
                                        kOldestKernel[0], kOldestKernel[1]),
                            "apt-get install linux-image-amd64, and reboot");
  }
  std::set<std::string> guests;
  const auto all = image::list_templates(places.cache_search);
  for (const auto& info : all ? *all : std::vector<image::TemplateInfo>{}) {
    if (!info.built) continue;
    if (const auto kernel = image::open_kernel(info.cache_dir, info.files.kernel_version); !kernel) {
      return findings.problem("kernel", fmt::format("template {} cannot boot: {}", info.name, kernel.error().message()),
                              build_command(places, info) + " --force");
    }
    guests.insert(info.files.kernel_version);
  }
  findings.ok("kernel", fmt::format("Linux {}; guests boot {}", host.release,
                                    guests.empty() ? "what the first template build fetches"
                                                   : fmt::format("{}", fmt::join(guests, ", "))));
}

void inspect_templates(const base::Places& places, Findings& findings) {
  const auto all = image::list_templates(places.cache_search);
  if (!all) return findings.problem("templates", all.error().message(), "orkestr template list");
  std::string built, outdated, remedy;
  for (const auto& info : *all) {
    if (!info.built) continue;
    built += (built.empty() ? "" : ", ") + info.name;
    if (info.current) continue;
    outdated = info.name;
    remedy = build_command(places, info);
  }
  if (built.empty()) {
    return findings.warning("templates", "none is built; the first create builds its template, which takes minutes",
                            "orkestr template build python-3.12-bare");
  }
  if (!outdated.empty()) {
    return findings.warning("templates", fmt::format("built: {}; {} is of an older recipe", built, outdated), remedy);
  }
  findings.ok("templates", "built: " + built);
}

struct BuildTool {
  const char* name;
  const char* package;
};

void inspect_build_tools(Findings& findings) {
  constexpr BuildTool kTools[] = {{"mmdebstrap", "mmdebstrap"},
                                  {"mkfs.erofs", "erofs-utils"},
                                  {"mke2fs", "e2fsprogs"},
                                  {"mvn", "maven"},
                                  {"npm", "npm"},
                                  {"pip3", "python3-pip"},
                                  {"qemu-img", "qemu-utils"}};
  std::string missing, packages, found;
  const auto look = [&](const BuildTool& tool) {
    if (image::find_tool("doctor", tool.name, tool.package)) {
      found += (found.empty() ? "" : ", ") + std::string(tool.name);
      return;
    }
    missing += (missing.empty() ? "" : ", ") + std::string(tool.name);
    packages += fmt::format(" {}", tool.package);
  };
  for (const auto& tool : kTools) look(tool);
  if (::geteuid() != 0) look({"newuidmap", "uidmap"});
  if (missing.empty()) {
    const auto obstacle = image::obstacle_to_root();
    if (!obstacle) return findings.ok("build tools", found + (::geteuid() == 0 ? "" : "; run in a user namespace"));
    return findings.warning(
        "build tools",
        fmt::format("{}: this user cannot build templates; using those that are built needs nothing", obstacle->what),
        obstacle->remedy);
  }
  findings.warning(
      "build tools",
      fmt::format("{} missing: some templates cannot be built here; using those that are built needs none", missing),
      "apt-get install" + packages);
}

}  // namespace
}  // namespace host

std::string_view to_string(FindingLevel value) noexcept {
  switch (value) {
    case FindingLevel::ok:
      return "ok";
    case FindingLevel::warning:
      return "warning";
    case FindingLevel::problem:
      return "problem";
  }
  return "problem";
}

Result<DoctorReport> doctor(DoctorOptions options) {
  host::Findings findings(options.fix);
  const auto seen = host::ask_supervisor(findings);
  if (!seen.is_null()) {
    host::inspect_qemu(seen["qemu"], findings);
    host::inspect_accelerator(seen["accelerator"], findings);
    host::inspect_jail(seen["jail"], findings);
  }
  const auto places = base::name_places();
  if (!places) {
    findings.problem("state directory", places.error().message(),
                     "set or unset ORKESTR_HOME, XDG_STATE_HOME, XDG_CACHE_HOME");
    return findings.take();
  }
  host::inspect_places(*places, findings);
  host::inspect_room(*places, findings);
  host::inspect_kernels(*places, findings);
  host::inspect_templates(*places, findings);
  host::inspect_build_tools(findings);
  host::inspect_leftovers(*places, findings);
  host::inspect_pool(findings);
  return findings.take();
}

}  // namespace orkestr
