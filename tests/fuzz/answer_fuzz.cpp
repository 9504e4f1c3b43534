// What a service answers, JSON and event streams, from a service we do not trust. The first byte chooses the decoder:
// 'a' is the first.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "remote/answers.hpp"
#include "remote/code.hpp"
#include "remote/errors.hpp"
#include "remote/events.hpp"

using namespace orkestr;
using namespace orkestr::remote;

namespace {

constexpr std::string_view kKey = "sk-fuzz";
const AnswerContext kContext{"call", "req_1"};

void require(bool holds) {
  if (!holds) std::abort();
}

// An answer that is not understood is one `api` error with a text; reading or listing a path has two codes more.
template <class T>
void check(const Result<T>& result) {
  if (result) return;
  const ErrorCode code = result.error().code();
  require(code == ErrorCode::api || code == ErrorCode::is_a_directory || code == ErrorCode::not_a_directory);
  require(!result.error().message().empty());
}

void refusal(std::string_view body) {
  HttpAnswer answer;
  answer.status = body.empty() ? 500 : 300 + static_cast<unsigned char>(body[0]);
  answer.body = body;
  answer.request_id = "req_1";
  for (const bool about_file : {false, true}) {
    const Error error = error_of_answer(answer, {"call", about_file, kKey});
    require(!error.message().empty() && error.message().find('\n') == std::string::npos);
    require(error.message().find(kKey) == std::string::npos);
    require(error.details().detail.find(kKey) == std::string::npos);
    require(error.details().retry_after.value_or(0) >= 0);
  }
}

std::vector<std::string> lines_of(std::string_view bytes, std::size_t piece) {
  LineCutter cutter;
  std::vector<std::string> lines;
  const auto take = [&](std::string_view line) {
    lines.emplace_back(line);
    return true;
  };
  for (std::size_t at = 0; at < bytes.size(); at += piece) cutter.feed(bytes.substr(at, piece), take);
  cutter.finish(take);
  return lines;
}

void events(std::string_view bytes) {
  const auto lines = lines_of(bytes, bytes.size() + 1);
  for (const std::size_t piece : {1, 2, 7}) require(lines_of(bytes, piece) == lines);
  for (const std::string& line : lines) check(decode_event(line, kContext));
}

void code_events(std::string_view bytes) {
  for (const std::string& line : lines_of(bytes, bytes.size() + 1)) check(decode_code_line(line, kContext));
}

using Decoder = std::function<void(const JsonValue&)>;
const std::vector<Decoder> kDecoders = {
    [](const JsonValue& json) { check(decode_sandbox(json, kContext)); },
    [](const JsonValue& json) { check(decode_page(json, kContext)); },
    [](const JsonValue& json) { check(decode_limits(json, kContext)); },
    [](const JsonValue& json) { check(decode_metrics(json, kContext)); },
    [](const JsonValue& json) { check(decode_snapshot(json, kContext)); },
    [](const JsonValue& json) { check(decode_snapshots(json, kContext)); },
    [](const JsonValue& json) { check(decode_command(json, kContext)); },
    [](const JsonValue& json) { check(decode_commands(json, kContext)); },
    [](const JsonValue& json) {
      const auto logs = decode_logs(json, kContext, 7);
      check(logs);
      if (logs) require(logs->next_offset() >= logs->start_offset);
    },
    [](const JsonValue& json) { check(decode_expiry(json, kContext)); },
    [](const JsonValue& json) { check(decode_host(json, kContext)); },
    [](const JsonValue& json) { check(decode_exec(json, kContext)); },
    [](const JsonValue& json) { check(decode_file(json, kContext, "/p")); },
    [](const JsonValue& json) { check(decode_directory(json, kContext, "/p")); },
    [](const JsonValue& json) { check(decode_stat(json, kContext)); },
    [](const JsonValue& json) { check(decode_batch(json, kContext)); },
    [](const JsonValue& json) { check(decode_presigned(json, kContext)); },
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t chosen = static_cast<unsigned char>(data[0] - 'a') % (kDecoders.size() + 5);
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (chosen == kDecoders.size()) {
    refusal(rest);
  } else if (chosen == kDecoders.size() + 1) {
    events(rest);
  } else if (chosen == kDecoders.size() + 2) {
    code_events(rest);
  } else if (const auto json = JsonValue::parse(rest)) {
    if (chosen == kDecoders.size() + 3) {
      check(decode_execution(*json, kContext));
    } else if (chosen == kDecoders.size() + 4) {
      check(decode_contexts(*json, kContext));
    } else {
      kDecoders[chosen](*json);
    }
  }
  return 0;
}
