#include "orkestr/snapshot.hpp"

#include "core/handles.hpp"
#include "core/submit.hpp"
#include "core/validate.hpp"

namespace orkestr {

using core::client_of;
using core::completed;

Operation<std::vector<SnapshotInfo>> Snapshot::list_async(std::optional<Client> client) {
  using Value = std::vector<SnapshotInfo>;
  auto impl = client_of(client);
  if (!impl) return completed<Value>(impl.error());
  return core::submit<Value>([&](auto done) { return (*impl)->backend().list_snapshots(std::move(done)); });
}

Operation<SnapshotInfo> Snapshot::get_async(std::string_view snapshot_id, std::optional<Client> client) {
  auto impl = client_of(client);
  if (!impl) return completed<SnapshotInfo>(impl.error());
  if (auto good = core::check_id("snapshot", snapshot_id); !good) return completed<SnapshotInfo>(good.error());
  return core::submit<SnapshotInfo>(
      [&](auto done) { return (*impl)->backend().get_snapshot(std::string(snapshot_id), std::move(done)); });
}

Operation<void> Snapshot::remove_async(std::string_view snapshot_id, std::optional<Client> client) {
  auto impl = client_of(client);
  if (!impl) return completed<void>(impl.error());
  if (auto good = core::check_id("snapshot", snapshot_id); !good) return completed<void>(good);
  return core::submit<void>(
      [&](auto done) { return (*impl)->backend().remove_snapshot(std::string(snapshot_id), std::move(done)); });
}

Result<std::vector<SnapshotInfo>> Snapshot::list(std::optional<Client> client) {
  return list_async(std::move(client)).get();
}
Result<SnapshotInfo> Snapshot::get(std::string_view snapshot_id, std::optional<Client> client) {
  return get_async(snapshot_id, std::move(client)).get();
}
Result<void> Snapshot::remove(std::string_view snapshot_id, std::optional<Client> client) {
  return remove_async(snapshot_id, std::move(client)).get();
}

}  // namespace orkestr
