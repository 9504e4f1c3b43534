// Server-sent events as the service streams commands: bytes in, one event per `data:` line out. `event:`, `id:`,
// comments, and kinds and streams we do not know are skipped. A `data:` line that is no JSON object, or has a wrong
// type in a kind that we know, is an error, though the published client skips it: output may be missing there, and
// nobody would notice.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "backend.hpp"
#include "base/json.hpp"
#include "orkestr/error.hpp"
#include "remote/fields.hpp"

namespace orkestr::remote {

// Cuts a stream into lines (LF, CRLF or CR) wherever its pieces are cut.
class LineCutter {
 public:
  static constexpr std::size_t kMaxLineBytes = 8U << 20U;
  explicit LineCutter(std::size_t max_line_bytes = kMaxLineBytes) : max_line_bytes_(max_line_bytes) {}
  // Calls `line` for each complete one, until it returns false; then, and after a line that is too long, nothing more
  // is taken. False in these cases.
  bool feed(std::string_view bytes, const std::function<bool(std::string_view)>& line);
  // What came after the last line end.
  bool finish(const std::function<bool(std::string_view)>& line);
  bool too_long() const { return too_long_; }
  std::size_t max_line_bytes() const { return max_line_bytes_; }

 private:
  std::size_t max_line_bytes_;
  std::string rest_;
  bool after_cr_ = false;
  bool over_ = false;
  bool too_long_ = false;
};

struct CommandEvent {
  enum class Kind { none, started, output, exited, error };
  Kind kind = Kind::none;
  std::int64_t pid = 0;                                 // started
  OutputStream stream = OutputStream::standard_output;  // output
  std::string data;                                     // output
  CommandEnd end;                                       // exited
  std::optional<ErrorCode> code;                        // error; nothing: one we do not know
  std::string wire_code, message;                       // error
  int signal = 0;                                       // error
  bool oom = false;                                     // error
};

// The JSON of a `data:` line; nothing for any other one. Errors: api, for what is no JSON.
Result<std::optional<base::JsonValue>> event_json(std::string_view line, const AnswerContext& context,
                                                  std::size_t max_bytes = base::JsonValue::kMaxBytes);

// One line of the stream. Kind::none for what is to be skipped. Errors: api, for what is no JSON or has wrong types.
Result<CommandEvent> decode_event(std::string_view line, const AnswerContext& context);

}  // namespace orkestr::remote
