// This machine as a host of sandboxes: is it fit for them, and what do they leave behind.
//
//   for (const auto& finding : orkestr::doctor().value().findings)
//     if (finding.level != orkestr::FindingLevel::ok) std::cerr << finding.message << "\n  " << finding.remedy << "\n";
//
// Both functions are about the local backend, whatever backend a client uses. They work in the caller's thread, for a
// second or so, start helper programs and touch nothing of a running sandbox.
//
// Thread safety: any thread; they read the environment, so call them while no other thread changes that.
#pragma once

#include <cstdint>
#include <orkestr/error.hpp>
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
  std::vector<std::string> removed;    // paths in the cache: what killed builds left, builds and kernels without a user
  std::uint64_t bytes = 0;             // of all that, as allocated on disk
  std::string skipped;                 // why the cache was left alone (a build is under way); empty otherwise
};

// Removes what nothing needs any more. Running sandboxes, finished templates in use and their sources stay. Errors:
// not_permitted, internal; what was removed until then stays removed.
ORKESTR_API Result<GcReport> gc();

}  // namespace orkestr
