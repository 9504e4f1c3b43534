// Files: in JSON, in batches, by presigned URLs.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "support/service/routes_common.hpp"

namespace orkestr::testing {

using Clock = std::chrono::system_clock;

namespace {

constexpr std::uint64_t kMostInJson = 16U << 20U;

Clock::time_point modified(const struct stat& info) {
  return Clock::time_point() +
         std::chrono::duration_cast<Clock::duration>(std::chrono::seconds(info.st_mtim.tv_sec) +
                                                     std::chrono::nanoseconds(info.st_mtim.tv_nsec));
}

bool writable(const std::string& path) {
  for (const std::string root : {"/workspace", "/tmp", "/persist"}) {
    if (path == root || path.compare(0, root.size() + 1, root + "/") == 0) return true;
  }
  return false;
}

std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }

void make_directories(const std::string& path) {
  struct stat info {};
  if (path.empty() || ::stat(path.c_str(), &info) == 0) return;
  make_directories(parent(path));
  ::mkdir(path.c_str(), 0755);
}

}  // namespace

// How an errno is refused.
#define REFUSE(path)                                                                                            \
  throw Refusal {                                                                                               \
    errno == ENOENT   ? 404                                                                                     \
    : errno == ENOSPC ? 507                                                                                     \
                      : 400,                                                                                    \
        errno == ENOENT    ? "file_not_found"                                                                   \
        : errno == EISDIR  ? "is_a_directory"                                                                   \
        : errno == ENOTDIR ? "not_a_directory"                                                                  \
        : errno == EEXIST  ? "file_exists"                                                                      \
                           : "io_error",                                                                         \
        (path) + ": " + (errno == ENOSPC ? std::string("the disk is full") : std::string(std::strerror(errno))) \
  }

void Routes::write_file(ServedSandbox& sandbox, const std::string& path, const std::string& content, int mode) {
  if (!writable(path)) throw Refusal{403, "not_permitted", path + ": only /workspace, /tmp and /persist are written"};
  const std::string target = running(sandbox).path(path);
  struct stat info {};
  if (::stat(target.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
    errno = EISDIR;
    REFUSE(path);
  }
  make_directories(parent(target));
  const std::string draft = target + ".orkestr-draft";
  const int fd = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) REFUSE(path);
  for (std::size_t done = 0; done < content.size();) {
    const ssize_t count = ::write(fd, content.data() + done, content.size() - done);
    if (count < 0) {
      const int error = errno;
      ::close(fd);
      ::unlink(draft.c_str());
      errno = error;
      REFUSE(path);
    }
    done += static_cast<std::size_t>(count);
  }
  ::fchmod(fd, static_cast<mode_t>(mode));
  ::close(fd);
  ::rename(draft.c_str(), target.c_str());
}

void Routes::read_file(Call& call, const std::string& path) {
  const std::string target = running(*call.sandbox).path(path);
  struct stat info {};
  if (::stat(target.c_str(), &info) != 0) REFUSE(path);
  if (S_ISDIR(info.st_mode)) {
    json::array entries;
    DIR* directory = ::opendir(target.c_str());
    while (const dirent* entry = ::readdir(directory)) {
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (::lstat((target + "/" + name).c_str(), &info) != 0) continue;
      entries.push_back({{"name", name},
                         {"is_dir", S_ISDIR(info.st_mode)},
                         {"size", info.st_size},
                         {"mode", info.st_mode & 07777},
                         {"modified_at", time_text(modified(info), 6, true)}});
    }
    ::closedir(directory);
    send(call.answer, 200, {{"is_dir", true}, {"entries", entries}});
    return;
  }
  if (static_cast<std::uint64_t>(info.st_size) > kMostInJson) {
    throw Refusal{413, "file_too_large", path + " is too large for JSON; use a presigned URL"};
  }
  const int fd = ::open(target.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) REFUSE(path);
  std::string content;
  std::array<char, 65536> piece{};
  for (ssize_t count = 0; (count = ::read(fd, piece.data(), piece.size())) > 0;) {
    content.append(piece.data(), static_cast<std::size_t>(count));
  }
  ::close(fd);
  send(call.answer, 200, {{"is_dir", false}, {"content", encode64(content)}});
}

