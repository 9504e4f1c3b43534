// What requests of clients mean and what a guest may answer to each: pure functions beside the table of operations.
// Requests and answers are decoded, checked and encoded anew; nothing passes as it came.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "orkestr/error.hpp"
#include "wire/frame.hpp"
#include "wire/message.hpp"

namespace orkestr::supervisor {

inline constexpr std::chrono::seconds kExecGrace{10};      // beyond the command's own timeout
inline constexpr std::chrono::seconds kAnswerTimeout{60};  // a file request; a transfer without progress

bool has_output(wire::Type request);
// Data that is there and only has to be moved: its time is counted from the last progress.
bool is_transfer(wire::Type request);
bool is_logged(wire::Type request);

// A list as it passes: 32-bit length and message, cut anywhere. Holds at most one entry.
class ListCheck {
 public:
  enum class Entry { file, command };
  explicit ListCheck(Entry entry = Entry::file) : entry_(entry) {}
  Result<void> feed(std::string_view bytes);
  bool at_boundary() const { return partial_.empty(); }

 private:
  Entry entry_;
  std::string partial_;
};

// A client's request. Texts are masked, for the log.
struct RequestView {
  std::string payload;  // encoded anew
  bool has_input = false;
  bool tty = false;
  std::optional<std::chrono::milliseconds> patience;  // with the guest, before any progress; nothing: for ever
  std::string command;
  std::string command_id;
  std::string path;
  std::string destination;
};
// invalid_argument when it is malformed, or does not fit a frame.
Result<RequestView> read_request(const wire::Frame& frame, const wire::EnvList& sandbox_env);

// What is known of an operation when its result comes.
struct ResultContext {
  wire::Type request{};
  std::string_view command_id;     // that was asked for
  std::uint64_t output_bytes = 0;  // that came before
};
struct ResultView {
  std::string payload;                 // encoded anew
  std::optional<wire::ExecExit> exit;  // of an exec
  std::string command_id;              // of a command that was started
};
Result<ResultView> read_result(const ResultContext& context, std::string_view payload);

}  // namespace orkestr::supervisor
