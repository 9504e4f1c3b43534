// Every refusal of an argument, its text held by tests/golden/errors.txt: argument, value, what is allowed, what to do.
// Each line there is "CASE: CODE: MESSAGE". ORKESTR_UPDATE_GOLDEN=1 rewrites the file; read the difference before
// committing it.
#include <doctest/doctest.h>
#include <stdlib.h>

#include <fstream>
#include <functional>
#include <sstream>

#include "core/command_end.hpp"
#include "core/validate.hpp"

using namespace orkestr;
using namespace std::chrono_literals;
using namespace std::string_literals;

namespace {

struct Refusal {
  std::string name;
  std::optional<Error> error;
};

template <class T>
std::optional<Error> error_in(const Result<T>& result) {
  return result ? std::nullopt : std::optional<Error>(result.error());
}

std::optional<Error> create(const std::function<void(CreateOptions&)>& change) {
  CreateOptions options;
  options.template_name = "python-3.12";
  change(options);
  return error_in(core::check_create(options, "local"));
}

std::optional<Error> exec(const std::function<void(ExecOptions&)>& change, const std::string& line = "true") {
  ExecOptions options;
  change(options);
  return error_in(core::shell_command(line, options));
}

std::optional<Error> waited(const std::function<void(ExecOptions&)>& change) {
  ExecOptions options;
  change(options);
  const auto good = core::check_waited(options);
  return good ? std::nullopt : std::optional(good.error());
}

std::optional<Error> argv(std::vector<std::string> values) {
  return error_in(core::plain_command(std::move(values), {}));
}

void nothing(ExecOptions&) {}

std::vector<Refusal> create_refusals() {
  using O = CreateOptions;
  std::map<std::string, std::string> many_env, many_metadata;
  for (int i = 0; i < 1025; ++i) many_env["A" + std::to_string(i)] = "";
  for (int i = 0; i < 65; ++i) many_metadata[std::to_string(i)] = "";
  return {
      {"template missing", create([](O& o) { o.template_name.clear(); })},
      {"template and snapshot", create([](O& o) { o.snapshot = "snap_1"; })},
      {"template in capitals", create([](O& o) { o.template_name = "Python"; })},
      {"template with a path", create([](O& o) { o.template_name = "../../etc/passwd"; })},
      {"template with control characters", create([](O& o) { o.template_name = "a\nb\x1b[31m"; })},
      {"template of 65 bytes", create([](O& o) { o.template_name = std::string(65, 'a'); })},
      {"template of 1 MB", create([](O& o) { o.template_name = std::string(1 << 20, 'a'); })},
      {"cpu 0", create([](O& o) { o.cpu = 0; })},
      {"cpu 17", create([](O& o) { o.cpu = 17; })},
      {"cpu 0.24", create([](O& o) { o.cpu = 0.24; })},
      {"disk_mb 8191", create([](O& o) { o.disk_mb = 8191; })},
      {"disk_mb 131073", create([](O& o) { o.disk_mb = 131073; })},
      {"cpu not a number", create([](O& o) { o.cpu = __builtin_nan(""); })},
      {"memory 255", create([](O& o) { o.memory_mb = 255; })},
      {"memory 65537", create([](O& o) { o.memory_mb = 65537; })},
      {"timeout 9", create([](O& o) { o.timeout = 9s; })},
      {"timeout 86401", create([](O& o) { o.timeout = 86401s; })},
      {"timeout negative", create([](O& o) { o.timeout = -1s; })},
      {"max_retries negative", create([](O& o) { o.max_retries = -1; })},
      {"retry_max 3601", create([](O& o) { o.retry_max = 3601s; })},
      {"env name empty", create([](O& o) { o.env[""] = "x"; })},
      {"env name with =", create([](O& o) { o.env["A=B"] = "x"; })},
      {"env name with a digit first", create([](O& o) { o.env["1A"] = "x"; })},
      {"env value with NUL", create([](O& o) { o.env["TOKEN"] = "secret\0x"s; })},
      {"env of 1025", create([&](O& o) { o.env = many_env; })},
      {"env of 64 KiB", create([](O& o) { o.env["A"] = std::string(65536, 'x'); })},
      {"metadata of 65", create([&](O& o) { o.metadata = many_metadata; })},
      {"metadata key empty", create([](O& o) { o.metadata[""] = "x"; })},
      {"metadata key not UTF-8", create([](O& o) { o.metadata["\xff"] = "x"; })},
      {"metadata value not UTF-8", create([](O& o) { o.metadata["job"] = "\xc0\x80"; })},
      {"metadata of 16 KiB", create([](O& o) { o.metadata["a"] = std::string(16384, 'x'); })},
      {"snapshot", create([](O& o) { o.template_name.clear(), o.snapshot = "snap_1"; })},
      {"network restricted", create([](O& o) { o.network = Network::restricted; })},
      {"network open", create([](O& o) { o.network = Network::open; })},
      {"allow_domains", create([](O& o) { o.allow_domains = {"example.org"}; })},
      {"volume", create([](O& o) { o.volume = "vol_1"; })},
      {"paused_ttl", create([](O& o) { o.paused_ttl = std::chrono::seconds(1); })},
      {"preview_auth", create([](O& o) { o.preview_auth = true; })},
      {"region", create([](O& o) { o.region = "eu"; })},
  };
}

std::vector<Refusal> command_refusals() {
  using O = ExecOptions;
  return {
      {"command empty", exec(nothing, "")},
      {"command with NUL", exec(nothing, "echo \0x"s)},
      {"command of 128 KiB", exec(nothing, std::string(131072, 'x'))},
      {"argv empty", argv({})},
      {"argv[0] empty", argv({"", "x"})},
      {"argv with NUL", argv({"echo", "a\0b"s})},
      {"argv of 4097", argv(std::vector<std::string>(4097, "x"))},
      {"argv of 128 KiB", argv({"echo", std::string(131072, 'x')})},
      {"exec timeout 0", exec([](O& o) { o.timeout = 0ms; })},
      {"exec timeout 24 h and 1 ms", exec([](O& o) { o.timeout = 24h + 1ms; })},
      {"max_output_bytes 1023", exec([](O& o) { o.max_output_bytes = 1023; })},
      {"max_output_bytes beyond 1 GiB", exec([](O& o) { o.max_output_bytes = (1U << 30U) + 1; })},
      {"cols 0", exec([](O& o) { o.tty = true, o.cols = 0; })},
      {"cols 1001", exec([](O& o) { o.tty = true, o.cols = 1001; })},
      {"rows -1", exec([](O& o) { o.tty = true, o.rows = -1; })},
      {"rows 1001", exec([](O& o) { o.tty = true, o.rows = 1001; })},
      {"tty of exec()", waited([](O& o) { o.tty = true; })},
      {"stdin_open of exec()", waited([](O& o) { o.stdin_open = true; })},
      {"user with a colon", exec([](O& o) { o.user = "root:x"; })},
      {"user of 257 bytes", exec([](O& o) { o.user = std::string(257, 'u'); })},
      {"exec env name", exec([](O& o) { o.env["a b"] = "x"; })},
      {"cwd relative", exec([](O& o) { o.cwd = "src"; })},
      {"cwd empty", exec([](O& o) { o.cwd = ""; })},
      {"cwd with ..", exec([](O& o) { o.cwd = "/workspace/../etc"; })},
  };
}

std::vector<Refusal> code_refusals() {
  const auto code = [](const std::string& text, auto change) {
    CodeOptions options;
    change(options);
    return error_in(core::check_code(text, options));
  };
  using O = CodeOptions;
  return {
      {"code not UTF-8", code("print('\xff')", [](O&) {})},
      {"code of 16 MiB and a byte", code(std::string((16U << 20U) + 1, ' '), [](O&) {})},
      {"language empty", code("1", [](O& o) { o.language = ""; })},
      {"language with a blank", code("1", [](O& o) { o.language = "py thon"; })},
      {"code timeout 0", code("1", [](O& o) { o.timeout = 0ms; })},
      {"code timeout 24 h and 1 ms", code("1", [](O& o) { o.timeout = 24h + 1ms; })},
      {"context with a slash", code("1", [](O& o) { o.context_id = "a/b"; })},
  };
}

std::vector<Refusal> other_refusals() {
  auto path = [](const std::string& p) { return error_in(core::check_path("path", p)); };
  auto writable = [](const std::string& p) { return error_in(core::check_writable_path("path", p)); };
  ListOptions none, many, binary;
  none.limit = 0;
  many.limit = 201;
  binary.metadata["k"] = "\xed\xa0\x80";
  CommandEnd timed_out, killed, oom, cancelled;
  timed_out.timed_out = true;
  killed.signal = oom.signal = 9;
  killed.duration = oom.duration = 1500ms;
  oom.oom = cancelled.cancelled = true;
  return {
      {"path empty", path("")},
      {"path relative", path("main.py")},
      {"path with ..", path("/workspace/../etc/passwd")},
      {"path ending in ..", path("/workspace/..")},
      {"path with NUL", path("/workspace/a\0b"s)},
      {"path cut in a character", path("a" + std::string(78, 'x') + "\u00e9\u00e9")},
      {"path not UTF-8", path("\xff/x")},
      {"path of 4097 bytes", path("/" + std::string(4096, 'x'))},
      {"write outside", writable("/etc/passwd")},
      {"write beside a root", writable("/workspaces/x")},
      {"write behind a dot", writable("/./etc/x")},
      {"mode 01000", error_in(core::check_mode(01000))},
      {"mode negative", error_in(core::check_mode(-1))},
      {"limit 0", error_in(core::check_list(none))},
      {"limit 201", error_in(core::check_list(many))},
      {"list metadata not UTF-8", error_in(core::check_list(binary))},
      {"id", error_in(core::check_sandbox_id("sandbox-1"))},
      {"id of a command", error_in(core::check_command_id(".."))},
      {"id of a snapshot", error_in(core::check_id("snapshot", "."))},
      {"id of a volume", error_in(core::check_id("volume", std::string(129, 'x')))},
      {"id of a webhook", error_in(core::check_id("webhook", ""))},
      {"end: timeout", core::error_of(timed_out, 60s, {}, {})},
      {"end: killed", core::error_of(killed, 60s, {}, {})},
      {"end: out of memory", core::error_of(oom, 60s, {}, {})},
      {"end: cancelled", core::error_of(cancelled, 60s, {}, {})},
      {"name of a network", error_in(parse_network("wifi"))},
      {"name of a size", error_in(parse_size("huge"))},
      {"name of on_timeout", error_in(parse_on_timeout("sleep"))},
      {"name of a status", error_in(parse_status("dead"))},
  };
}

std::string golden_path() { return std::string(ORKESTR_TESTS_DIR) + "/golden/errors.txt"; }

}  // namespace

