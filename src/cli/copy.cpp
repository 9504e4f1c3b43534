// cp: files and directories between this machine and a sandbox.
//
// Small files travel many at a time, large ones as a stream. What a guest says about its files is not trusted: names
// that could lead out of the destination are refused, and depth and number of entries are bounded.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <functional>
#include <optional>
#include <set>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "cli/commands.hpp"
#include "cli/ids.hpp"
#include "cli/progress.hpp"
#include "cli/terminal.hpp"
#include "orkestr/sandbox.hpp"

namespace orkestr::cli {
namespace {

constexpr std::size_t kPiece = 1U << 20U;
constexpr std::size_t kSmallFile = 256U << 10U;  // sent whole
constexpr std::size_t kAtOnce = 32;
constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxEntries = 1'000'000;
constexpr mode_t kPermissions = 0777;  // set-uid and its relatives do not cross the border
constexpr auto kLookWithin = std::chrono::minutes(10);

// One end: "ID:/path", a path of this machine, or "-".
struct Place {
  std::string sandbox;  // empty: this machine
  std::string path;
  std::string text;  // as it was typed
  bool is_remote() const { return !sandbox.empty(); }
};

// A colon makes it a place in a sandbox, unless a slash or a dot comes first (./a:b).
Place parse_place(const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos || colon == 0 || text.find('/') < colon || text.front() == '.') {
    return {{}, text, text};
  }
  return {text.substr(0, colon), text.substr(colon + 1), text};
}

std::string base_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

std::string joined(const std::string& directory, const std::string& name) {
  return directory.ends_with('/') ? directory + name : directory + "/" + name;
}

// A new file's or directory's failure, by the name that was asked for.
Error cannot_make(const std::string& path, int err) {
  const std::string parent = path.substr(0, path.find_last_of('/') + 1);
  if (err == ENOENT && !parent.empty() && ::access(parent.c_str(), F_OK) != 0) {
    return Error(ErrorCode::file_not_found, fmt::format("write {}: there is no directory {}", path, parent));
  }
  return base::errno_error("write " + path, err);
}

Error left_out_of_bounds(std::string_view what) { return Error(ErrorCode::not_permitted, fmt::format("cp: {}", what)); }

// A file of this machine that appears under its name when it is complete, and not at all when it is dropped before.
class NewFile {
 public:
  static Result<NewFile> create(const std::string& path) {
    // A name of its own length, so that the longest name can be copied; one at a time.
    std::string part = fmt::format("{}.orkestr-part-{}", path.substr(0, path.rfind('/') + 1), ::getpid());
    base::UniqueFd fd(::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd) return cannot_make(path, errno);
    return NewFile(path, std::move(part), std::move(fd));
  }
  ~NewFile() {
    if (fd_) ::unlink(part_.c_str());
  }
  NewFile(NewFile&&) noexcept = default;
  NewFile& operator=(NewFile&&) = delete;

  int fd() const { return fd_.get(); }
  Result<void> finish(mode_t mode) {
    if (::fchmod(fd_.get(), mode) != 0) return base::errno_error("set the mode of " + path_, errno);
    if (::rename(part_.c_str(), path_.c_str()) != 0) return base::errno_error("write " + path_, errno);
    fd_.reset();
    return {};
  }

 private:
  NewFile(std::string path, std::string part, base::UniqueFd fd)
      : path_(std::move(path)), part_(std::move(part)), fd_(std::move(fd)) {}
  std::string path_, part_;
  base::UniqueFd fd_;
};

constexpr const char* kDirectoryLink = "it is a link to a directory";

class Copier {
 public:
  explicit Copier(Sandbox sandbox) : sandbox_(std::move(sandbox)), files_(sandbox_.files()) {}

