// Snapshots of templates: a machine that has booted and is ready for its first command, saved once and copied by every
// create() of the same key.
//
//   <cache>/snapshots/KEY/memory         guest memory, sparse; every clone maps it privately
//                        /devices        state of the devices
//                        /layer.qcow2    what the guest had written to its disk, over the template's scratch image
//                        /snapshot.json  which template it is of, and a checksum of each file
//   <cache>/snapshots/.staging-KEY-ULID/ being made: becomes KEY by rename when it is complete
//   <cache>/snapshots/lock               one byte a key, held by whoever makes that one
//
// All files are 0444 and never written again. Who uses one has it open, or linked: removing a snapshot disturbs nobody.
//
// Thread safety: a value without state of its own; any thread. Blocking.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::vm {

struct SnapshotFiles {
  std::string directory;
  std::string memory;
  std::string devices;
  std::string layer;
};

// One that is being made. The destructor removes what is left of it.
class SnapshotDraft {
 public:
  explicit SnapshotDraft(SnapshotFiles its_files) : files(std::move(its_files)) {}
  ~SnapshotDraft();
  SnapshotDraft(SnapshotDraft&& other) noexcept;
  SnapshotDraft& operator=(SnapshotDraft&&) = delete;

  SnapshotFiles files;  // directory is there, the files are the caller's to make
};

struct SnapshotOf {
  std::string template_name;
  std::string template_digest;
  int vcpus = 0;
  int memory_mb = 0;
};

class SnapshotStore {
 public:
  // Looks in all of `cache_dirs`, makes in `own_cache_dir`. `stamp_dir` remembers what was verified in this boot of the
  // host. At most `max_bytes` (as allocated) are kept: the least recently used go first.
  SnapshotStore(std::vector<std::string> cache_dirs, std::string own_cache_dir, std::string stamp_dir,
                std::uint64_t max_bytes);

  // Nothing when there is none. One that is damaged counts as none: `note` says so, and it is removed where it is ours.
  Result<std::optional<SnapshotFiles>> find(const std::string& key, std::string& note) const;

  // The right to make it; nothing while another process has it. Held until the descriptor is closed.
  Result<std::optional<base::UniqueFd>> try_lock(const std::string& key) const;
  // For the holder of its lock, as publish(). Removes what killed makers left behind.
  Result<SnapshotDraft> begin(const std::string& key) const;
  // Makes the draft durable and gives it its name; then collects what is beyond the size.
  Result<SnapshotFiles> publish(SnapshotDraft draft, const std::string& key, const SnapshotOf& of) const;

 private:
  std::string home() const { return own_cache_dir_ + "/snapshots"; }
  Result<void> verify(const SnapshotFiles& files, const std::string& key) const;
  void remove_abandoned(const std::string& own_key) const;
  void collect(const std::string& keep) const;

  std::vector<std::string> cache_dirs_;
  std::string own_cache_dir_;
  std::string stamp_dir_;
  std::uint64_t max_bytes_;
};

}  // namespace orkestr::vm