TEST_CASE("every refusal has the text that tests/golden/errors.txt holds") {
  std::string text;
  for (const auto& group : {create_refusals(), command_refusals(), code_refusals(), other_refusals()}) {
    for (const auto& refusal : group) {
      CAPTURE(refusal.name);
      REQUIRE(refusal.error);
      text +=
          refusal.name + ": " + std::string(to_string(refusal.error->code())) + ": " + refusal.error->message() + "\n";
      // One line, printable, short enough to read, whatever was in the value.
      CHECK(refusal.error->message().find_first_of("\n\x1b") == std::string::npos);
      CHECK(refusal.error->message().size() < 300);
      CHECK(refusal.error->message().find("secret") == std::string::npos);
    }
  }
  if (::getenv("ORKESTR_UPDATE_GOLDEN") != nullptr) std::ofstream(golden_path()) << text;
  std::ifstream file(golden_path());
  std::stringstream golden;
  golden << file.rdbuf();
  CHECK(text == golden.str());
}

TEST_CASE("what is allowed is allowed, up to the limit") {
  CodeOptions code;
  code.context_id = std::string(128, 'c');
  code.language = std::string(64, 'l');
  code.timeout = 24h;
  CHECK(core::check_code("", code).ok());
  CHECK(core::check_code("\0ü"s + std::string(16U << 20U, ' ').substr(3), code).ok());
  CHECK_FALSE(create([](CreateOptions&) {}));
  CHECK_FALSE(create([](CreateOptions& o) {
    o.template_name = "ubuntu-24.04";
    o.cpu = 16;
    o.disk_mb = 131072;
    o.memory_mb = 256;
    o.timeout = 86400s;
    o.env["_A1"] = std::string(65536 - 5, 'x');
    o.metadata["schlüssel"] = "\xf0\x9f\x90\x8d";
    o.max_retries = 0;
    o.retry_max = 0s;
  }));
  CHECK_FALSE(exec(nothing, std::string(131071, 'x')));
  CHECK_FALSE(exec([](ExecOptions& o) { o.timeout = 1ms, o.max_output_bytes = 1024, o.user = "1000"; }));
  CHECK_FALSE(argv({"echo", "", "\xff"}));
  CHECK_FALSE(error_in(core::check_path("path", "/" + std::string(4095, 'x'))));
}

