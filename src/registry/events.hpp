// The activity log of one sandbox: events.jsonl in its directory, one JSON object a line, `time` and `kind` first.
//
// One writer (the sandbox's supervisor, or whoever reaps it), any number of readers in any process. A line is one
// write, so readers see whole lines, except that the last may be torn after a crash; they skip what is no JSON. Callers
// mask secrets: what is given is stored.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.hpp"
#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::registry {

// At this size the oldest half is dropped.
inline constexpr std::size_t kMaxEventLogBytes = 16U << 20U;
// A longer event is refused with invalid_argument; callers shorten command lines before.
inline constexpr std::size_t kMaxEventBytes = 64U << 10U;

struct EventField {
  std::string_view name;
  std::variant<std::string_view, std::int64_t, bool> value;
};

class EventLog {
 public:
  // `dir_fd` is copied. `max_bytes` is for tests.
  static Result<EventLog> open(int dir_fd, std::size_t max_bytes = kMaxEventLogBytes);
  EventLog(EventLog&&) noexcept = default;
  EventLog& operator=(EventLog&&) noexcept = default;

  //   log.append("exec", {{"command", line}, {"exit_code", std::int64_t{0}}});
  // A failure (a full disk) loses this event and nothing else.
  Result<void> append(std::string_view kind, std::initializer_list<EventField> fields = {});

 private:
  EventLog() = default;
  Result<void> reopen();
  Result<void> drop_older_half();
  base::UniqueFd dir_;
  base::UniqueFd file_;
  std::size_t max_bytes_ = kMaxEventLogBytes;
  std::size_t size_ = 0;
  bool torn_ = false;  // the last line has no end
};

struct StoredEvent {
  std::string time;  // ISO 8601, UTC
  std::string kind;
  base::JsonValue fields;  // the whole object
  std::string text;        // the same as its line, without the newline
};

// Oldest first, the newest `max_events` at most. No log is an empty log; lines that are no event are skipped, and those
// before `since` (ISO 8601, UTC) without being parsed.
Result<std::vector<StoredEvent>> read_events(int dir_fd, std::size_t max_events = 100'000, std::string_view since = {});

}  // namespace orkestr::registry
