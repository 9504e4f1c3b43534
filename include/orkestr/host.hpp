// This machine as a host of sandboxes: is it fit for them, what do they leave behind, and how many wait to be used.
//
//   for (const auto& finding : orkestr::doctor().value().findings)
//     if (finding.level != orkestr::FindingLevel::ok) std::cerr << finding.message << "\n  " << finding.remedy << "\n";
//
// All functions here are about the local backend, whatever backend a client uses. They work in the caller's thread, for
// a second or so unless said otherwise, start helper programs and touch nothing of a running sandbox.
//
// Thread safety: any thread; they read the environment, so call them while no other thread changes that.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <orkestr/error.hpp>
#include <orkestr/options.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace orkestr {

// `problem`: sandboxes cannot be created until it is mended. `warning`: something else does not work, or will not soon.
enum class FindingLevel { ok, warning, problem };
// "ok", "warning", "problem".
ORKESTR_API std::string_view to_string(FindingLevel value) noexcept;

struct Finding {
  std::string
      check;  // what was looked at: "qemu", "accelerator", "isolation", "disk space"… Stable, several may share one
  FindingLevel level = FindingLevel::ok;
  std::string message;  // what was found, with the figures
  std::string remedy;   // the command that mends it, or what a person must decide; empty when ok
  bool fixed = false;   // it was a warning or a problem, and DoctorOptions::fix has mended it
};

struct DoctorOptions {
  // Mends what can be mended without a decision: makes our own directories and repairs their modes, reaps dead
  // sandboxes, removes what killed builds left. Never installs, never touches what is another user's.
  bool fix = false;
};

struct DoctorReport {
  std::vector<Finding> findings;
  FindingLevel worst() const {
    FindingLevel level = FindingLevel::ok;
    for (const auto& finding : findings) level = finding.level > level ? finding.level : level;
    return level;
  }
};

// Never fails for what it finds: that is the report.
ORKESTR_API Result<DoctorReport> doctor(DoctorOptions options = {});

struct GcReport {
  std::vector<std::string> reaped;     // ids of dead sandboxes whose storage was removed; their records stay
  std::vector<std::string> forgotten;  // ids whose records were removed: ended 24 hours ago, or beyond the newest 1,000
  // Paths: what killed builds left, builds and kernels without a user, copies that no paused sandbox needs any more.
  std::vector<std::string> removed;
  std::uint64_t bytes = 0;  // of all that, as allocated on disk
  std::string skipped;      // why the cache was left alone (a build is under way); empty otherwise
};

// Removes what nothing needs any more. Running sandboxes, finished templates in use and their sources stay. Errors:
// not_permitted, internal; what was removed until then stays removed.
ORKESTR_API Result<GcReport> gc();

// --- The warm pool: machines that are ready before anybody asks, each stopped after a first command. A create() of the
// same template and machine takes one in milliseconds, whatever else it asks for, and gives it an identity of its own;
// each is used once. Whoever took one has another one made in the background. They take memory (some 64 MB each) and no
// processor, and are no sandboxes: not in list(), not counted by limits. They end by themselves when nobody takes them,
// when memory is short, and at the next create() or call here when library, template or QEMU were replaced.

struct PoolOptions {
  std::string template_name;  // a built one
  int count = 1;              // how many are to be ready; 0 to 64, 0: none any more
  // As in CreateOptions; it is the same machine that a create() must ask for.
  Size size = Size::small;
  std::optional<double> cpu{};
  std::optional<int> memory_mb{};
  std::optional<int> disk_mb{};
  std::chrono::seconds idle_timeout{3600};  // 10 s to 366 days; one that nobody took for so long ends
  int min_available_mb = 1024;              // MiB; with less memory available on the host they end, and none is made
};

struct PoolMember {
  std::string id;
  bool ready = false;  // false: it is being made
  TimePoint created_at{};
};

// What is configured for one template and machine, and what there is of it.
struct PoolInfo {
  std::string template_name;
  int count = 0;
  double cpu = 1;
  int memory_mb = 0;
  int disk_mb = 0;
  std::chrono::seconds idle_timeout{0};
  int min_available_mb = 0;
  std::vector<PoolMember> members;
  std::string problem;  // why there are fewer than `count`, where that is known
  int ready() const {
    int ready_now = 0;
    for (const auto& member : members) ready_now += member.ready ? 1 : 0;
    return ready_now;
  }
};

// Configures, ends what is too many and makes what is missing; returns when all are ready or cannot be, which is no
// error: see `problem`. Seconds for each; the first of a machine takes longer, it makes the snapshot. Errors:
// invalid_argument, template_not_found, template_build_failed.
ORKESTR_API Result<PoolInfo> pool_set(const PoolOptions& options);
// What is configured. Ends members that are of no use any more.
ORKESTR_API Result<std::vector<PoolInfo>> pool_list();
// Configures none, of this template or of any, and ends the members. How many there were. template_not_found: none was
// configured of it, and there is no such template.
ORKESTR_API Result<int> pool_clear(std::string_view template_name = {});

}  // namespace orkestr