void Routes::files(Call& call) {
  const std::string& method = call.request.method;
  const std::string what = call.rest.size() > 1 ? call.rest[1] : "";
  const auto query_path = [&] {
    const auto at = call.request.query.find("path");
    if (at == call.request.query.end()) throw std::invalid_argument("path is missing");
    return at->second;
  };
  if (what.empty() && method == "GET") return read_file(call, query_path());
  if (what.empty() && method == "POST") {
    const json::object body = parse_body(call.request);
    const std::string content = decode64(text_of(body, "content"));
    if (content.size() > kMostInJson) throw Refusal{413, "file_too_large", "at most 16 MiB"};
    write_file(*call.sandbox, needed_text(body, "path"), content, static_cast<int>(body.at("mode").as_int64()));
    send(call.answer, 200, {{"path", needed_text(body, "path")}, {"bytes_written", content.size()}});
    return;
  }
  if (what == "stat") {
    const std::string path = query_path();
    const std::string target = running(*call.sandbox).path(path);
    struct stat info {};
    if (::stat(target.c_str(), &info) != 0) {
      send(call.answer, 200, {{"path", path}, {"exists", false}});
      return;
    }
    send(call.answer, 200,
         {{"path", path},
          {"exists", true},
          {"is_dir", S_ISDIR(info.st_mode)},
          {"size", info.st_size},
          {"mode", info.st_mode & 07777},
          {"modified_at", time_text(modified(info), 0, true)}});
    return;
  }
  if (what == "batch") return batch(call);
  if (what == "presign-download" || what == "presign-upload") {
    return presign(call, what == "presign-upload" ? "PUT" : "GET");
  }
  Guest& guest = running(*call.sandbox);
  if (what.empty() && method == "DELETE") {
    const std::string path = query_path();
    if (!writable(path)) throw Refusal{403, "not_permitted", path + ": only /workspace, /tmp and /persist are written"};
    struct stat info {};
    if (::lstat(guest.path(path).c_str(), &info) != 0) REFUSE(path);
    if (S_ISDIR(info.st_mode)) errno = EISDIR;
    if (S_ISDIR(info.st_mode) || ::unlink(guest.path(path).c_str()) != 0) REFUSE(path);
    call.answer.send(204, "");
    return;
  }
  const json::object body = parse_body(call.request);
  if (what == "mkdir") {
    const std::string path = needed_text(body, "path");
    if (!writable(path)) throw Refusal{403, "not_permitted", path + ": only /workspace, /tmp and /persist are written"};
    const bool parents = body.at("parents").as_bool();
    if (parents) make_directories(parent(guest.path(path)));
    struct stat info {};
    const bool there = ::stat(guest.path(path).c_str(), &info) == 0 && S_ISDIR(info.st_mode);
    if (!(there && parents) && ::mkdir(guest.path(path).c_str(), 0755) != 0) REFUSE(path);
    send(call.answer, 200, {{"path", path}});
  } else if (what == "move") {
    const std::string source = needed_text(body, "source"), destination = needed_text(body, "destination");
    if (!writable(source) || !writable(destination)) throw Refusal{403, "not_permitted", "outside of what is written"};
    if (::rename(guest.path(source).c_str(), guest.path(destination).c_str()) != 0) REFUSE(source);
    call.answer.send(200, "");
  } else {
    throw Refusal{404, "", "no such path"};
  }
}

void Routes::batch(Call& call) {
  const json::object body = parse_body(call.request);
  const auto& list = body.at("files").as_array();
  if (list.size() > 64) throw std::invalid_argument("files: at most 64");
  json::array results;
  for (const json::value& one : list) {
    const json::object& file = one.as_object();
    const std::string path = needed_text(file, "path");
    json::object result = {{"path", path}, {"bytes_written", 0}, {"error", nullptr}};
    try {
      const std::string content = decode64(text_of(file, "content"));
      write_file(*call.sandbox, path, content, static_cast<int>(file.at("mode").as_int64()));
      result["bytes_written"] = content.size();
    } catch (const Refusal& refusal) {
      result["error"] = {{"code", refusal.code}};
    }
    results.push_back(result);
  }
  send(call.answer, 200, {{"results", results}});
}

void Routes::presign(Call& call, const std::string& method) {
  const json::object body = parse_body(call.request);
  const std::string path = needed_text(body, "path");
  const double life = number_of(body, "expires_in", -1);
  if (life < 60 || life > 3600) throw std::invalid_argument("expires_in: 60 to 3600");
  running(*call.sandbox);
  if (method == "PUT" && !writable(path)) throw Refusal{403, "not_permitted", path + " is not written"};
  const std::string token = new_id("url_");
  const auto expires = Clock::now() + std::chrono::seconds(static_cast<int>(life));
  {
    std::lock_guard lock(mutex_);
    presigned_[token] = {call.sandbox, path, method, expires};
  }
  send(call.answer, 200,
       {{"url", service_.base_url() + "/presigned/" + token + "?signature=secret"},
        {"method", method},
        {"path", path},
        {"expires_at", time_text(expires, 0, true)}});
}

void Routes::presigned(const Request& request, const HttpServer::Body& body, Answer& answer) {
  Presigned grant;
  {
    std::lock_guard lock(mutex_);
    const auto found = presigned_.find(request.path.substr(options_.prefix.size() + 11));
    if (found == presigned_.end() || found->second.expires < Clock::now() || found->second.method != request.method) {
      throw Refusal{403, "", "this address is not good, or not any more"};
    }
    grant = found->second;
  }
  if (request.headers.count("authorization") > 0) throw Refusal{400, "", "no key is wanted here"};
  const std::string target = running(*grant.sandbox).path(grant.path);
  struct stat info {};
  if (request.method == "GET") {
    const int fd = ::open(target.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || ::fstat(fd, &info) != 0) REFUSE(grant.path);
    if (S_ISDIR(info.st_mode)) {
      ::close(fd);
      errno = EISDIR;
      REFUSE(grant.path);
    }
    answer.begin_stream("application/octet-stream", info.st_size);
    answer.stream_file(fd, info.st_size);
    ::close(fd);
    answer.end_stream();
    return;
  }
  if (request.headers.count("content-length") == 0) throw Refusal{411, "", "Content-Length is missing"};
  make_directories(parent(target));
  const std::string draft = target + ".orkestr-draft";
  const int fd = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) REFUSE(grant.path);
  std::uint64_t total = 0;
  int error = 0;
  for (std::string piece = body(); !piece.empty(); piece = body()) {
    total += piece.size();
    if (error == 0 && ::write(fd, piece.data(), piece.size()) != static_cast<ssize_t>(piece.size())) error = ENOSPC;
  }
  ::close(fd);
  if (error != 0 || total != request.content_length) ::unlink(draft.c_str());
  if (error != 0) {
    errno = error;
    REFUSE(grant.path);
  }
  if (total != request.content_length) throw Refusal{400, "", "the upload was cut"};
  if (::stat(target.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
    ::unlink(draft.c_str());
    errno = EISDIR;
    REFUSE(grant.path);
  }
  ::rename(draft.c_str(), target.c_str());
  answer.send(200, "");
}

}  // namespace orkestr::testing