  Result<void> upload(const std::string& local, std::string remote) {
    if (local == "-") return upload_stream(STDIN_FILENO, remote, 0644);
    struct stat info {};
    if (::stat(local.c_str(), &info) != 0) return base::errno_error("read " + local, errno);
    ORKESTR_TRY(const FileStat there, files_.stat(remote));
    if (there.is_dir || remote.ends_with('/')) remote = joined(remote, base_name(local));
    auto done = S_ISDIR(info.st_mode) ? upload_directory(local, remote, info.st_mode & kPermissions, 0)
                                      : upload_file(local, remote, info);
    if (done) done = drain(0);
    // Half a copy has the right modes, too.
    const auto modes = set_directory_modes();
    return done ? modes : done;
  }

  Result<void> download(const std::string& remote, std::string local) {
    ORKESTR_TRY(const FileStat there, files_.stat(remote));
    if (!there.exists) return Error(ErrorCode::file_not_found, fmt::format("read {}: there is no such file", remote));
    if (local == "-") {
      if (there.is_dir)
        return Error(ErrorCode::is_a_directory, fmt::format("{} is a directory, and - takes one file", remote));
      return download_stream(remote, STDOUT_FILENO);
    }
    struct stat info {};
    const bool into = ::stat(local.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
    if (into || local.ends_with('/')) {
      const std::string name = base_name(remote);
      local = joined(local, name.empty() ? "root" : name);
    }
    if (!there.is_dir) return download_file(remote, local, there.mode);
    ORKESTR_CHECK(find_directory_links(remote));
    auto done = download_directory(remote, local, there.mode, 0);
    if (done) done = drain(0);
    for (auto it = directory_modes_.rbegin(); it != directory_modes_.rend(); ++it) {
      if (::chmod(it->first.c_str(), it->second) != 0 && done)
        done = base::errno_error("set the mode of " + it->first, errno);
    }
    return done;
  }

 private:
  Result<void> count(const std::string& path, std::uint64_t bytes) {
    if (++entries_ > kMaxEntries)
      return left_out_of_bounds(fmt::format("more than {} entries; copy an archive", kMaxEntries));
    bytes_ += bytes;
    progress(path);
    return {};
  }
  void progress(const std::string& path) {
    if (!is_terminal(STDERR_FILENO)) return;
    progress_.update(fmt::format("{} files, {} MB", entries_, bytes_ >> 20U), 0, 0, path,
                     std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start_));
  }

  // --- towards the sandbox

  Result<void> upload_directory(const std::string& local, const std::string& remote, mode_t mode, int depth) {
    if (depth > kMaxDepth) return left_out_of_bounds(fmt::format("{} is more than {} levels deep", local, kMaxDepth));
    ORKESTR_CHECK(files_.mkdir(remote));
    directory_modes_.emplace_back(remote, mode);
    ORKESTR_TRY(const auto names, base::list_directory(local));
    for (const auto& name : names) {
      const std::string from = joined(local, name);
      struct stat link {
      }, info{};
      if (::lstat(from.c_str(), &link) != 0 || ::stat(from.c_str(), &info) != 0) {
        leave_out(from, "it is a link that leads nowhere");
      } else if (S_ISDIR(info.st_mode) && S_ISLNK(link.st_mode)) {
        leave_out(from, kDirectoryLink);
      } else if (S_ISDIR(info.st_mode)) {
        ORKESTR_CHECK(upload_directory(from, joined(remote, name), info.st_mode & kPermissions, depth + 1));
      } else if (S_ISREG(info.st_mode)) {
        ORKESTR_CHECK(upload_file(from, joined(remote, name), info));
      } else {
        leave_out(from, "it is no regular file");
      }
    }
    return {};
  }

