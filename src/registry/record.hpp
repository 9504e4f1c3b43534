// What is known about one sandbox: the content of its record.json, of list() and get().
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "orkestr/error.hpp"

namespace orkestr::registry {

inline constexpr int kRecordFormat = 1;

struct Record {
  std::string id;      // sbx_ + ULID
  std::string status;  // starting running pausing paused resuming terminated failed
  std::string template_name;
  std::string template_digest;
  std::string network = "off";
  double cpu = 1;          // CPUs it may use; it has that many vCPUs, rounded up
  std::string cpu_reason;  // why `cpu` is more than was asked for; empty when it is not
  std::int64_t memory_mb = 1024;
  std::int64_t disk_mb = 8192;
  std::int64_t timeout_seconds = 600;
  std::string on_timeout = "kill";
  bool auto_resume = false;
  std::int64_t paused_ttl_seconds = 0;    // 0: kept until it is resumed or terminated
  std::int64_t paused_expires_at_ms = 0;  // while paused, with a ttl
  std::int64_t created_at_ms = 0;         // wall clock, since 1970
  std::int64_t expires_at_ms = 0;
  std::int64_t ended_at_ms = 0;  // 0 while it lives
  std::string end_reason;        // "terminated", "timeout", "failed: …"
  std::map<std::string, std::string> metadata;
  std::string accelerator;  // "kvm", "tcg"
  std::string accelerator_reason;
  std::string isolation;       // "hardware", "emulated"
  std::string jail;            // what containment was applied, and what was not and why
  std::int64_t create_ms = 0;  // from the supervisor's start to running
  // Of the machines it had and has no more: until it was paused or ended.
  std::int64_t cpu_ms = 0;
  std::int64_t alive_ms = 0;
  std::string started_from;  // "boot", "snapshot", "pool", "pause"
  std::string version;       // of the library that made it

  std::string to_json() const;
  static Result<Record> from_json(std::string_view json);  // checks format, id and status; unknown members are skipped
  // The longest that moving all of its memory and disk to files or back may take: a disk below 20 MB/s is taken for
  // broken.
  std::chrono::seconds transfer_time() const { return std::chrono::seconds((memory_mb + disk_mb) / 20); }
  bool ended() const { return status == "terminated" || status == "failed"; }
};

}  // namespace orkestr::registry
