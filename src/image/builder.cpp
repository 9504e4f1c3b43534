#include "image/builder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <functional>
#include <optional>
#include <vector>

#include "base/file.hpp"
#include "base/id.hpp"
#include "base/json.hpp"
#include "base/sha256.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "image/kernel.hpp"
#include "image/rootfs.hpp"
#include "image/staging.hpp"
#include "image/tool.hpp"
#include "image/user_namespace.hpp"

namespace orkestr::image {
namespace {

// Virtual size of a sandbox's disk. The file is sparse and so is every overlay: this is a limit, not a cost.
constexpr std::uint64_t kScratchBytes = std::uint64_t{8} << 30;
// Fixed, so that the same content gives the same bytes; nothing ever mounts two of them by UUID.
constexpr const char* kFileSystemUuid = "6f726b65-7374-4000-8000-000000000001";

constexpr std::string_view kNoSpace = "No space left on device";

using Step = std::pair<std::string, std::function<Result<void>()>>;

class Build {
 public:
  Build(const Recipe& recipe, const BuildOptions& options)
      : recipe_(recipe), options_(options), home_(template_directory(options.cache_dir, recipe.name)) {}

  Result<BuildOutcome> run() {
    if (!options_.force) {
      if (auto present = open_current()) return BuildOutcome{std::move(*present), false, elapsed()};
    }
    if (auto possible = check_sources(recipe_); !possible) {
      return possible.error().with_context(fmt::format("template '{}'", recipe_.name));
    }
    ORKESTR_CHECK(check_host());
    ORKESTR_CHECK(prepare_cache(options_.cache_dir));
    const ToolContext waiting{options_.deadline, {}, options_.stop};
    ORKESTR_TRY(lock_, BuildLock::take(options_.cache_dir, recipe_.digest, waiting, options_.on_progress));
    if (!options_.force) {
      // Another process may have built it while this one waited for the lock.
      if (auto present = open_current()) return BuildOutcome{std::move(*present), false, elapsed()};
    }
    auto built = run_steps();
    if (!built) {
      if (built.error().code() != ErrorCode::cancelled) lock_->tell_failure(recipe_.digest, built.error());
      return built.error();
    }
    return BuildOutcome{std::move(*built), true, elapsed()};
  }

 private:
  Result<TemplateFiles> run_steps() {
    start_ = std::chrono::steady_clock::now();
    constexpr const char* kStage = "prepare the cache";
    ORKESTR_CHECK(in_stage(kStage, clear_staging(home_)));
    ORKESTR_CHECK(in_stage(kStage, clear_staging(options_.cache_dir + "/kernels")));
    auto staging = Staging::create(home_);
    if (!staging) return in_stage(kStage, staging.error()).error();
    prepare(staging->path());
    const std::vector<Step> all = steps();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (options_.stop.stop_requested()) return Error(ErrorCode::cancelled, "build template: cancelled");
      progress_.step = all[i].first;
      progress_.index = static_cast<int>(i) + 1;
      progress_.count = static_cast<int>(all.size());
      report({});
      ORKESTR_CHECK(in_stage(all[i].first, all[i].second()));
    }
    return open_template({options_.cache_dir}, recipe_.name, {}, {});
  }

  std::vector<Step> steps() {
    std::vector<Step> all;
    all.emplace_back("kernel", [this] { return make_kernel(); });
    for (const auto& action : recipe_.actions) {
      all.emplace_back(action_name(action), [this, &action] { return run_action(action, rootfs_); });
    }
    all.emplace_back("tidy", [this] { return run_step(tidy_step(), rootfs_); });
    all.emplace_back("base image", [this] { return make_base_image(); });
    all.emplace_back("scratch disk", [this] { return make_scratch(); });
    all.emplace_back("checksums", [this] { return make_manifest(); });
    all.emplace_back("publish", [this] { return publish(); });
    return all;
  }

  // ---- before

