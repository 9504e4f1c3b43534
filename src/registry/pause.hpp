// A paused sandbox: what its directory holds beside record, events and lock.
//
//   pause/manifest.json    PauseManifest; the last file that is written
//         /devices         state of the devices
//         /pages           the guest's memory as far as it differs from `memory`
//         /disk.qcow2      the sandbox's own disk
//         /base.erofs /scratch.raw /memory /layer.qcow2
//                          what all of that is relative to: links to (or copies of) files of the template and its
//                          snapshot, so that a paused sandbox does not care what becomes of either
//   pause.new/             the same, being made: becomes pause/ by rename, and then the sandbox is paused
//
// Whoever has resumed it removes pause/ once the guest runs and has its identity; until then it is complete, whatever
// happens to the attempt.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::registry {

inline constexpr const char* kPauseDirectory = "pause";
inline constexpr const char* kPauseDraftDirectory = "pause.new";
inline constexpr const char* kPauseManifestFile = "manifest.json";
inline constexpr int kPauseFormat = 1;

struct PauseManifest {
  std::string id;
  // The machine that the state belongs to.
  std::string qemu_version;  // "7.2.22"
  std::string accelerator;
  std::string processor;  // features of the host's; counts where the guest sees them (KVM)
  std::int64_t machine_revision = 0;
  std::int64_t vcpus = 1;
  std::int64_t memory_mb = 0;
  std::int64_t tsc_khz = 0;
  // Files that are this sandbox's alone.
  std::string devices_checksum;
  std::string pages_checksum;
  std::string disk_checksum;
  // Files that it shares: name → size and time of change in nanoseconds, which are enough to notice that somebody
  // wrote.
  struct Shared {
    std::int64_t size = 0;
    std::int64_t modified_ns = 0;
    friend bool operator==(const Shared&, const Shared&) = default;
  };
  std::map<std::string, Shared> shared;
  std::vector<std::pair<std::string, std::string>> env;  // of the sandbox: masked in logs, in the guest it is anyway
  std::int64_t paused_at_ms = 0;                         // wall clock

  bool has(const std::string& name) const { return shared.count(name) != 0; }
  std::string to_json() const;
  static Result<PauseManifest> from_json(std::string_view json);
};

// The manifest of the sandbox `id` whose directory this is. file_not_found: it is not paused; snapshot_incompatible:
// what is there cannot be read.
Result<PauseManifest> read_pause_manifest(int dir_fd, const std::string& id);

}  // namespace orkestr::registry