  Result<void> upload_file(const std::string& local, const std::string& remote, const struct stat& info) {
    const int mode = static_cast<int>(info.st_mode & kPermissions);
    ORKESTR_CHECK(count(local, static_cast<std::uint64_t>(info.st_size)));
    if (!S_ISREG(info.st_mode) || static_cast<std::size_t>(info.st_size) > kSmallFile) {
      ORKESTR_TRY(const auto file, base::open_at(AT_FDCWD, local, O_RDONLY));
      return upload_stream(file.get(), remote, mode);
    }
    ORKESTR_TRY(std::string content, base::read_file(local));
    auto written = std::make_shared<Operation<void>>(files_.write_async(remote, std::move(content), mode));
    pending_.emplace_back([written] { return written->get(); });
    return drain(kAtOnce);
  }

  Result<void> upload_stream(int fd, const std::string& remote, int mode) {
    ORKESTR_TRY(auto writer, files_.write_stream(remote, mode));
    std::string buffer(kPiece, '\0');
    while (true) {
      const ssize_t got = ::read(fd, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return base::errno_error("read what goes to " + remote, errno);
      if (got == 0) return writer.finish();
      ORKESTR_CHECK(writer.write(std::string_view(buffer).substr(0, static_cast<std::size_t>(got))));
    }
  }

  // The library makes directories with 0755; the others are changed by the guest's own chmod, the deepest first.
  Result<void> set_directory_modes() {
    for (auto it = directory_modes_.rbegin(); it != directory_modes_.rend(); ++it) {
      if (it->second == 0755) continue;
      ORKESTR_TRY(const auto done, sandbox_.run({"chmod", fmt::format("{:o}", it->second), "--", it->first}));
      if (done.exit_code != 0) {
        return Error(ErrorCode::internal,
                     fmt::format("set the mode of {}: {}", it->first, printable(done.stderr_data)));
      }
    }
    return {};
  }

  // --- from the sandbox

  // A listing does not tell a link to a directory from a directory. A guest without find has none that we know of; it
  // cannot lead further than the bounds.
  Result<void> find_directory_links(const std::string& remote) {
    ExecOptions options;
    options.timeout = kLookWithin;
    const auto found = sandbox_.run({"find", "-H", remote, "-type", "l", "-xtype", "d", "-print0"}, std::move(options));
    if (!found) return found.error().code() == ErrorCode::file_not_found ? Result<void>() : found.error();
    const std::string& names = found->stdout_data;
    for (std::size_t at = 0, end = 0; (end = names.find('\0', at)) != std::string::npos; at = end + 1) {
      directory_links_.insert(names.substr(at, end - at));
    }
    return {};
  }

  Result<void> download_directory(const std::string& remote, const std::string& local, int mode, int depth) {
    if (depth > kMaxDepth) return left_out_of_bounds(fmt::format("{} is more than {} levels deep", remote, kMaxDepth));
    if (::mkdir(local.c_str(), 0700) != 0 && errno != EEXIST) return cannot_make(local, errno);
    directory_modes_.emplace_back(local, static_cast<mode_t>(mode) & kPermissions);
    ORKESTR_TRY(const auto entries, files_.list(remote));
    for (const auto& entry : entries) {
      if (entry.name.empty() || entry.name == "." || entry.name == ".." || entry.name.find('/') != std::string::npos ||
          entry.name.find('\0') != std::string::npos) {
        return left_out_of_bounds(fmt::format("{} has an entry named '{}'", remote, printable(entry.name)));
      }
      const std::string from = joined(remote, entry.name), to = joined(local, entry.name);
      if (entry.is_dir && directory_links_.contains(from)) {
        leave_out(from, kDirectoryLink);
      } else if (entry.is_dir) {
        ORKESTR_CHECK(download_directory(from, to, entry.mode, depth + 1));
      } else if (entry.size <= kSmallFile) {
        ORKESTR_CHECK(download_small(from, to, entry));
      } else {
        ORKESTR_CHECK(download_file(from, to, entry.mode));
      }
    }
    return {};
  }

  Result<void> download_small(const std::string& remote, const std::string& local, const FileEntry& entry) {
    ORKESTR_CHECK(count(remote, entry.size));
    auto content = std::make_shared<Operation<std::string>>(files_.read_async(remote));
    pending_.emplace_back([this, content, remote, local, mode = entry.mode]() -> Result<void> {
      auto bytes = content->get();
      if (!bytes) return skip_unreadable(remote, bytes.error());
      ORKESTR_TRY(auto file, NewFile::create(local));
      ORKESTR_CHECK(base::write_all(file.fd(), *bytes));
      return file.finish(static_cast<mode_t>(mode) & kPermissions);
    });
    return drain(kAtOnce);
  }

  // Sockets, devices, links that lead nowhere: what is in a directory and is no file.
  Result<void> skip_unreadable(const std::string& path, const Error& error) {
    switch (error.code()) {
      case ErrorCode::file_not_found:
      case ErrorCode::not_permitted:
      case ErrorCode::is_a_directory:
      case ErrorCode::invalid_argument:
        leave_out(path, error.message());
        return {};
      default:
        return error;
    }
  }

  Result<void> download_file(const std::string& remote, const std::string& local, int mode) {
    ORKESTR_CHECK(count(remote, 0));
    ORKESTR_TRY(auto file, NewFile::create(local));
    ORKESTR_CHECK(download_stream(remote, file.fd()));
    return file.finish(static_cast<mode_t>(mode) & kPermissions);
  }

  Result<void> download_stream(const std::string& remote, int fd) {
    ORKESTR_TRY(auto reader, files_.read_stream(remote));
    while (true) {
      ORKESTR_TRY(const std::string piece, reader.read(kPiece));
      if (piece.empty()) return {};
      ORKESTR_CHECK(base::write_all(fd, piece));
      bytes_ += piece.size();
      progress(remote);
    }
  }

  void leave_out(const std::string& path, const std::string& why) {
    progress_.finish();
    fmt::print(stderr, "orkestr: left out {}: {}\n", printable(path), printable(why));
  }

  // Until at most `keep` transfers are under way.
  Result<void> drain(std::size_t keep) {
    while (pending_.size() > keep) {
      auto oldest = std::move(pending_.front());
      pending_.pop_front();
      ORKESTR_CHECK(oldest());
    }
    return {};
  }

  Sandbox sandbox_;
  Files files_;
  Progress progress_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::deque<std::function<Result<void>()>> pending_;
  std::vector<std::pair<std::string, mode_t>> directory_modes_;  // parents before children
  std::set<std::string> directory_links_;                        // of the sandbox
  std::size_t entries_ = 0;
  std::uint64_t bytes_ = 0;
};

Result<void> copy_between(const Place& from, const Place& to) {
  constexpr const char* kOne = "cp copies between this machine and a sandbox: exactly one of the two must be ID:/path";
  if (!from.is_remote() && !to.is_remote()) {
    return Error(ErrorCode::invalid_argument, fmt::format("{}, and neither is", kOne));
  }
  if (from.is_remote() && to.is_remote()) {
    // What is no path of a sandbox is more likely to be a file of this machine.
    const Place& here = to.path.starts_with('/') ? from : to;
    return Error(ErrorCode::invalid_argument,
                 fmt::format("{}, and both are; write ./{} for a file here", kOne, printable(here.text)));
  }
  const Place& remote = from.is_remote() ? from : to;
  if (!remote.path.starts_with('/')) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("the path in the sandbox is '{}'; it must be absolute, as in {}:/workspace/file. Write "
                             "./{} for a file here",
                             printable(remote.path), printable(remote.sandbox), printable(remote.text)));
  }
  ORKESTR_TRY(auto sandbox, find_sandbox(remote.sandbox));
  Copier copier(std::move(sandbox));
  return from.is_remote() ? copier.download(from.path, to.path) : copier.upload(from.path, to.path);
}

}  // namespace

int copy(const std::string& source, const std::string& destination) {
  const auto done = copy_between(parse_place(source), parse_place(destination));
  return done ? kExitOk : report(done.error());
}

}  // namespace orkestr::cli
