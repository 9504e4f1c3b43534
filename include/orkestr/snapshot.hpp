// Named snapshots: a frozen copy of a sandbox that any number of new ones can start from, while the source goes on.
//
// The remote backend has them; on the local one they come with a later version and answer not_supported. (pause() and
// resume() are something else: they freeze and thaw one sandbox, and both backends have them.)
//
// Thread safety: static functions without state; any thread.
#pragma once

#include <optional>
#include <orkestr/client.hpp>
#include <orkestr/operation.hpp>
#include <orkestr/options.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace orkestr {

struct SnapshotInfo {
  std::string id;
  std::string status;  // "capturing", "ready", "failed"
  std::string template_name;
  double cpu = 0;
  int memory_mb = 0;
  Network network = Network::off;
  std::string name;
  std::string source_sandbox_id;
  int size_mb = 0;
  std::string node_id;
  std::string region;
  std::string error_message;
  TimePoint created_at;
  std::optional<TimePoint> ready_at;
};

class ORKESTR_API Snapshot {
 public:
  static Result<std::vector<SnapshotInfo>> list(std::optional<Client> client = {});
  // not_found for an unknown id.
  static Result<SnapshotInfo> get(std::string_view snapshot_id, std::optional<Client> client = {});
  // Idempotent.
  static Result<void> remove(std::string_view snapshot_id, std::optional<Client> client = {});

  static Operation<std::vector<SnapshotInfo>> list_async(std::optional<Client> client = {});
  static Operation<SnapshotInfo> get_async(std::string_view snapshot_id, std::optional<Client> client = {});
  static Operation<void> remove_async(std::string_view snapshot_id, std::optional<Client> client = {});
};

}  // namespace orkestr