  Result<void> check_host() {
    const char* stage = "check the host";
    ORKESTR_CHECK(check_tools(recipe_));
    if (const auto obstacle = obstacle_to_root()) {
      return build_error(
          stage, fmt::format("building template '{0}' needs root, or a user namespace: {1}. What helps: {2}\nOr run "
                             "`sudo orkestr template build {0}`: then it goes to the system's cache, where every user "
                             "finds it. Using a template needs neither.",
                             recipe_.name, obstacle->what, obstacle->remedy));
    }
    ORKESTR_TRY(mkfs_erofs_, find_tool(stage, "mkfs.erofs", "erofs-utils"));
    ORKESTR_TRY(mke2fs_, find_tool(stage, "mke2fs", "e2fsprogs"));
    ORKESTR_TRY(qemu_img_, find_tool(stage, "qemu-img", "qemu-utils"));
    ORKESTR_TRY([[maybe_unused]] const auto apt, find_tool(stage, "apt-get", "apt"));
    ORKESTR_TRY([[maybe_unused]] const auto dpkg, find_tool(stage, "dpkg-deb", "dpkg"));
    return {};
  }

  // The current build, when it was made from this very recipe and can be used.
  Result<TemplateFiles> open_current() {
    ORKESTR_TRY(TemplateFiles files, open_template({options_.cache_dir}, recipe_.name, {}, {}));
    ORKESTR_TRY(const std::string text, base::read_file(files.directory + "/template.json"));
    ORKESTR_TRY(const auto json, base::JsonValue::parse(text));
    if (json.string_or("recipe_sha256", "") != recipe_.digest) {
      return Error(ErrorCode::template_not_found, "made from an older recipe");
    }
    return files;
  }

  void prepare(const std::string& staging) {
    work_ = staging;
    files_.name = recipe_.name;
    files_.build_id = base::make_ulid(base::wall_clock_ms());
    for (char& c : files_.build_id) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    files_.directory = work_ + "/template";
    files_.base_image = files_.directory + "/base.erofs";
    files_.scratch_image = files_.directory + "/scratch.raw";
    files_.scratch_overlay = files_.directory + "/scratch.qcow2";
    rootfs_.root = work_ + "/root";
    rootfs_.parts = &parts_;
    tools_ = {options_.deadline, [this](std::string_view line) { report(line); }, options_.stop};
    rootfs_.fetch = {options_.cache_dir + "/downloads", work_, tools_};
  }

  // ---- the steps

  Result<void> make_kernel() {
    ORKESTR_TRY(const KernelFiles kernel, ensure_kernel(options_.cache_dir, tools_));
    parts_.push_back({"kernel", "linux", kernel.version, "linux-image-cloud-amd64", kernel.vmlinux_sha256, 0});
    files_.kernel_version = kernel.version;
    files_.kernel = kernel.vmlinux;
    files_.kernel_sha256 = kernel.vmlinux_sha256;
    return base::make_directories(files_.directory, 0755);
  }

  // Uncompressed: a third larger on disk for a bare system, but the guest reads it without decompressing under
  // emulation.
  Result<void> make_base_image() {
    ToolRun run{"base image", {mkfs_erofs_, "-T0", "-U", kFileSystemUuid}, work_, {}, {}};
    run.argv.insert(run.argv.end(), {files_.base_image, rootfs_.root});
    run.as_root = true;  // files of whom only root may read
    ORKESTR_CHECK(run_tool(run, tools_));
    return remove_built(rootfs_.root);
  }

  Result<void> make_scratch() {
    ORKESTR_TRY(const base::UniqueFd raw,
                base::open_at(AT_FDCWD, files_.scratch_image, O_RDWR | O_CREAT | O_EXCL, 0644));
    if (::ftruncate(raw.get(), static_cast<off_t>(kScratchBytes)) != 0)
      return base::errno_error("make " + files_.scratch_image, errno);
    // No journal: the disk never outlives a crash of its guest. The inode tables count as zeroed, which in a new sparse
    // file they are; otherwise each guest would zero 128 MB of them in the background.
    ORKESTR_CHECK(tool(
        "scratch disk",
        {mke2fs_, "-q", "-t", "ext4", "-F", "-m", "0", "-L", "scratch", "-U", kFileSystemUuid, "-O", "^has_journal",
         "-E", fmt::format("assume_storage_prezeroed=1,nodiscard,root_owner=0:0,hash_seed={}", kFileSystemUuid),
         files_.scratch_image}));
    // Without a backing path inside: QEMU is told the backing node on its command line, and the file may be moved.
    return tool("scratch disk",
                {qemu_img_, "create", "-q", "-f", "qcow2", files_.scratch_overlay, std::to_string(kScratchBytes)});
  }

