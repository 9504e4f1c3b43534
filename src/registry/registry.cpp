// What every other process does: look, and bury the dead.
#include "registry/registry.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "base/deadline.hpp"
#include "base/file.hpp"
#include "base/id.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "registry/directory.hpp"
#include "registry/pause.hpp"

namespace orkestr::registry {
namespace {

constexpr std::string_view kStateFormat = "1";
constexpr std::size_t kMaxVersionBytes = 64;
// A QEMU dies with its supervisor, but needs a moment to; so does another reaper for its work.
constexpr auto kDeathDeadline = std::chrono::seconds(2);
constexpr auto kDeathPoll = std::chrono::milliseconds(5);
constexpr std::int64_t kKeepEndedMs = 24LL * 60 * 60 * 1000;
constexpr std::size_t kKeepEndedCount = 1000;

Error no_such_sandbox(const std::string& id) {
  return Error(ErrorCode::not_found,
               fmt::format("sandbox {}: there is none of this id on this machine (records of ended "
                           "sandboxes are kept for 24 hours)",
                           id));
}

// What a record says of a sandbox that nobody holds.
Record as_dead(Record record) {
  if (record.ended()) return record;
  record.status = "failed";
  record.ended_at_ms = base::wall_clock_ms();
  record.end_reason = "failed: its supervisor ended without a word";
  return record;
}

// What a record says of a sandbox that nobody holds and that is paused.
Record as_paused(Record record) {
  record.status = "paused";
  return record;
}

bool is_expired(const Record& paused) {
  return paused.paused_expires_at_ms != 0 && base::wall_clock_ms() >= paused.paused_expires_at_ms;
}

// Of a record that nobody holds: nothing unless it is paused. A manifest that cannot be read counts: who resumes it is
// told, and its files are kept.
std::optional<Record> paused_record(int dir_fd, const std::string& id) {
  auto record = read_record(dir_fd, id);
  if (!record || record->ended()) return std::nullopt;
  const auto manifest = read_pause_manifest(dir_fd, id);
  if (!manifest && manifest.error().code() == ErrorCode::file_not_found) return std::nullopt;
  return as_paused(std::move(*record));
}

// Precondition: byte 2 is held, bytes 0 and 1 are free.
Result<Record> end_with(int dir_fd, Record record, std::string status, std::string reason) {
  record.status = std::move(status);
  record.end_reason = std::move(reason);
  record.ended_at_ms = base::wall_clock_ms();
  ORKESTR_CHECK(base::write_file_atomic_at(dir_fd, kRecordFile, record.to_json() + "\n", 0600));
  ORKESTR_CHECK(remove_all_but_history(dir_fd));
  return record;
}

// Precondition: byte 2 is held, bytes 0 and 1 are free.
Result<Record> reap(int dir_fd, const std::string& id) {
  if (auto paused = paused_record(dir_fd, id)) {
    return end_with(dir_fd, std::move(*paused), "terminated", "kept paused for as long as was asked for");
  }
  auto read = read_record(dir_fd, id);
  const bool said_how = read && read->ended();
  Record record;
  if (read) {
    record = as_dead(std::move(*read));
  } else {
    record.id = id;
    record = as_dead(std::move(record));
    record.end_reason = "failed: its record could not be read";
  }
  if (!said_how) {
    ORKESTR_CHECK(base::write_file_atomic_at(dir_fd, kRecordFile, record.to_json() + "\n", 0600));
  }
  ORKESTR_CHECK(remove_all_but_history(dir_fd));
  return record;
}

enum class Holder { supervisor, dying, nobody };

Result<Holder> find_holder(int lock_fd) {
  ORKESTR_TRY(const bool supervisor, base::is_byte_locked(lock_fd, kSupervisorByte));
  if (supervisor) return Holder::supervisor;
  ORKESTR_TRY(const bool qemu, base::is_byte_locked(lock_fd, kQemuByte));
  return qemu ? Holder::dying : Holder::nobody;
}

bool has_name(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && info.st_nlink > 0;
}

// Nothing while the dead sandbox is still held: by a QEMU on its way out, or by another reaper.
Result<std::optional<Record>> try_reap(int dir_fd, int lock_fd, const std::string& id) {
  ORKESTR_TRY(const bool ours, base::try_lock_byte(lock_fd, kTransitionByte, base::LockKind::write));
  if (!ours) return std::optional<Record>();
  // Now that no transition can begin: is it still true? A reaper before us has unlinked this very file.
  ORKESTR_TRY(const Holder holder, find_holder(lock_fd));
  if (holder != Holder::nobody || !has_name(lock_fd)) return std::optional<Record>();
  if (const auto paused = paused_record(dir_fd, id); paused && !is_expired(*paused)) return std::optional<Record>();
  ORKESTR_TRY(Record record, reap(dir_fd, id));
  return std::optional<Record>(std::move(record));
}

// The truth about an open directory. Waits for the dying until `deadline`, then answers without reaping; the next call
// will.
Result<Entry> examine(int dir_fd, const std::string& id, base::Deadline deadline) {
  bool killed = false;
  while (true) {
    auto lock = open_lock(dir_fd, O_RDWR);
    if (!lock && lock.error().code() != ErrorCode::file_not_found) return lock.error();
    if (!lock) {
      // The final record is written before the lock file goes, so what is read now is final.
      ORKESTR_TRY(Record record, read_record(dir_fd, id));
      return Entry{as_dead(std::move(record)), false};
    }
    ORKESTR_TRY(const Holder holder, find_holder(lock->get()));
    if (holder == Holder::supervisor) {
      ORKESTR_TRY(Record record, read_record(dir_fd, id));
      // A transition leaves its word to the locks: what is on disk is true before and after it.
      ORKESTR_TRY(const bool resume, base::is_byte_locked(lock->get(), kResumeByte));
      ORKESTR_TRY(const bool transition, base::is_byte_locked(lock->get(), kTransitionByte));
      if (resume) {
        record.status = "resuming";
      } else if (transition && record.status == "running") {
        const auto manifest = read_pause_manifest(dir_fd, id);
        record.status = manifest ? "paused" : "pausing";
      }
      return Entry{std::move(record), true};
    }
    if (holder == Holder::nobody) {
      if (auto paused = paused_record(dir_fd, id); paused && !is_expired(*paused)) {
        ORKESTR_TRY(const bool resume, base::is_byte_locked(lock->get(), kResumeByte));
        if (resume) paused->status = "resuming";
        return Entry{std::move(*paused), false};
      }
      auto reaped = try_reap(dir_fd, lock->get(), id);
      if (reaped && *reaped) return Entry{std::move(**reaped), false};
      // A full disk, a read-only file system: what is dead is dead all the same.
      if (!reaped && has_name(lock->get())) deadline = base::Deadline::after(std::chrono::nanoseconds(0));
    }
    // The kernel kills QEMU when its supervisor ends. One that is still there has seen to it that it does not.
    if (holder == Holder::dying && deadline.expired() && !std::exchange(killed, true) && kill_qemu(lock->get(), id)) {
      deadline = base::Deadline::after(kDeathDeadline);
    }
    if (deadline.expired()) {
      ORKESTR_TRY(Record record, read_record(dir_fd, id));
      return Entry{as_dead(std::move(record)), false};
    }
    lock->reset();
    std::this_thread::sleep_for(kDeathPoll);
  }
}

bool is_half_made(const std::string& name) {
  const std::string_view prefix = kNewPrefix;
  return name.size() > prefix.size() && name.compare(0, prefix.size(), prefix) == 0 &&
         base::is_sandbox_id(std::string_view(name).substr(prefix.size()));
}

// When an ended sandbox ended; a record that cannot be read is as old as its directory. Nothing while there is a lock
// file.
std::optional<std::int64_t> ended_at(int dir_fd, const std::string& id) {
  struct stat info {};
  if (::fstatat(dir_fd, kLockFile, &info, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT) return std::nullopt;
  auto record = read_record(dir_fd, id);
  if (record && record->ended_at_ms > 0) return record->ended_at_ms;
  if (::fstat(dir_fd, &info) != 0) return std::nullopt;
  return static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1000;
}

}  // namespace

Result<std::string> prepare_state_directory(const std::string& state_dir) {
  const std::string sandboxes = state_dir + "/sandboxes";
  const std::string version_file = state_dir + "/version";
  ORKESTR_CHECK(base::make_directories(state_dir, 0700));
  auto version = base::read_file(version_file, kMaxVersionBytes);
  if (!version && version.error().code() == ErrorCode::file_not_found) {
    ORKESTR_CHECK(base::write_file_atomic(version_file, std::string(kStateFormat) + "\n", 0600));
  } else if (!version) {
    return version.error();
  } else {
    while (!version->empty() && (version->back() == '\n' || version->back() == ' ')) version->pop_back();
    if (*version != kStateFormat) {
      return Error(
          ErrorCode::not_supported,
          fmt::format("open the state directory {}: its format is \"{}\", this build (orkestr {}) knows \"{}\"; "
                      "use the version of orkestr that made it, or another ORKESTR_HOME",
                      state_dir, *version, ORKESTR_VERSION, kStateFormat));
    }
  }
  ORKESTR_CHECK(base::make_directories(sandboxes, 0700));
  return sandboxes;
}

Result<Entry> inspect(const std::string& sandboxes_dir, const std::string& id) {
  if (!base::is_sandbox_id(id)) return no_such_sandbox(id);
  auto dir = open_directory(AT_FDCWD, sandboxes_dir + "/" + id);
  if (!dir && dir.error().code() == ErrorCode::file_not_found) return no_such_sandbox(id);
  if (!dir) return dir.error();
  auto entry = examine(dir->get(), id, base::Deadline::after(kDeathDeadline));
  if (!entry && entry.error().code() == ErrorCode::file_not_found) return no_such_sandbox(id);  // forgotten meanwhile
  return entry;
}

Result<std::vector<Entry>> scan(const std::string& sandboxes_dir) {
  ORKESTR_TRY(auto sandboxes, base::open_at(AT_FDCWD, sandboxes_dir, O_RDONLY | O_DIRECTORY));
  ORKESTR_TRY(const auto names, base::list_directory(sandboxes_dir));
  // One deadline for all of them: a machine full of dying QEMUs delays a list no longer than a single one.
  const auto deadline = base::Deadline::after(kDeathDeadline);
  std::vector<Entry> entries;
  for (const std::string& name : names) {
    if (is_half_made(name)) remove_half_made(sandboxes.get(), name);
    if (!base::is_sandbox_id(name)) continue;
    auto dir = open_directory(sandboxes.get(), name);
    if (!dir) continue;
    if (auto entry = examine(dir->get(), name, deadline)) entries.push_back(std::move(*entry));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.record.created_at_ms, a.record.id) > std::tie(b.record.created_at_ms, b.record.id);
  });
  return entries;
}

