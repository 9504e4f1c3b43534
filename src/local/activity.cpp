// LocalSession: the activity log, between the public values and src/registry.
#include <fcntl.h>
#include <fmt/format.h>

#include <chrono>
#include <iterator>

#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "local/session.hpp"
#include "registry/events.hpp"

namespace orkestr::local {
namespace {

std::optional<std::int64_t> number(const base::JsonValue& fields, std::string_view name) {
  return fields[name].integer();
}

Event to_public(registry::StoredEvent from, std::int64_t time_ms) {
  Event event;
  event.time = TimePoint(std::chrono::milliseconds(time_ms));
  event.kind = std::move(from.kind);
  event.outcome = from.fields.string_or("outcome", "");
  event.command = from.fields.string_or("command", "");
  event.path = from.fields.string_or("path", "");
  event.reason = from.fields.string_or("reason", "");
  if (const auto code = number(from.fields, "exit_code")) event.exit_code = static_cast<int>(*code);
  event.duration_ms = number(from.fields, "duration_ms");
  event.json = std::move(from.text);
  return event;
}

Result<std::vector<Event>> read(const std::string& directory, const EventOptions& options) {
  ORKESTR_TRY(const auto dir, base::open_at(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  using std::chrono::milliseconds;
  const std::string since =
      options.since ? base::iso8601_utc(std::chrono::floor<milliseconds>(options.since->time_since_epoch()).count())
                    : std::string();
  ORKESTR_TRY(auto stored, registry::read_events(dir.get(), options.limit, since));
  std::vector<Event> events;
  for (auto& one : stored) {
    const auto time_ms = base::parse_iso8601_utc(one.time);
    if (!time_ms || (options.since && TimePoint(milliseconds(*time_ms)) < *options.since)) continue;
    events.push_back(to_public(std::move(one), *time_ms));
  }
  return events;
}

}  // namespace

CancelFunction LocalSession::events(EventOptions options, Completion<std::vector<Event>> done) {
  auto events = read(link_->sandboxes_dir() + "/" + link_->id(), options);
  if (!events && events.error().code() == ErrorCode::file_not_found) {
    events =
        Error(ErrorCode::not_found, fmt::format("events of sandbox {}: its record is gone (they are kept for 24 hours "
                                                "after the end)",
                                                link_->id()));
  }
  done(std::move(events));
  return [] {};
}

}  // namespace orkestr::local
