// Making, keeping and ending one sandbox's directory: what its supervisor does.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <thread>

#include "base/deadline.hpp"
#include "base/file.hpp"
#include "base/id.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "registry/directory.hpp"
#include "registry/pause.hpp"
#include "registry/registry.hpp"

namespace orkestr::registry {
namespace {

constexpr auto kMakeDeadline = std::chrono::seconds(5);
constexpr auto kRetryPause = std::chrono::milliseconds(1);
constexpr std::size_t kMaxRecordBytes = 256U << 10U;

struct Claim {
  base::UniqueFd dir;
  base::UniqueFd lock;
  base::UniqueFd transition;
};

// Not atomic and not synced: nobody reads it before the directory has its final name, and a machine that loses power
// now has lost the sandbox as well.
Result<void> write_first_record(int dir_fd, const Record& record) {
  ORKESTR_TRY(auto file, base::open_at(dir_fd, kRecordFile, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  return base::write_all(file.get(), record.to_json() + "\n");
}

// Everything below the temporary name. An error with file_not_found or not_ready means that a collector took the
// directory for a dead one: before byte 0 is held it cannot know better.
Result<Claim> fill(int sandboxes_fd, const std::string& name, const Record& record) {
  Claim claim;
  ORKESTR_TRY(claim.dir, open_directory(sandboxes_fd, name));
  ORKESTR_TRY(claim.lock, open_lock(claim.dir.get(), O_RDWR | O_CREAT | O_EXCL));
  ORKESTR_TRY(const bool locked, base::try_lock_byte(claim.lock.get(), kSupervisorByte, base::LockKind::write));
  if (!locked) return Error(ErrorCode::not_ready, "a collector holds the lock");
  ORKESTR_TRY(claim.transition, open_lock(claim.dir.get(), O_RDWR));
  ORKESTR_TRY(const bool in_transition,
              base::try_lock_byte(claim.transition.get(), kTransitionByte, base::LockKind::write));
  if (!in_transition) return Error(ErrorCode::not_ready, "a collector holds the transition");
  ORKESTR_CHECK(write_first_record(claim.dir.get(), record));
  return claim;
}

bool was_collected(const Error& error) {
  return error.code() == ErrorCode::file_not_found || error.code() == ErrorCode::not_ready;
}

Result<void> give_final_name(int sandboxes_fd, const std::string& name, const std::string& id) {
  if (::renameat2(sandboxes_fd, name.c_str(), sandboxes_fd, id.c_str(), RENAME_NOREPLACE) == 0) return {};
  // File systems without the flag: plain rename refuses a directory with anything in it, and a sandbox's always has.
  if (errno == EINVAL && ::renameat(sandboxes_fd, name.c_str(), sandboxes_fd, id.c_str()) == 0) return {};
  return base::errno_error(fmt::format("rename {} to {}", name, id), errno);
}

}  // namespace

Result<base::UniqueFd> open_directory(int parent_fd, const std::string& path) {
  return base::open_at(parent_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

Result<base::UniqueFd> open_lock(int dir_fd, int flags) {
  return base::open_at(dir_fd, kLockFile, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
}

Result<Record> read_record(int dir_fd, const std::string& id) {
  ORKESTR_TRY(auto file, base::open_at(dir_fd, kRecordFile, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return Error(ErrorCode::internal, fmt::format("read the record of {}: {} is no regular file", id, kRecordFile));
  }
  ORKESTR_TRY(const std::string json, base::read_file(fmt::format("/proc/self/fd/{}", file.get()), kMaxRecordBytes));
  ORKESTR_TRY(Record record, Record::from_json(json));
  if (record.id != id) {
    return Error(ErrorCode::internal, fmt::format("read the record of {}: it belongs to {}", id, record.id));
  }
  return record;
}

Result<void> remove_all_but_history(int dir_fd) {
  const std::string path = fmt::format("/proc/self/fd/{}", dir_fd);
  ORKESTR_TRY(const auto names, base::list_directory(path));
  for (const std::string& name : names) {
    if (name == kRecordFile || name == kEventsFile || name == kLockFile) continue;
    ORKESTR_CHECK(base::remove_tree(path + "/" + name));
  }
  if (::unlinkat(dir_fd, kLockFile, 0) != 0 && errno != ENOENT) {
    return base::errno_error(fmt::format("remove the lock file in {}", path), errno);
  }
  return {};
}

void remove_half_made(int sandboxes_fd, const std::string& name) {
  auto dir = open_directory(sandboxes_fd, name);
  if (!dir) return;
  auto lock = open_lock(dir->get(), O_RDWR);
  if (lock) {
    auto locked = base::try_lock_byte(lock->get(), kSupervisorByte, base::LockKind::write);
    if (!locked || !*locked) return;
    // From here on no maker gets on in this directory; but it may have got its final name, and ended, before we had the
    // lock.
    struct stat opened {};
    struct stat named {};
    if (::fstat(dir->get(), &opened) != 0 || ::fstatat(sandboxes_fd, name.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0 ||
        opened.st_ino != named.st_ino || opened.st_dev != named.st_dev) {
      return;
    }
    ::unlinkat(dir->get(), kRecordFile, 0);
    ::unlinkat(dir->get(), kEventsFile, 0);
    if (!remove_all_but_history(dir->get())) return;
  }
  // Without a lock file: its maker is between two system calls, or died there. This removes an empty directory only,
  // and a maker whose directory went away makes it again.
  ::unlinkat(sandboxes_fd, name.c_str(), AT_REMOVEDIR);
}

Result<OwnedDirectory> OwnedDirectory::create(const std::string& sandboxes_dir, const Record& record) {
  if (!base::is_sandbox_id(record.id)) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("make the directory of sandbox \"{}\": not the id of a sandbox", record.id));
  }
  const std::string name = kNewPrefix + record.id;
  ORKESTR_TRY(auto sandboxes, base::open_at(AT_FDCWD, sandboxes_dir, O_RDONLY | O_DIRECTORY));
  const auto deadline = base::Deadline::after(kMakeDeadline);
  while (true) {
    Error failure(ErrorCode::internal, "");
    if (::mkdirat(sandboxes.get(), name.c_str(), 0700) != 0) {
      const int err = errno;
      failure = base::errno_error(fmt::format("make directory {}/{}", sandboxes_dir, name), err);
      if (err != EEXIST) return failure;
      remove_half_made(sandboxes.get(), name);
    } else if (auto claim = fill(sandboxes.get(), name, record); !claim) {
      failure = claim.error().with_context(fmt::format("make the directory {}/{}", sandboxes_dir, name));
      if (!was_collected(claim.error())) {
        remove_half_made(sandboxes.get(), name);
        return failure;
      }
    } else {
      auto renamed = give_final_name(sandboxes.get(), name, record.id);
      if (renamed) {
        OwnedDirectory owned;
        owned.path_ = sandboxes_dir + "/" + record.id;
        owned.dir_ = std::move(claim->dir);
        owned.lock_ = std::move(claim->lock);
        owned.transition_ = std::move(claim->transition);
        return owned;
      }
      failure = renamed.error().with_context(fmt::format("make the directory {}/{}", sandboxes_dir, record.id));
      *claim = Claim();
      remove_half_made(sandboxes.get(), name);
      if (!was_collected(failure)) return failure;
    }
    if (deadline.expired()) return failure;
    std::this_thread::sleep_for(kRetryPause);
  }
}

Result<OwnedDirectory> OwnedDirectory::adopt(const std::string& sandboxes_dir, const std::string& id,
                                             base::Deadline deadline) {
  const auto not_paused = [&](std::string_view why) {
    return Error(ErrorCode::not_ready, fmt::format("sandbox {} is not paused: {}", id, why));
  };
  OwnedDirectory owned;
  owned.path_ = sandboxes_dir + "/" + id;
  auto dir = base::is_sandbox_id(id) ? open_directory(AT_FDCWD, owned.path_)
                                     : Result<base::UniqueFd>(Error(ErrorCode::file_not_found, ""));
  if (!dir && dir.error().code() == ErrorCode::file_not_found) {
    return Error(ErrorCode::not_found, fmt::format("sandbox {}: there is none of this id on this machine", id));
  }
  if (!dir) return dir.error();
  owned.dir_ = std::move(*dir);
  const auto open = [&]() -> Result<base::UniqueFd> {
    auto lock = open_lock(owned.dir_.get(), O_RDWR);
    if (!lock && lock.error().code() == ErrorCode::file_not_found) return not_paused("it has ended");
    return lock;
  };
  ORKESTR_TRY(owned.transition_, open());
  ORKESTR_TRY(owned.lock_, open());
  bool ours = false;  // byte 2
  while (true) {
    if (!ours) {
      ORKESTR_TRY(ours, base::try_lock_byte(owned.transition_.get(), kTransitionByte, base::LockKind::write));
      if (ours) {
        // Nobody takes it who does not hold the one before.
        ORKESTR_TRY(ours, base::try_lock_byte(owned.transition_.get(), kResumeByte, base::LockKind::write));
      }
    }
    if (ours) {
      auto manifest = read_pause_manifest(owned.dir_.get(), id);
      if (!manifest && manifest.error().code() == ErrorCode::file_not_found) return not_paused("it runs, or has ended");
      if (!manifest) return manifest.error();
      ORKESTR_TRY(const bool qemu, base::is_byte_locked(owned.lock_.get(), kQemuByte));
      if (!qemu) {
        ORKESTR_TRY(const bool alone, base::try_lock_byte(owned.lock_.get(), kSupervisorByte, base::LockKind::write));
        if (alone) return owned;
      }
    }
    if (deadline.expired()) return not_paused("its processes are not gone yet, or somebody else is resuming it");
    std::this_thread::sleep_for(kRetryPause);
  }
}

Result<bool> OwnedDirectory::begin_transition() {
  ORKESTR_TRY(auto transition, open_lock(dir_.get(), O_RDWR));
  ORKESTR_TRY(const bool ours, base::try_lock_byte(transition.get(), kTransitionByte, base::LockKind::write));
  if (ours) transition_ = std::move(transition);
  return ours;
}

Result<base::UniqueFd> OwnedDirectory::lock_for_qemu() const {
  ORKESTR_TRY(auto fd, open_lock(dir_.get(), O_RDONLY));
  ORKESTR_TRY(const bool locked, base::try_lock_byte(fd.get(), kQemuByte, base::LockKind::read));
  if (!locked) {
    return Error(ErrorCode::internal, fmt::format("lock byte {} of {}/{}: another process holds it exclusively, which "
                                                  "none of ours does; see `fuser` on that file",
                                                  kQemuByte, path_, kLockFile));
  }
  return fd;
}

Result<Record> OwnedDirectory::read_record() const {
  return registry::read_record(dir_.get(), path_.substr(path_.rfind('/') + 1));
}

Result<void> OwnedDirectory::write_record(const Record& record) const {
  return base::write_file_atomic_at(dir_.get(), kRecordFile, record.to_json() + "\n", 0600);
}

Result<void> OwnedDirectory::write_passing_record(const Record& record) const {
  constexpr const char* kNewRecord = "record.new";
  {
    ORKESTR_TRY(auto file, base::open_at(dir_.get(), kNewRecord, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
    ORKESTR_CHECK(base::write_all(file.get(), record.to_json() + "\n"));
  }
  if (::renameat(dir_.get(), kNewRecord, dir_.get(), kRecordFile) == 0) return {};
  return base::errno_error(fmt::format("rename {}/{} to {}", path_, kNewRecord, kRecordFile), errno);
}

Result<void> OwnedDirectory::end_transition() {
  transition_.reset();
  return {};
}

Result<void> OwnedDirectory::leave_paused(const Record& record) {
  ORKESTR_CHECK(write_record(record));
  if (::unlinkat(dir_.get(), kSocketFile, 0) != 0 && errno != ENOENT) {
    return base::errno_error(fmt::format("remove {}/{}", path_, kSocketFile), errno);
  }
  transition_.reset();
  return {};
}

Result<void> OwnedDirectory::finish(const Record& record) {
  ORKESTR_CHECK(write_record(record));
  ORKESTR_CHECK(remove_all_but_history(dir_.get()));
  transition_.reset();
  return {};
}

}  // namespace orkestr::registry
