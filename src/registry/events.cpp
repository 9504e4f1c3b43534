#include "registry/events.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "registry/registry.hpp"

namespace orkestr::registry {
namespace {

// Room for a log that a crash kept from being halved.
constexpr std::size_t kMaxReadBytes = kMaxEventLogBytes + 2 * kMaxEventBytes;

std::string to_line(std::string_view kind, std::initializer_list<EventField> fields) {
  base::JsonWriter out;
  out.begin_object();
  out.field("time", base::iso8601_utc(base::wall_clock_ms()));
  out.field("kind", kind);
  for (const EventField& field : fields) {
    out.key(field.name);
    std::visit([&out](const auto& value) { out.value(value); }, field.value);
  }
  out.end_object();
  return out.take() + "\n";
}

// As the line says it; false for one that was not written by to_line().
bool is_before(std::string_view line, std::string_view since) {
  constexpr std::string_view kStart = R"({"time":")";
  if (since.empty() || !line.starts_with(kStart)) return false;
  line.remove_prefix(kStart.size());
  return line.size() > since.size() && line[since.size()] == '"' && line.substr(0, since.size()) < since;
}

}  // namespace

Result<EventLog> EventLog::open(int dir_fd, std::size_t max_bytes) {
  EventLog log;
  log.max_bytes_ = max_bytes;
  ORKESTR_TRY(log.dir_, base::open_at(dir_fd, ".", O_RDONLY | O_DIRECTORY));
  ORKESTR_CHECK(log.reopen());
  return log;
}

Result<void> EventLog::reopen() {
  ORKESTR_TRY(file_,
              base::open_at(dir_.get(), kEventsFile, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600));
  struct stat info {};
  if (::fstat(file_.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return Error(ErrorCode::internal, fmt::format("open {}: it is no regular file", kEventsFile));
  }
  size_ = static_cast<std::size_t>(info.st_size);
  char last = '\n';
  torn_ = size_ > 0 && ::pread(file_.get(), &last, 1, static_cast<off_t>(size_ - 1)) == 1 && last != '\n';
  return {};
}

Result<void> EventLog::append(std::string_view kind, std::initializer_list<EventField> fields) {
  std::string line = to_line(kind, fields);
  if (line.size() > kMaxEventBytes) {
    return Error(ErrorCode::invalid_argument, fmt::format("log the event `{}`: it has {} bytes, at most {} are stored",
                                                          kind, line.size(), kMaxEventBytes));
  }
  if (size_ + line.size() > max_bytes_) ORKESTR_CHECK(drop_older_half());
  if (torn_) line.insert(line.begin(), '\n');
  ssize_t written = 0;
  do {
    written = ::write(file_.get(), line.data(), line.size());
  } while (written < 0 && errno == EINTR);
  if (written < 0) return base::errno_error(fmt::format("log the event `{}`", kind), errno);
  size_ += static_cast<std::size_t>(written);
  if (written > 0) torn_ = static_cast<std::size_t>(written) < line.size();
  if (torn_) return Error(ErrorCode::internal, fmt::format("log the event `{}`: the disk is full", kind));
  return {};
}

Result<void> EventLog::drop_older_half() {
  ORKESTR_TRY(const std::string all, base::read_file_at(dir_.get(), kEventsFile, kMaxReadBytes));
  const std::size_t end_of_half = all.find('\n', all.size() / 2);
  const std::string_view kept =
      end_of_half == std::string::npos ? std::string_view() : std::string_view(all).substr(end_of_half + 1);
  ORKESTR_CHECK(base::write_file_atomic_at(dir_.get(), kEventsFile, kept, 0600));
  return reopen();
}

Result<std::vector<StoredEvent>> read_events(int dir_fd, std::size_t max_events, std::string_view since) {
  std::vector<StoredEvent> events;
  auto file = base::open_at(dir_fd, kEventsFile, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file && file.error().code() == ErrorCode::file_not_found) return events;
  if (!file) return file.error();
  ORKESTR_TRY(const std::string all, base::read_file(fmt::format("/proc/self/fd/{}", file->get()), kMaxReadBytes));
  // From the end, so that a cap keeps the newest.
  std::string_view rest = all;
  while (!rest.empty() && events.size() < max_events) {
    const std::size_t before = rest.substr(0, rest.size() - 1).rfind('\n');
    const std::size_t start = before == std::string_view::npos ? 0 : before + 1;
    std::string_view line = rest.substr(start);
    while (!line.empty() && line.back() == '\n') line.remove_suffix(1);
    rest = rest.substr(0, start);
    if (is_before(line, since)) continue;
    auto parsed = base::JsonValue::parse(line);
    if (!parsed || parsed->kind() != base::JsonValue::Kind::object) continue;
    StoredEvent event{parsed->string_or("time", ""), parsed->string_or("kind", ""), std::move(*parsed),
                      std::string(line)};
    if (!event.time.empty() && !event.kind.empty()) events.push_back(std::move(event));
  }
  std::reverse(events.begin(), events.end());
  return events;
}

}  // namespace orkestr::registry
