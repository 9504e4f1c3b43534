// The registry is the state directory: no daemon, no database, no trusted pid.
//
//   <state>/version                 format of the directory; another one is refused by name
//   <state>/sandboxes/<id>/
//       lock          open-file-description locks by byte: 0 the supervisor lives,
//                     1 QEMU lives (read lock it inherits),
//                     2 a transition is under way (create, pause, resume, reap)
//                     3 it is a resume
//       record.json   Record, replaced atomically
//       events.jsonl  the activity log, one JSON object a line, append only
//       s             the supervisor's socket
//       pause/        everything of a paused sandbox, see pause.hpp
//   <state>/sandboxes/.new-<id>     being made: becomes <id> by rename once its locks are held
//
// A sandbox that ended keeps record.json and events.jsonl, nothing else. A sandbox without holders of bytes 0 and 1
// whose record does not say how it ended is paused if it has a complete pause/, until its time to be kept is over; else
// it is dead: whoever notices first reaps it (takes byte 2, checks again, writes how it ended, removes the rest).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.hpp"
#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"
#include "registry/record.hpp"

namespace orkestr::registry {

inline constexpr std::int64_t kSupervisorByte = 0;
inline constexpr std::int64_t kQemuByte = 1;
inline constexpr std::int64_t kTransitionByte = 2;
inline constexpr std::int64_t kResumeByte = 3;
inline constexpr const char* kLockFile = "lock";
inline constexpr const char* kRecordFile = "record.json";
inline constexpr const char* kEventsFile = "events.jsonl";
inline constexpr const char* kSocketFile = "s";

// Makes <state>, its version file and <state>/sandboxes (0700). Returns the sandboxes directory.
Result<std::string> prepare_state_directory(const std::string& state_dir);

// The supervisor's claim on a new sandbox: the directory exists under its final name, bytes 0 and 2 are held, the
// record is written.
class OwnedDirectory {
 public:
  static Result<OwnedDirectory> create(const std::string& sandboxes_dir, const Record& record);
  OwnedDirectory(OwnedDirectory&&) noexcept = default;
  OwnedDirectory& operator=(OwnedDirectory&&) noexcept = default;

  // The claim on a paused one, by who resumes it. Waits until `deadline` for a transition that is under way, and for
  // the last processes of a pause to go. not_ready: it runs already, or is not paused; not_found: there is none.
  static Result<OwnedDirectory> adopt(const std::string& sandboxes_dir, const std::string& id, base::Deadline deadline);

  const std::string& path() const { return path_; }
  int dir_fd() const { return dir_.get(); }
  // A read-only description of the lock file holding byte 1, for QEMU to inherit. Opened anew for every QEMU.
  Result<base::UniqueFd> lock_for_qemu() const;
  Result<Record> read_record() const;
  Result<void> write_record(const Record& record) const;
  // As atomic, and not flushed to the disk: for what a machine that loses power loses anyway, a sandbox that runs.
  Result<void> write_passing_record(const Record& record) const;
  // Takes byte 2: false when another process has it.
  Result<bool> begin_transition();
  Result<void> end_transition();  // releases byte 2: the sandbox is up
  // Final record, then socket and lock file are removed. Called when QEMU is gone. Byte 0 stays held as long as this
  // object lives, so that who waits on the lock learns that the supervisor itself is gone, not only its files.
  Result<void> finish(const Record& record);
  // The same for a sandbox that is paused now: lock file and pause/ stay.
  Result<void> leave_paused(const Record& record);

 private:
  OwnedDirectory() = default;
  std::string path_;
  base::UniqueFd dir_;
  base::UniqueFd lock_;        // byte 0
  base::UniqueFd transition_;  // byte 2
};

// What any process can say about a sandbox without asking its supervisor.
struct Entry {
  Record record;       // status made true: a dead sandbox reads `failed` and has been reaped
  bool alive = false;  // its supervisor holds the lock
};

// not_found when there is no such sandbox. Reaps it when it is dead.
Result<Entry> inspect(const std::string& sandboxes_dir, const std::string& id);
// All, newest first; reaps the dead and what creators left half-made. Entries that vanish or cannot be read are
// skipped.
Result<std::vector<Entry>> scan(const std::string& sandboxes_dir);
// What the next scan() would reap: names of dead sandboxes and of what creators left half-made. Looks only. Empty when
// there is no such directory.
Result<std::vector<std::string>> find_dead(const std::string& sandboxes_dir);
// Removes records of ended sandboxes: older than 24 h, and beyond the newest 1,000. Returns their ids.
Result<std::vector<std::string>> forget_old(const std::string& sandboxes_dir, std::int64_t now_ms);
// A connected, blocking, close-on-exec stream socket to the sandbox's supervisor, whose uid is ours or root. Never
// waits: nothing when the supervisor's queue of connections is full, not_ready when nobody listens. Works for any path
// length (through /proc/self/fd).
Result<std::optional<base::UniqueFd>> connect(const std::string& sandboxes_dir, const std::string& id);
// SIGKILL to the supervisor that holds byte 0 of this lock file (an open descriptor of it), for one that hangs. Who
// that is says the kernel, now: a process of this name whose /proc entry shows the lock, signalled through a pidfd that
// was opened before the look. vm_failed when none is found or it may not be signalled. Never kills the caller.
Result<void> kill_supervisor(int lock_fd, const std::string& id);
// The same for byte 1: the QEMU of a sandbox whose supervisor is gone, by whatever name.
Result<void> kill_qemu(int lock_fd, const std::string& id);
// Ends a paused sandbox that nobody is resuming: writes the final record, removes all else. False when it is not paused
// any more, or a transition is under way: then look again.
Result<bool> end_paused(const std::string& sandboxes_dir, const std::string& id, const std::string& reason);
// How many sandboxes have a supervisor. Looks only.
Result<int> count_alive(const std::string& sandboxes_dir);
// How many paused sandboxes there are. Looks only.
std::size_t count_paused(const std::string& sandboxes_dir);
// The listening socket inside the owner's directory (0600), for the supervisor.
Result<base::UniqueFd> listen(const OwnedDirectory& directory);

}  // namespace orkestr::registry