  Result<void> make_manifest() {
    ORKESTR_TRY(files_.base_sha256, base::sha256_file(files_.base_image));
    ORKESTR_TRY(files_.scratch_sha256, digest_sparse_file(files_.scratch_image));
    ORKESTR_TRY(files_.overlay_sha256, base::sha256_file(files_.scratch_overlay));
    files_.scratch_bytes = kScratchBytes;
    ORKESTR_CHECK(base::write_file_atomic(
        files_.directory + "/template.json",
        encode_manifest(files_, recipe_.digest, base::iso8601_utc(base::wall_clock_ms()), parts_), 0444));
    for (const auto* path : {&files_.base_image, &files_.scratch_image, &files_.scratch_overlay}) {
      ORKESTR_TRY(const base::UniqueFd fd, base::open_at(AT_FDCWD, *path, O_RDONLY));
      if (::fchmod(fd.get(), 0444) != 0) return base::errno_error("chmod " + *path, errno);
      if (::fsync(fd.get()) != 0) return base::errno_error("sync " + *path, errno);
    }
    return {};
  }

  Result<void> publish() {
    const std::string previous =
        base::read_file(home_ + "/current", 256) ? *base::read_file(home_ + "/current", 256) : "";
    ORKESTR_CHECK(publish_directory(files_.directory, home_ + "/" + files_.build_id));
    ORKESTR_CHECK(base::write_file_atomic(home_ + "/current", files_.build_id + "\n", 0444));
    // A sandbox that is starting right now may still be opening the previous build; all others are history, or were
    // never finished.
    ORKESTR_TRY(const auto names, base::list_directory(home_));
    for (const auto& name : names) {
      const bool keep = name == "current" || name == files_.build_id || name == previous.substr(0, previous.find('\n'));
      if (!keep && is_template_name(name)) ORKESTR_CHECK(base::remove_tree(home_ + "/" + name));
    }
    return collect_kernels(options_.cache_dir);
  }

  // ---- helpers

  Result<void> tool(std::string stage, std::vector<std::string> argv) {
    auto done = run_tool({std::move(stage), std::move(argv), work_, {}, {}}, tools_);
    if (!done) return done.error();
    return {};
  }

  // Every failure of a build is a template_build_failed with its step; one on a full disk says so, whatever the tool
  // that met it made of that.
  Result<void> in_stage(const std::string& stage, Result<void> result) {
    if (result || result.error().code() == ErrorCode::cancelled) return result;
    const Error& error = result.error();
    const std::string& output = error.details().console_tail;
    std::string message = error.message();
    if (error.code() != ErrorCode::template_build_failed) message = fmt::format("{}: {}", stage, message);
    struct statvfs disk {};
    const bool known = ::statvfs(options_.cache_dir.c_str(), &disk) == 0;
    const std::uint64_t free_mb = known ? (std::uint64_t{disk.f_bavail} * disk.f_frsize) >> 20U : 0;
    if (output.find(kNoSpace) != output.npos || message.find(kNoSpace) != message.npos || (known && free_mb < 16)) {
      message += fmt::format(
          "\nThe disk of {} is full ({} MB free); a build takes up to 4 GB there. Make room, or set "
          "ORKESTR_HOME to a directory on another disk.",
          options_.cache_dir, free_mb);
    }
    return build_error(stage, std::move(message), output);
  }

  std::chrono::milliseconds elapsed() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start_);
  }

  void report(std::string_view line) {
    progress_.template_name = recipe_.name;
    progress_.line = line;
    progress_.elapsed = elapsed();
    if (lock_) lock_->tell(progress_);
    if (options_.on_progress) options_.on_progress(progress_);
  }

  const Recipe& recipe_;
  const BuildOptions& options_;
  const std::string home_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::string work_;
  std::string mkfs_erofs_;
  std::string mke2fs_;
  std::string qemu_img_;
  std::optional<BuildLock> lock_;
  ToolContext tools_;
  std::vector<PartRecord> parts_;
  RootfsContext rootfs_;
  TemplateFiles files_;
  BuildProgress progress_;
};

}  // namespace

Result<BuildOutcome> build_template(const Recipe& recipe, const BuildOptions& options) {
  return Build(recipe, options).run();
}

}  // namespace orkestr::image