TEST_CASE("paths are cleaned before they are judged") {
  CHECK(core::check_path("path", "/").value() == "/");
  CHECK(core::check_path("path", "//a///b/./c/").value() == "/a/b/c");
  CHECK(core::check_path("path", "/a/...").value() == "/a/...");
  CHECK(core::check_path("path", "/..a/b..").value() == "/..a/b..");
  CHECK(core::check_writable_path("path", "/tmp").value() == "/tmp");
  CHECK(core::check_writable_path("path", "//workspace//x").value() == "/workspace/x");
  CHECK(core::check_writable_path("path", "/persist/x").value() == "/persist/x");
}

TEST_CASE("the shell form is spelled out, the argv form is left alone") {
  const auto shell = core::shell_command("a | b", {}).value();
  CHECK(shell.argv == std::vector<std::string>{"/bin/bash", "-c", "a | b"});
  CHECK_FALSE(shell.stdin_open);
  ExecOptions options;
  options.stdin_data = "";
  const auto plain = core::plain_command({"cat", "-"}, options).value();
  CHECK(plain.argv == std::vector<std::string>{"cat", "-"});
  CHECK(plain.stdin_open);
  CHECK_FALSE(plain.tty);
  ExecOptions terminal;
  terminal.tty = true;
  terminal.cols = 1000;
  const auto typed = core::shell_command("vi", terminal).value();
  CHECK(typed.stdin_open);
  CHECK(typed.tty);
  CHECK(typed.cols == 1000);
  CHECK(typed.rows == 24);
  CHECK(core::check_waited({}).ok());
}