Result<std::vector<std::string>> find_dead(const std::string& sandboxes_dir) {
  std::vector<std::string> dead;
  auto names = base::list_directory(sandboxes_dir);
  if (!names && names.error().code() == ErrorCode::file_not_found) return dead;
  if (!names) return names.error();
  for (const std::string& name : *names) {
    if (!base::is_sandbox_id(name) && !is_half_made(name)) continue;
    auto dir = open_directory(AT_FDCWD, sandboxes_dir + "/" + name);
    if (!dir) continue;
    auto lock = open_lock(dir->get(), O_RDWR);
    if (!lock) continue;  // ended and buried; or its maker is between two system calls
    auto holder = find_holder(lock->get());
    if (!holder || *holder != Holder::nobody) continue;
    if (const auto paused = paused_record(dir->get(), name); paused && !is_expired(*paused)) continue;
    dead.push_back(name);
  }
  return dead;
}

Result<bool> end_paused(const std::string& sandboxes_dir, const std::string& id, const std::string& reason) {
  if (!base::is_sandbox_id(id)) return no_such_sandbox(id);
  auto dir = open_directory(AT_FDCWD, sandboxes_dir + "/" + id);
  if (!dir && dir.error().code() == ErrorCode::file_not_found) return no_such_sandbox(id);
  if (!dir) return dir.error();
  auto lock = open_lock(dir->get(), O_RDWR);
  if (!lock && lock.error().code() == ErrorCode::file_not_found) return false;
  if (!lock) return lock.error();
  ORKESTR_TRY(const bool ours, base::try_lock_byte(lock->get(), kTransitionByte, base::LockKind::write));
  if (!ours) return false;
  ORKESTR_TRY(const Holder holder, find_holder(lock->get()));
  if (holder != Holder::nobody || !has_name(lock->get())) return false;
  auto paused = paused_record(dir->get(), id);
  if (!paused) return false;
  ORKESTR_CHECK(end_with(dir->get(), std::move(*paused), "terminated", reason));
  return true;
}

