// One build at a time in a cache directory, and what it is doing for all who wait for it.
//
//   build.lock       held (byte 0) by the process that builds; a dead one's lock is free at once
//   build.progress   lines of JSON from the holder: progress, and at the end maybe why it failed
//
// Who waits follows that file. A holder that dies is followed by a waiter who builds; one that fails makes those who
// wait for the same recipe fail with it, so that ten of them do not ask a dead mirror one after the other.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "base/deadline.hpp"
#include "base/unique_fd.hpp"
#include "image/tool.hpp"
#include "orkestr/error.hpp"

namespace orkestr::image {

struct BuildProgress {
  std::string_view template_name;  // what is built now: while this call waits, maybe another template
  std::string_view step;           // "base system"
  int index = 0;                   // 1 … count; 0 before the first step
  int count = 0;
  std::string_view line;                // the last line of output of the step; empty at its start
  std::chrono::milliseconds elapsed{};  // since that build began
};
using ProgressSink = std::function<void(const BuildProgress&)>;

// True while somebody builds in this directory. Takes nothing.
bool is_building(const std::string& cache_dir);

class BuildLock {
 public:
  // Waits for its turn. `waited_for` is the digest of the recipe that the caller wants built: the failure of a build
  // of the same one is the caller's. template_build_failed at the deadline, or when the cache cannot be written;
  // `cancelled` when stopped.
  static Result<BuildLock> take(const std::string& cache_dir, std::string_view waited_for, const ToolContext& context,
                                const ProgressSink& on_progress);
  // Unlocks, rather than only closing: a child that the program has forked meanwhile holds the same open file.
  ~BuildLock();
  BuildLock(BuildLock&&) noexcept = default;
  BuildLock& operator=(BuildLock&&) noexcept = default;  // to one that holds nothing

  // For those who wait. Lines of output are told at most five times a second.
  void tell(const BuildProgress& progress);
  void tell_failure(std::string_view recipe_digest, const Error& error);

 private:
  BuildLock(base::UniqueFd lock, base::UniqueFd progress) : lock_(std::move(lock)), progress_(std::move(progress)) {}

  base::UniqueFd lock_;
  base::UniqueFd progress_;
  std::string told_step_;
  std::chrono::steady_clock::time_point told_at_{};
};

}  // namespace orkestr::image
