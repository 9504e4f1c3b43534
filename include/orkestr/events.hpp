// The activity log of a sandbox: what happened to it and in it, in order.
#pragma once

#include <cstdint>
#include <optional>
#include <orkestr/options.hpp>
#include <string>

namespace orkestr {

// Kinds: of its life "created", "snapshot_made", "snapshot_failed", "snapshot_damaged", "boot_retry", "running",
// "timeout_set", "pause_failed", "paused", "resumed", "disk_stopped" (the host's disk was full and the guest stood
// still), "terminated", "failed"; of what was asked of it "exec", "command_start", "command_kill", "file_read",
// "file_write", "file_list", "file_stat", "file_delete", "file_mkdir", "file_move". A later version may add some.
// What takes time is logged when it ends. A field that a kind does not have is empty.
struct Event {
  TimePoint time;  // of the host's wall clock, in milliseconds
  std::string kind;
  std::string
      outcome;  // of a command: "exit", "signal", "timeout", "cancelled", or an error's code; of a file: "ok" or that
  std::string command;  // secrets masked, long ones cut
  std::string path;     // of a file
  std::optional<int> exit_code;
  std::optional<std::int64_t> duration_ms;
  std::string reason;  // of an end, a second attempt to boot, a failure, a full disk
  std::string json;    // all of it, as it is in the log: one line, an object
};

struct EventOptions {
  std::optional<TimePoint> since{};  // of this moment or later
  std::size_t limit = 100'000;       // the newest so many, at least 1
};

}  // namespace orkestr
