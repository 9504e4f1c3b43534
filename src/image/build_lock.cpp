#include "image/build_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <thread>

#include "base/file.hpp"
#include "base/json.hpp"
#include "base/try.hpp"

namespace orkestr::image {
namespace {

constexpr std::string_view kStage = "wait for another build";
constexpr std::chrono::milliseconds kPause{100};
constexpr std::chrono::milliseconds kLinePause{200};
constexpr std::size_t kMaxLine = 1U << 10U;
constexpr std::size_t kMaxOutput = 16U << 10U;
constexpr std::size_t kMaxPending = 256U << 10U;

// Reads what the holder writes, line by line.
class Follower {
 public:
  explicit Follower(std::string path) : path_(std::move(path)) {}

  // Passes on what is new. The failure of a build of `recipe_digest`, when there is one.
  std::optional<Error> poll(std::string_view recipe_digest, const ProgressSink& on_progress) {
    // What is there at the first look may be of an earlier build, until the present one empties the file.
    const bool first = std::exchange(first_, false);
    read_more();
    std::optional<Error> failure;
    for (auto end = pending_.find('\n'); end != pending_.npos; end = pending_.find('\n')) {
      const std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      auto json = base::JsonValue::parse(line);
      if (!json) continue;
      if (json->string_or("failed", "").empty()) {
        if (on_progress) pass_on(*json, on_progress);
      } else if (!first && json->string_or("failed", "") == recipe_digest) {
        failure =
            build_error(json->string_or("stage", ""), json->string_or("message", ""), json->string_or("output", ""));
      }
    }
    return failure;
  }

 private:
  void read_more() {
    auto file = base::open_at(AT_FDCWD, path_, O_RDONLY);
    struct stat info {};
    if (!file || ::fstat(file->get(), &info) != 0) return;
    if (info.st_size < at_) {  // emptied by the next build
      at_ = 0;
      pending_.clear();
    }
    char buffer[16384];
    while (pending_.size() < kMaxPending) {
      const ssize_t n = ::pread(file->get(), buffer, sizeof buffer, at_);
      if (n <= 0) return;
      pending_.append(buffer, static_cast<std::size_t>(n));
      at_ += n;
    }
  }

  static void pass_on(const base::JsonValue& json, const ProgressSink& on_progress) {
    const std::string name = json.string_or("template", "");
    const std::string step = json.string_or("step", "");
    const std::string line = json.string_or("line", "");
    on_progress({name, step, static_cast<int>(json.integer_or("index", 0)),
                 static_cast<int>(json.integer_or("count", 0)), line,
                 std::chrono::milliseconds(json.integer_or("elapsed_ms", 0))});
  }

  const std::string path_;
  off_t at_ = 0;
  std::string pending_;
  bool first_ = true;
};

Error cannot_lock(const std::string& cache_dir, const Error& why) {
  return build_error("lock the cache",
                     fmt::format("the cache {} cannot be written: {}. Make it writable for this user, "
                                 "or set ORKESTR_HOME to a directory that is.",
                                 cache_dir, why.message()));
}

}  // namespace

bool is_building(const std::string& cache_dir) {
  const auto lock = base::open_at(AT_FDCWD, cache_dir + "/build.lock", O_RDWR);
  if (!lock) return false;
  const auto held = base::is_byte_locked(lock->get(), 0);
  return held && *held;
}

BuildLock::~BuildLock() {
  if (lock_) (void)base::unlock_byte(lock_.get(), 0);
}

Result<BuildLock> BuildLock::take(const std::string& cache_dir, std::string_view waited_for, const ToolContext& context,
                                  const ProgressSink& on_progress) {
  auto lock = base::open_at(AT_FDCWD, cache_dir + "/build.lock", O_RDWR | O_CREAT, 0600);
  if (!lock) return cannot_lock(cache_dir, lock.error());
  const std::string path = cache_dir + "/build.progress";
  Follower follower(path);
  for (bool waited = false;; waited = true) {
    ORKESTR_TRY(const bool taken, base::try_lock_byte(lock->get(), 0, base::LockKind::write));
    if (!taken || waited) {
      if (auto failure = follower.poll(waited_for, on_progress)) return *failure;
    }
    if (taken) {
      auto progress = base::open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
      if (!progress) return cannot_lock(cache_dir, progress.error());
      return BuildLock(std::move(*lock), std::move(*progress));
    }
    if (context.stop.stop_requested()) return Error(ErrorCode::cancelled, fmt::format("{}: cancelled", kStage));
    if (context.deadline.expired()) {
      return build_error(kStage, fmt::format("another process has been building in {} all the time. See what holds "
                                             "{}/build.lock, or try again later.",
                                             cache_dir, cache_dir));
    }
    std::this_thread::sleep_for(kPause);
  }
}

void BuildLock::tell(const BuildProgress& progress) {
  const auto now = std::chrono::steady_clock::now();
  if (progress.step == told_step_ && now - told_at_ < kLinePause) return;
  told_step_ = progress.step;
  told_at_ = now;
  base::JsonWriter json;
  json.begin_object();
  json.field("template", progress.template_name).field("step", progress.step);
  json.field("index", progress.index).field("count", progress.count);
  json.field("line", progress.line.substr(0, kMaxLine)).field("elapsed_ms", progress.elapsed.count());
  json.end_object();
  // On a full disk those who wait learn nothing until it is done; the build itself will say why it fails.
  (void)base::write_all(progress_.get(), json.take() + "\n");
}

void BuildLock::tell_failure(std::string_view recipe_digest, const Error& error) {
  const std::string& output = error.details().console_tail;
  base::JsonWriter json;
  json.begin_object();
  json.field("failed", recipe_digest).field("stage", error.details().stage).field("message", error.message());
  json.field("output", std::string_view(output).substr(output.size() - std::min(output.size(), kMaxOutput)));
  json.end_object();
  (void)base::write_all(progress_.get(), json.take() + "\n");
}

}  // namespace orkestr::image