Result<int> count_alive(const std::string& sandboxes_dir) {
  ORKESTR_TRY(const auto names, base::list_directory(sandboxes_dir));
  int alive = 0;
  for (const std::string& name : names) {
    if (!base::is_sandbox_id(name)) continue;
    auto lock = base::open_at(AT_FDCWD, fmt::format("{}/{}/{}", sandboxes_dir, name, kLockFile), O_RDONLY | O_NOFOLLOW);
    if (!lock) continue;
    const auto held = base::is_byte_locked(lock->get(), kSupervisorByte);
    if (held && *held) ++alive;
  }
  return alive;
}

std::size_t count_paused(const std::string& sandboxes_dir) {
  const auto names = base::list_directory(sandboxes_dir);
  if (!names) return 0;
  return static_cast<std::size_t>(std::count_if(names->begin(), names->end(), [&](const std::string& name) {
    return base::is_sandbox_id(name) &&
           base::exists(fmt::format("{}/{}/{}/{}", sandboxes_dir, name, kPauseDirectory, kPauseManifestFile));
  }));
}

Result<std::vector<std::string>> forget_old(const std::string& sandboxes_dir, std::int64_t now_ms) {
  ORKESTR_TRY(auto sandboxes, base::open_at(AT_FDCWD, sandboxes_dir, O_RDONLY | O_DIRECTORY));
  ORKESTR_TRY(const auto names, base::list_directory(sandboxes_dir));
  std::vector<std::pair<std::int64_t, std::string>> ended;
  for (const std::string& name : names) {
    if (!base::is_sandbox_id(name)) continue;
    auto dir = open_directory(sandboxes.get(), name);
    if (!dir) continue;
    if (auto when = ended_at(dir->get(), name)) ended.emplace_back(*when, name);
  }
  std::sort(ended.rbegin(), ended.rend());
  std::vector<std::string> forgotten;
  for (std::size_t i = 0; i < ended.size(); ++i) {
    if (i < kKeepEndedCount && now_ms - ended[i].first <= kKeepEndedMs) continue;
    ORKESTR_CHECK(base::remove_tree(sandboxes_dir + "/" + ended[i].second));
    forgotten.push_back(ended[i].second);
  }
  return forgotten;
}

}  // namespace orkestr::registry
