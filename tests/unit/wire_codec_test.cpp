#include <doctest/doctest.h>

#include <string>

#include "../fuzz/reference_decoder.hpp"
#include "wire/command_message.hpp"
#include "wire/frame.hpp"
#include "wire/message.hpp"
#include "wire_samples.hpp"

using namespace orkestr;
using namespace orkestr::wire;

namespace {

// Where the fields of an encoded message begin.
std::vector<std::size_t> field_starts(const std::string& bytes) {
  std::vector<std::size_t> starts;
  for (std::size_t at = 0; at < bytes.size();) {
    starts.push_back(at);
    at += 6 + load_u32(bytes.data() + at + 2);
  }
  return starts;
}

std::string field(std::uint16_t tag, std::string_view bytes) { return FieldWriter().put(tag, bytes).take(); }
std::string field(std::uint16_t tag, std::uint64_t number) { return FieldWriter().put(tag, number).take(); }

template <class Message>
std::string refusal(std::string_view payload) {
  auto decoded = Message::decode(payload);
  if (decoded) return "accepted";
  CHECK(decoded.error().code() == ErrorCode::connection);
  return decoded.error().message();
}

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace

TEST_CASE("every receiver accepts exactly its types, of all 256") {
  for (int side = 0; side < 4; ++side) {
    const auto& expected = reference::types_for(static_cast<reference::Side>(side));
    for (int type = 0; type < 256; ++type) {
      CAPTURE(side);
      CAPTURE(type);
      CHECK(is_allowed(static_cast<Receiver>(side), static_cast<Type>(type)) == (expected.count(type) == 1));
    }
  }
}

TEST_CASE("a terminal's size goes with a terminal, and is in bounds") {
  const std::string base = field(1, "x") + field(6, std::uint64_t{1});
  const auto tty = field(7, std::uint64_t{1});
  const auto size = [](std::uint64_t cols, std::uint64_t rows) { return field(8, cols) + field(9, rows); };
  CHECK(refusal<ExecRequest>(base) == "accepted");
  CHECK(refusal<ExecRequest>(base + tty + size(1, 1000)) == "accepted");
  CHECK(has(refusal<ExecRequest>(base + tty), "cols"));
  CHECK(has(refusal<ExecRequest>(base + tty + size(0, 24)), "1 to 1000"));
  CHECK(has(refusal<ExecRequest>(base + tty + size(1001, 24)), "cols"));
  CHECK(has(refusal<ExecRequest>(base + tty + size(80, 1001)), "rows"));
  CHECK(has(refusal<ExecRequest>(base + size(80, 24)), "not there without"));
  CHECK(has(refusal<ExecRequest>(field(1, "x") + tty + size(80, 24)), "stdin_open"));
  CHECK(has(refusal<ResizeMessage>(""), "1 to 1000"));
  CHECK(has(refusal<ResizeMessage>(field(1, std::uint64_t{80})), "1 to 1000"));
  CHECK(has(refusal<ResizeMessage>(field(1, std::uint64_t{80}) + field(2, std::uint64_t{1001})), "rows"));
}

TEST_CASE("messages of background commands are in bounds") {
  const auto number = [](std::uint16_t tag, std::uint64_t value) { return field(tag, value); };
  for (const char* id : {"cmd_1", "cmd_01J9Z3-_x"}) CHECK(refusal<CommandRequest>(field(1, id)) == "accepted");
  for (const char* id : {"", "cmd_", "cmd", "sbx_1", "cmd_a/b", "cmd_a b", "cmd_\n", "CMD_1"}) {
    CAPTURE(id);
    CHECK(has(refusal<CommandRequest>(field(1, id)), "id"));
  }
  CHECK(has(refusal<CommandRequest>(field(1, "cmd_" + std::string(61, 'x'))), "64"));
  CHECK(has(refusal<CommandRequest>(field(1, "cmd_1") + number(2, 1ULL << 63U)), "offset"));
  CHECK(has(refusal<CommandRequest>(field(1, "cmd_1") + number(3, kMaxTimeoutMs + 1)), "timeout_ms"));

  const std::string exec = field(1, "true") + number(5, 0) + number(6, 0);
  CHECK(refusal<CommandStartRequest>(field(1, "x") + field(2, exec)) == "accepted");
  CHECK(has(refusal<CommandStartRequest>(field(2, exec)), "line"));
  CHECK(has(refusal<CommandStartRequest>(field(1, "x")), "argv"));
  CHECK(has(refusal<CommandStartRequest>(field(1, std::string("a\0b", 3)) + field(2, exec)), "NUL"));
  CHECK(
      has(refusal<CommandStartRequest>(field(1, std::string(kMaxCommandLineBytes + 1, 'x')) + field(2, exec)), "8192"));
  CHECK(has(refusal<CommandStartRequest>(field(1, "x") + field(2, field(1, "true") + number(5, 1))), "no timeout"));
  CHECK(has(refusal<CommandStartRequest>(field(1, "x") + field(2, field(1, "true") + number(6, 1))), "no input"));

  const std::string command = field(1, "cmd_1");
  CHECK(refusal<CommandMessage>(command + number(4, 1) + number(5, 255)) == "accepted");
  CHECK(has(refusal<CommandMessage>(command + number(4, 3)), "status"));
  CHECK(has(refusal<CommandMessage>(command + number(4, 1) + number(5, 256)), "exit_code"));
  CHECK(has(refusal<CommandMessage>(command + number(4, 2) + number(5, 1)), "exit_code"));
  CHECK(has(refusal<CommandMessage>(number(4, 1)), "id"));
  CHECK(has(refusal<CommandLogsMessage>(number(1, 2) + number(2, 1)), "beyond"));
  CHECK(has(refusal<StatsMessage>(number(1, 1) + number(2, 2)), "above"));
  CHECK(has(refusal<MetricsRequest>(number(1, 1ULL << 63U)), "since_ms"));
  CHECK(has(refusal<MetricsMessage>(field(8, "short")), "24"));
  CHECK(has(refusal<MetricsMessage>(field(8, std::string(24, '\xFF'))), "out of bounds"));
  std::string many;
  for (std::size_t i = 0; i <= kMaxMetricsSamples; ++i) many += field(8, std::string(24, '\0'));
  CHECK(has(refusal<MetricsMessage>(many), "1024"));
}

TEST_CASE("types have names, other values do not") {
  CHECK(to_string(Type::exec) == "exec");
  CHECK(to_string(Type::error) == "error");
  int named = 0;
  for (int type = 0; type < 256; ++type) named += to_string(static_cast<Type>(type)) != "unknown";
  CHECK(named == 34);
}

TEST_CASE("credit frames carry 1 to kMaxCredit") {
  auto decoded = [](std::string_view payload, Type type = Type::credit) {
    return credit_of(Frame{type, 0, 1, payload});
  };
  const std::string good = credit_frame(1, kMaxCredit).encode(0).substr(kHeaderBytes);
  CHECK(decoded(good) == kMaxCredit);
  CHECK(decoded(std::string_view("\1\0\0\0", 4)) == 1);
  CHECK_FALSE(decoded(std::string_view("\0\0\0\0", 4)));
  CHECK_FALSE(decoded(std::string_view("\1\0\x40\0", 4)));
  CHECK_FALSE(decoded(good.substr(0, 3)));
  CHECK_FALSE(decoded(good + '\0'));
  CHECK_FALSE(decoded(good, Type::data));
}

TEST_CASE("every message survives a round trip") {
  for (const auto& sample : samples::all()) {
    CAPTURE(sample.name);
    auto again = sample.recode(sample.bytes);
    REQUIRE_MESSAGE(again.ok(), (again ? "" : again.error().message()));
    CHECK(*again == sample.bytes);
  }
  auto exec = ExecRequest::decode(samples::all()[1].bytes);
  REQUIRE(exec);
  CHECK(exec->argv == std::vector<std::string>{"/bin/bash", "-c", "echo \xFF$A"});
  CHECK(exec->env == EnvList{{"A", "b=c"}});
  CHECK(exec->cwd == "/workspace");
  CHECK(exec->user == "nobody");
  CHECK(exec->timeout_ms == 1500);
  CHECK(exec->stdin_open);
  auto info = FileInfo::decode(samples::all()[7].bytes);
  REQUIRE(info);
  CHECK(info->modified_ns == -1);
  CHECK(info->exists);
}

TEST_CASE("a cut inside a field is refused, at every byte of every message") {
  for (const auto& sample : samples::all()) {
    const auto starts = field_starts(sample.bytes);
    for (std::size_t cut = 0; cut < sample.bytes.size(); ++cut) {
      // Between fields the rest is a shorter message, which is right or wrong by its own content.
      if (std::find(starts.begin(), starts.end(), cut) != starts.end()) continue;
      CAPTURE(sample.name);
      CAPTURE(cut);
      CHECK_FALSE(sample.recode(sample.bytes.substr(0, cut)).ok());
    }
  }
}

TEST_CASE("a length that lies is refused or changes the message, and never reads beyond it") {
  for (const auto& sample : samples::all()) {
    for (std::size_t at : field_starts(sample.bytes)) {
      for (std::uint32_t length : {0x7FFFFFFFU, 0xFFFFFFFFU, static_cast<std::uint32_t>(sample.bytes.size())}) {
        std::string bytes = sample.bytes;
        store_u32(bytes.data() + at + 2, length);
        CHECK_FALSE(sample.recode(bytes).ok());
      }
    }
  }
}

TEST_CASE("unknown tags are skipped, wherever they stand") {
  for (const auto& sample : samples::all()) {
    auto starts = field_starts(sample.bytes);
    starts.push_back(sample.bytes.size());
    for (std::size_t at : starts) {
      std::string bytes = sample.bytes;
      bytes.insert(at, field(60000, "from the future") + field(999, std::uint64_t{7}) + field(64, ""));
      auto again = sample.recode(bytes);
      REQUIRE(again);
      CHECK(*again == sample.bytes);
    }
  }
}

TEST_CASE("a field that is no list comes once") {
  CHECK(has(refusal<StartedMessage>(field(1, 1U) + field(1, 1U)), "`pid` comes twice"));
  CHECK(has(refusal<FileRequest>(field(1, "/a") + field(1, "/a")), "`path` comes twice"));
  CHECK(has(refusal<ExecExit>(field(3, 1U) + field(3, 1U)), "`timed_out` comes twice"));
}

TEST_CASE("numbers have eight bytes and a range") {
  CHECK(has(refusal<StartedMessage>(field(1, std::string_view("\1\0\0\0", 4))), "4 bytes"));
  CHECK(has(refusal<StartedMessage>(field(1, std::uint64_t{0})), "missing or 0"));
  CHECK(has(refusal<StartedMessage>(field(1, std::uint64_t{1} << 31)), "at most 2147483647"));
  CHECK(has(refusal<ExecExit>(field(1, std::uint64_t{256})), "allowed is -1 to 255"));
  CHECK(has(refusal<ExecExit>(field(2, ~std::uint64_t{0})), "field `signal` is -1"));
  CHECK(has(refusal<ExecExit>(field(3, std::uint64_t{2})), "at most 1"));
  CHECK(has(refusal<ExecExit>(field(6, ~std::uint64_t{0})), "duration_us"));
  CHECK(has(refusal<FileInfo>(field(5, std::uint64_t{010000})), "at most 4095"));
  CHECK(has(refusal<ExecRequest>(field(1, "x") + field(5, kMaxTimeoutMs + 1)), "timeout_ms"));
}

TEST_CASE("paths are absolute, inside, without NUL and bounded") {
  auto path = [](std::string_view text) { return refusal<FileRequest>(field(1, text)); };
  CHECK(path("/a/..b/c..") == "accepted");
  CHECK(path("/") == "accepted");
  CHECK(path("/" + std::string(4095, 'a')) == "accepted");
  CHECK(has(path("/" + std::string(4096, 'a')), "at most 4096"));
  CHECK(has(path("a/b"), "no absolute path"));
  CHECK(has(path(""), "no absolute path"));
  CHECK(has(path(std::string_view("/a\0b", 4)), "NUL"));
  for (const char* outside : {"/..", "/../a", "/a/../b", "/a/.."}) CHECK(has(path(outside), "\"..\""));
  CHECK(has(refusal<FileRequest>(field(2, "/a")), "`path` is missing"));
  CHECK(has(refusal<FileRequest>(field(1, "/a") + field(2, "/b/..")), "destination"));
}

TEST_CASE("a guest cannot name a file outside the directory it lists") {
  for (const char* name : {"../etc/passwd", "a/b", "..", "//"}) {
    CHECK(has(refusal<FileInfo>(field(1, name)), "single component"));
  }
  CHECK(refusal<FileInfo>(field(1, "/")) == "accepted");
  CHECK(refusal<FileInfo>(field(1, "...")) == "accepted");
  CHECK(has(refusal<FileInfo>(field(1, std::string(256, 'n'))), "at most 255"));
}

TEST_CASE("commands and environments are bounded") {
  CHECK(has(refusal<ExecRequest>(""), "`argv` is missing"));
  CHECK(has(refusal<ExecRequest>(field(1, "")), "empty program"));
  CHECK(refusal<ExecRequest>(field(1, "x") + field(1, "")) == "accepted");
  CHECK(has(refusal<ExecRequest>(field(1, std::string_view("a\0b", 3))), "NUL"));
  CHECK(refusal<ExecRequest>(field(1, std::string(kMaxEntryBytes - 1, 'a'))) == "accepted");
  CHECK(has(refusal<ExecRequest>(field(1, std::string(kMaxEntryBytes, 'a'))), "131072 bytes"));
  std::string many;
  for (std::size_t i = 0; i < kMaxListEntries; ++i) many += field(1, "a");
  CHECK(refusal<ExecRequest>(many) == "accepted");
  CHECK(has(refusal<ExecRequest>(many + field(1, "a")), "more than 4096"));
  for (std::string_view env : {std::string_view("A"), std::string_view("=b"), std::string_view(""),
                               std::string_view("A=\0", 3), std::string_view("\0A=b", 4)}) {
    CHECK(has(refusal<ExecRequest>(field(1, "x") + field(3, env)), "NAME=value"));
  }
  std::string unknown = field(1, "x");
  for (int i = 0; i < 16384; ++i) unknown += field(500, "");
  CHECK(has(refusal<ExecRequest>(unknown), "more than 16384 fields"));
}

TEST_CASE("an identity is complete") {
  ConfigureRequest good;
  good.hostname = std::string(64, 'a');
  good.entropy = std::string(512, 'e');
  good.machine_id = std::string(32, 'f');
  CHECK(refusal<ConfigureRequest>(good.encode()) == "accepted");
  auto spoiled = [&good](auto change) {
    ConfigureRequest m = good;
    change(m);
    return refusal<ConfigureRequest>(m.encode());
  };
  CHECK(has(spoiled([](auto& m) { m.hostname.clear(); }), "hostname"));
  CHECK(has(spoiled([](auto& m) { m.hostname += 'a'; }), "hostname"));
  CHECK(has(spoiled([](auto& m) { m.hostname = "A"; }), "hostname"));
  CHECK(has(spoiled([](auto& m) { m.entropy.resize(31); }), "entropy"));
  CHECK(has(spoiled([](auto& m) { m.entropy.resize(513); }), "entropy"));
  CHECK(has(spoiled([](auto& m) { m.machine_id[0] = 'G'; }), "machine_id"));
  CHECK(has(spoiled([](auto& m) { m.machine_id.pop_back(); }), "machine_id"));
}

TEST_CASE("errors travel with code, stage and console, shortened to fit") {
  ErrorDetails details;
  details.stage = "boot";
  details.console_tail = std::string(kMaxConsoleTailBytes, 'x') + "the end";
  const Error error(ErrorCode::vm_failed, std::string(kMaxErrorTextBytes + 1, 'm'), details);
  auto decoded = ErrorMessage::decode(ErrorMessage::from(error).encode());
  REQUIRE(decoded);
  const Error back = decoded->to_error();
  CHECK(back.code() == ErrorCode::vm_failed);
  CHECK(back.message().size() == kMaxErrorTextBytes);
  CHECK(back.details().stage == "boot");
  CHECK(back.details().console_tail.size() == kMaxConsoleTailBytes);
  CHECK(has(back.details().console_tail, "the end"));

  ErrorMessage later;
  later.code = "code_of_a_later_version";
  CHECK(later.to_error().code() == ErrorCode::internal);
  CHECK(has(refusal<ErrorMessage>(field(2, "text")), "`code` is missing"));
}

TEST_CASE("a start request names an accelerator we know, and absolute paths") {
  const std::string least = field(1, "{}") + field(2, "/s");
  CHECK(refusal<StartRequest>(least) == "accepted");
  CHECK(refusal<StartRequest>(least + field(10, "kvm")) == "accepted");
  CHECK(has(refusal<StartRequest>(least + field(10, "xen")), "accelerator"));
  const std::string digest = field(18, std::string(64, 'a'));
  CHECK(refusal<StartRequest>(least + digest + digest + digest + digest) == "accepted");
  CHECK(has(refusal<StartRequest>(least + digest), "image_sha256"));
  CHECK(has(refusal<StartRequest>(least + field(3, "kernel")), "`kernel` is no absolute path"));
  CHECK(has(refusal<StartRequest>(field(2, "/s")), "`record` is missing"));
  CHECK(has(refusal<StartRequest>(field(1, "{}")), "`sandboxes_dir` is missing"));
  CHECK(has(refusal<RecordMessage>(field(1, std::string(kMaxRecordBytes + 1, ' '))), "record"));
}
