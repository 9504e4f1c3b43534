#include "base/places.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::base {
namespace {

constexpr std::string_view kSystemRoot = "/var/lib/orkestr";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Result<void> require_absolute(std::string_view variable, const std::string& path) {
  if (path.front() == '/') return {};
  return Error(ErrorCode::invalid_argument,
               fmt::format("{} is '{}', which is not an absolute path. Set it to one, or unset it.", variable, path));
}

Result<std::string> home_directory() {
  std::string home = environment("HOME");
  if (!home.empty() && home.front() == '/') return home;
  // HOME may be missing in a service or a container; the password database still knows.
  passwd entry{};
  passwd* found = nullptr;
  std::string buffer(16384, '\0');
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found && found->pw_dir &&
      found->pw_dir[0] == '/') {
    return std::string(found->pw_dir);
  }
  return Error(ErrorCode::invalid_argument,
               fmt::format("no home directory: HOME is '{}' and user {} has none in the password database. "
                           "Set HOME, or ORKESTR_HOME to a directory for this program's files.",
                           home, ::geteuid()));
}

// $VARIABLE/orkestr, or ~/FALLBACK/orkestr.
Result<std::string> xdg_directory(const char* variable, std::string_view fallback) {
  const std::string value = environment(variable);
  if (!value.empty()) {
    ORKESTR_CHECK(require_absolute(variable, value));
    return value + "/orkestr";
  }
  ORKESTR_TRY(const std::string home, home_directory());
  return fmt::format("{}/{}/orkestr", home, fallback);
}

// Made when missing; otherwise it must be a directory of ours that others cannot write (and, when private, not read
// either).
Result<void> own_directory(const std::string& path, mode_t mode) {
  ORKESTR_CHECK(make_directories(path, mode));
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return errno_error("look at " + path, errno);
  if (!S_ISDIR(info.st_mode)) return errno_error(path, ENOTDIR);
  if (info.st_uid != ::geteuid()) {
    return Error(
        ErrorCode::not_permitted,
        fmt::format("{} belongs to user {}, but this is user {}. Give it to this user with `chown {} {}`, or set "
                    "ORKESTR_HOME to another directory.",
                    path, info.st_uid, ::geteuid(), ::geteuid(), path));
  }
  const mode_t excess = info.st_mode & 0777 & ~mode;
  if (excess != 0) {
    return Error(
        ErrorCode::not_permitted,
        fmt::format("{} has mode {:04o}: other users could change or read what is in it. Repair it with `chmod "
                    "{:04o} {}`.",
                    path, info.st_mode & 07777, mode, path));
  }
  return {};
}

}  // namespace

Result<void> check_home(const std::string& home) {
  struct stat info {};
  if (::stat(home.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};
    return errno_error("look at " + home, errno);
  }
  if (!S_ISDIR(info.st_mode)) return errno_error(home, ENOTDIR);
  const uid_t self = ::geteuid();
  if (info.st_uid != self && info.st_uid != 0) {
    return Error(ErrorCode::not_permitted,
                 fmt::format("ORKESTR_HOME is {}, which belongs to user {}, who could put other files in the place of "
                             "user {}'s. Give it to this user with `chown {} {}`, or set ORKESTR_HOME to another "
                             "directory.",
                             home, info.st_uid, self, self, home));
  }
  if ((info.st_mode & 0022U) != 0) {
    return Error(ErrorCode::not_permitted,
                 fmt::format("ORKESTR_HOME is {}, which has mode {:04o}: other users could put files in the place of "
                             "those in it. Repair it with `chmod go-w {}`, or set ORKESTR_HOME to another directory.",
                             home, info.st_mode & 07777U, home));
  }
  return {};
}

unsigned state_dir_mode() { return 0700; }
unsigned cache_dir_mode() { return ::geteuid() == 0 ? 0755 : 0700; }

Result<Places> name_places() {
  const bool root = ::geteuid() == 0;
  const std::string system_cache = fmt::format("{}/cache", kSystemRoot);
  const std::string home = environment("ORKESTR_HOME");
  Places places;
  if (!home.empty()) {
    ORKESTR_CHECK(require_absolute("ORKESTR_HOME", home));
    places.home = home;
    places.state_dir = home + "/state";
    places.cache_dir = home + "/cache";
    places.cache_search = {places.cache_dir, system_cache};
  } else if (root) {
    places.state_dir = fmt::format("{}/state", kSystemRoot);
    places.cache_dir = system_cache;
    places.cache_search = {system_cache};
  } else {
    ORKESTR_TRY(places.state_dir, xdg_directory("XDG_STATE_HOME", ".local/state"));
    ORKESTR_TRY(places.cache_dir, xdg_directory("XDG_CACHE_HOME", ".cache"));
    places.cache_search = {system_cache, places.cache_dir};
  }
  return places;
}

Result<Places> find_places() {
  ORKESTR_TRY(const Places places, name_places());
  // make_directories gives its mode to every parent it makes, and root's cache must be reachable by users.
  if (::geteuid() == 0) {
    ORKESTR_CHECK(make_directories(places.home.empty() ? std::string(kSystemRoot) : places.home, 0755));
  }
  if (!places.home.empty()) ORKESTR_CHECK(check_home(places.home));
  ORKESTR_CHECK(own_directory(places.state_dir, state_dir_mode()));
  ORKESTR_CHECK(own_directory(places.cache_dir, cache_dir_mode()));
  return places;
}

}  // namespace orkestr::base
