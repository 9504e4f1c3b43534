// Volumes: storage that outlives sandboxes. One named in CreateOptions::volume is mounted at /persist, and made at its
// first use; this is for the rest: a size of its own, a lifetime, listing, moving, removing.
//
// A service has them; on the local backend all of it answers not_supported.
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

struct VolumeInfo {
  std::string id;
  std::string name;
  int size_mb = 0;  // the most it may hold
  std::string status;
  std::string region;  // empty: that of the first sandbox that will have it
  std::string node_id;
  std::string attached_sandbox_id;  // empty: none has it now
  std::optional<int> max_lifetime_days;
  std::optional<int> max_lifetime_hours;
  std::optional<TimePoint> expires_at;
};

struct VolumeOptions {
  double size_gb = 10;  // GiB, from 0.25; space is taken as it is written
  std::string region;   // an id of Limits::regions; empty: that of the first sandbox that has it
  // It is destroyed so long after its creation, later while a sandbox has it. At most one of the two.
  std::optional<int> max_lifetime_days;   // 1 to 3650
  std::optional<int> max_lifetime_hours;  // 1 to 24
};

// Counted from the volume's creation: a short one may destroy an old volume soon. Without `value`: no end.
struct VolumeLifetime {
  enum class Unit { days, hours };
  Unit unit = Unit::days;
  std::optional<int> value;  // 1 to 3650 days, 1 to 24 hours
};

class ORKESTR_API Volume {
 public:
  // `name` is the account's own and what CreateOptions::volume takes.
  static Result<VolumeInfo> create(std::string_view name, const VolumeOptions& options = {},
                                   std::optional<Client> client = {});
  static Result<std::vector<VolumeInfo>> list(std::optional<Client> client = {});
  static Result<VolumeInfo> update(std::string_view volume_id, const VolumeLifetime& lifetime,
                                   std::optional<Client> client = {});
  // These two: volume_in_use while a sandbox has it.
  static Result<VolumeInfo> move(std::string_view volume_id, std::string_view region,
                                 std::optional<Client> client = {});
  static Result<void> remove(std::string_view volume_id, std::optional<Client> client = {});

  static Operation<VolumeInfo> create_async(std::string_view name, const VolumeOptions& options = {},
                                            std::optional<Client> client = {});
  static Operation<std::vector<VolumeInfo>> list_async(std::optional<Client> client = {});
  static Operation<VolumeInfo> update_async(std::string_view volume_id, const VolumeLifetime& lifetime,
                                            std::optional<Client> client = {});
  static Operation<VolumeInfo> move_async(std::string_view volume_id, std::string_view region,
                                          std::optional<Client> client = {});
  static Operation<void> remove_async(std::string_view volume_id, std::optional<Client> client = {});
};

}  // namespace orkestr
