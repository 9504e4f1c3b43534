#include "vm/snapshot_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "base/checksum.hpp"
#include "base/file.hpp"
#include "base/id.hpp"
#include "base/json.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::vm {
namespace {

constexpr std::string_view kStaging = ".staging-";
constexpr std::size_t kKeyLength = 64;
constexpr const char* kManifest = "snapshot.json";

struct Part {
  const char* name;
  std::string SnapshotFiles::*path;
};
constexpr std::array<Part, 3> kParts = {
    {{"memory", &SnapshotFiles::memory}, {"devices", &SnapshotFiles::devices}, {"layer.qcow2", &SnapshotFiles::layer}}};

SnapshotFiles files_in(const std::string& directory) {
  SnapshotFiles files;
  files.directory = directory;
  for (const Part& part : kParts) files.*part.path = directory + "/" + part.name;
  return files;
}

// What changes when a file does. Not the time of its inode's change: that is also the time of a paused sandbox's link.
Result<std::string> fingerprint(const std::string& path) {
  struct stat s {};
  if (::stat(path.c_str(), &s) != 0) return base::errno_error("stat " + path, errno);
  return fmt::format("{} {:x}:{} {} {}.{:09}\n", path, s.st_dev, s.st_ino, s.st_size, s.st_mtim.tv_sec,
                     s.st_mtim.tv_nsec);
}

Result<std::string> stamp_of(const SnapshotFiles& files) {
  std::string state = base::boot_id() + "\n";
  for (const Part& part : kParts) {
    ORKESTR_TRY(const std::string line, fingerprint(files.*part.path));
    state += line;
  }
  return state;
}

Result<std::string> checksum_of(const std::string& path) {
  ORKESTR_TRY(const auto file, base::open_at(AT_FDCWD, path, O_RDONLY));
  return base::checksum_sparse_file(file.get());
}

Result<void> make_durable(const std::string& path, mode_t mode) {
  ORKESTR_TRY(const auto file, base::open_at(AT_FDCWD, path, O_RDONLY));
  if (::fchmod(file.get(), mode) != 0) return base::errno_error("chmod " + path, errno);
  if (::fsync(file.get()) != 0) return base::errno_error("sync " + path, errno);
  return {};
}

std::uint64_t allocated_in(const std::string& directory) {
  std::uint64_t bytes = 0;
  for (const Part& part : kParts) {
    struct stat s {};
    if (::stat((directory + "/" + part.name).c_str(), &s) == 0) bytes += static_cast<std::uint64_t>(s.st_blocks) * 512;
  }
  return bytes;
}

bool is_key(std::string_view name) {
  return name.size() == kKeyLength && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

SnapshotDraft::~SnapshotDraft() {
  if (!files.directory.empty()) (void)base::remove_tree(files.directory);
}

SnapshotDraft::SnapshotDraft(SnapshotDraft&& other) noexcept : files(std::exchange(other.files, {})) {}

SnapshotStore::SnapshotStore(std::vector<std::string> cache_dirs, std::string own_cache_dir, std::string stamp_dir,
                             std::uint64_t max_bytes)
    : cache_dirs_(std::move(cache_dirs)),
      own_cache_dir_(std::move(own_cache_dir)),
      stamp_dir_(std::move(stamp_dir)),
      max_bytes_(max_bytes) {}

Result<void> SnapshotStore::verify(const SnapshotFiles& files, const std::string& key) const {
  const std::string stamp = fmt::format("{}/snapshot-{}.verified", stamp_dir_, key);
  ORKESTR_TRY(const std::string state, stamp_of(files));
  if (auto seen = base::read_file(stamp, 64U << 10U); seen && *seen == state) return {};
  ORKESTR_TRY(const std::string text, base::read_file(files.directory + "/" + kManifest, 64U << 10U));
  ORKESTR_TRY(const auto json, base::JsonValue::parse(text));
  for (const Part& part : kParts) {
    ORKESTR_TRY(const std::string actual, checksum_of(files.*part.path));
    if (actual != json["checksums"].string_or(part.name, "")) {
      return Error(ErrorCode::internal, fmt::format("{} is not what was saved", files.*part.path));
    }
  }
  ORKESTR_CHECK(base::make_directories(stamp_dir_, 0700));
  return base::write_file_atomic(stamp, state, 0600);
}

Result<std::optional<SnapshotFiles>> SnapshotStore::find(const std::string& key, std::string& note) const {
  for (const auto& cache : cache_dirs_) {
    const SnapshotFiles files = files_in(cache + "/snapshots/" + key);
    if (!base::exists(files.directory)) continue;
    if (auto good = verify(files, key); !good) {
      note =
          fmt::format("the snapshot {} cannot be used and is made anew: {}", files.directory, good.error().message());
      if (cache == own_cache_dir_) (void)base::remove_tree(files.directory);
      continue;
    }
    ::utimensat(AT_FDCWD, files.directory.c_str(), nullptr, 0);  // used now; another user's keeps its time
    return std::optional<SnapshotFiles>(files);
  }
  return std::optional<SnapshotFiles>();
}

Result<std::optional<base::UniqueFd>> SnapshotStore::try_lock(const std::string& key) const {
  ORKESTR_CHECK(base::make_directories(home(), 0755));
  ORKESTR_TRY(auto file, base::open_at(AT_FDCWD, home() + "/lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  const auto byte = static_cast<std::int64_t>(std::strtoull(key.substr(0, 15).c_str(), nullptr, 16));
  ORKESTR_TRY(const bool ours, base::try_lock_byte(file.get(), byte, base::LockKind::write));
  if (!ours) return std::optional<base::UniqueFd>();
  return std::optional<base::UniqueFd>(std::move(file));
}

// Whoever makes one holds its lock: what is being made and not locked, nobody makes.
void SnapshotStore::remove_abandoned(const std::string& own_key) const {
  const auto names = base::list_directory(home());
  if (!names) return;
  for (const auto& name : *names) {
    if (!name.starts_with(kStaging)) continue;
    const std::string key = name.substr(kStaging.size(), kKeyLength);
    if (!is_key(key)) continue;
    auto lock = key == own_key ? Result<std::optional<base::UniqueFd>>(std::nullopt) : try_lock(key);
    if (key == own_key || (lock && *lock)) (void)base::remove_tree(home() + "/" + name);
  }
}

Result<SnapshotDraft> SnapshotStore::begin(const std::string& key) const {
  remove_abandoned(key);
  const std::string directory =
      fmt::format("{}/{}{}-{}", home(), kStaging, key, base::make_ulid(base::wall_clock_ms()));
  ORKESTR_CHECK(base::make_directories(directory, 0755));
  // Whatever the umask: root's snapshots are for every user, as its templates are.
  for (const auto& path : {home(), directory}) {
    if (::chmod(path.c_str(), 0755) != 0) return base::errno_error("chmod " + path, errno);
  }
  return SnapshotDraft(files_in(directory));
}

Result<SnapshotFiles> SnapshotStore::publish(SnapshotDraft draft, const std::string& key, const SnapshotOf& of) const {
  base::JsonWriter json;
  json.begin_object()
      .field("version", 1)
      .field("template", of.template_name)
      .field("template_digest", of.template_digest)
      .field("vcpus", of.vcpus)
      .field("memory_mb", of.memory_mb)
      .field("created_at", base::iso8601_utc(base::wall_clock_ms()))
      .key("checksums")
      .begin_object();
  for (const Part& part : kParts) {
    ORKESTR_TRY(const std::string sum, checksum_of(draft.files.*part.path));
    json.field(part.name, sum);
    ORKESTR_CHECK(make_durable(draft.files.*part.path, 0444));
  }
  json.end_object().end_object();
  ORKESTR_CHECK(base::write_file_atomic(draft.files.directory + "/" + kManifest, json.take() + "\n", 0444));
  const SnapshotFiles files = files_in(home() + "/" + key);
  ORKESTR_CHECK(base::remove_tree(files.directory));  // one that was damaged
  if (::rename(draft.files.directory.c_str(), files.directory.c_str()) != 0) {
    return base::errno_error(fmt::format("rename {} to {}", draft.files.directory, files.directory), errno);
  }
  draft.files.directory.clear();
  ORKESTR_TRY(const auto parent, base::open_at(AT_FDCWD, home(), O_RDONLY | O_DIRECTORY));
  if (::fsync(parent.get()) != 0) return base::errno_error("sync " + home(), errno);
  collect(key);
  return files;
}

void SnapshotStore::collect(const std::string& keep) const {
  struct Entry {
    timespec used;
    std::string name;
    std::uint64_t bytes;
  };
  std::vector<Entry> entries;
  std::uint64_t total = 0;
  const auto names = base::list_directory(home());
  if (!names) return;
  for (const auto& name : *names) {
    struct stat s {};
    const std::string directory = home() + "/" + name;
    if (!is_key(name) || ::lstat(directory.c_str(), &s) != 0) continue;
    const std::uint64_t bytes = allocated_in(directory);
    total += bytes;
    if (name != keep) entries.push_back({s.st_mtim, name, bytes});
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.used.tv_sec, a.used.tv_nsec) < std::tie(b.used.tv_sec, b.used.tv_nsec);
  });
  for (const Entry& entry : entries) {
    if (total <= max_bytes_) return;
    if (!base::remove_tree(home() + "/" + entry.name)) continue;
    total -= entry.bytes;
    ::unlink(fmt::format("{}/snapshot-{}.verified", stamp_dir_, entry.name).c_str());
  }
}

}  // namespace orkestr::vm
