// The pure parts of the remote backend: what is sent, what is read, and what bad answers become.
#include <doctest/doctest.h>

#include "remote/answers.hpp"
#include "remote/base64.hpp"
#include "remote/errors.hpp"
#include "remote/events.hpp"
#include "remote/requests.hpp"
#include "remote/settings.hpp"
#include "remote/shell_line.hpp"
#include "remote/times.hpp"
#include "remote/transfers.hpp"

namespace orkestr::remote {

namespace {

JsonValue json(std::string_view text) {
  auto parsed = JsonValue::parse(text);
  REQUIRE_MESSAGE(parsed.ok(), text);
  return *parsed;
}
const AnswerContext kContext{"get sandbox x", "req_7"};

std::int64_t ms(std::string_view text) {
  const auto time = parse_time(text);
  REQUIRE_MESSAGE(time.has_value(), text);
  return std::chrono::duration_cast<std::chrono::milliseconds>(time->time_since_epoch()).count();
}

constexpr const char* kSandbox =
    R"({"id":"sbx_1","status":"running","template":"python-3.12","network":"off","cpu":1.0,"memory_mb":1024.0,"region":null,
    "created_at":"2026-01-01T02:00:00.123456+02:00","expires_at":"2026-01-01T00:10:00Z","on_timeout":"pause",
    "auto_resume":true,"preview_auth":false,"preview_auth_token":null,"paused_expires_at":null,"node_id":"n","metadata":{"k":"v"},
    "volume":null,"preview_host_base":"p","later":[{"a":1}]})";

Error refused(int status, std::string body, std::optional<double> retry_after = {}, bool about_file = false) {
  HttpAnswer answer;
  answer.status = status;
  answer.body = std::move(body);
  answer.request_id = "req_7";
  answer.retry_after = retry_after;
  return error_of_answer(answer, {"create sandbox", about_file, "sk-secret"});
}

}  // namespace

TEST_CASE("base64: round trip, and nothing but whole padded base64") {
  std::string all;
  for (int i = 0; i < 1000; ++i) {
    CHECK(base64_decode(base64_encode(all)) == all);
    all += static_cast<char>(i * 7);
  }
  CHECK(base64_encode("f") == "Zg==");
  CHECK(base64_encode("foob") == "Zm9vYg==");
  CHECK(base64_decode("") == "");
  for (const char* bad : {"Z", "Zg", "Zg=", "Zg===", "Z===", "====", "Zg==Zg==", "Zm 9v", "Zm9*", "Zm9v\n", "=Zm9"}) {
    CHECK_MESSAGE(!base64_decode(bad), bad);
  }
}

TEST_CASE("times: digits, offsets, and what is none") {
  CHECK(ms("1970-01-01T00:00:00Z") == 0);
  CHECK(ms("1970-01-01T00:00:01.5Z") == 1500);
  CHECK(ms("2026-01-01T00:00:00.123Z") == 1767225600123);
  CHECK(ms("2026-01-01T02:00:00.123456+02:00") == 1767225600123);
  CHECK(ms("2025-12-31T18:30:00-0530") == 1767225600000);
  CHECK(ms("2026-01-01 00:00:00") == 1767225600000);
  CHECK(parse_time("9999-12-31T23:59:59Z").has_value());
  CHECK(parse_time("2264-02-29T00:00:00Z").has_value());
  CHECK_FALSE(parse_time("2263-02-29T00:00:00Z").has_value());
  CHECK(*parse_time("2300-01-01T00:00:00Z") > *parse_time("2261-12-30T23:59:59Z"));
  for (const char* bad : {"", "2026", "2026-01-01", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
                          "2026-01-01T24:00:00Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+25:00",
                          "2026-01-01T00:00:00Zx", "1969-01-01T00:00:00Z", "2026-01-01T00:00:00.1234567890Z", "now"}) {
    CHECK_MESSAGE(!parse_time(bad), bad);
  }
}

TEST_CASE("sandbox: unknown members are ignored, missing ones defaulted, wrong types name the member and the request") {
  auto info = decode_sandbox(json(kSandbox), kContext);
  REQUIRE_MESSAGE(info.ok(), info.error().message());
  CHECK(info->id == "sbx_1");
  CHECK(info->memory_mb == 1024);
  CHECK(info->on_timeout == OnTimeout::pause);
  CHECK(info->auto_resume);
  CHECK(info->metadata.at("k") == "v");
  CHECK(info->backend == "remote");
  CHECK(info->created_at == *parse_time("2026-01-01T00:00:00.123456Z"));
  CHECK_FALSE(info->paused_expires_at.has_value());

  CHECK(decode_sandbox(json(R"({"id":"a","status":"running"})"), kContext).ok());
  // What a newer service may say.
  auto newer =
      decode_sandbox(json(R"({"id":"a","status":"hibernating","network":"custom","on_timeout":"archive"})"), kContext);
  REQUIRE(newer.ok());
  CHECK(newer->status == Status::starting);
  CHECK(newer->network == Network::restricted);

  for (const auto& [text, field] :
       {std::pair(R"({"status":"running"})", "'id' is missing"),
        std::pair(R"({"id":7,"status":"running"})", "'id' is a number"),
        std::pair(R"({"id":"a","status":"running","cpu":"one"})", "'cpu' is a text"),
        std::pair(R"({"id":"a","status":"running","memory_mb":-1})", "'memory_mb' is -1"),
        std::pair(R"({"id":"a","status":"running","memory_mb":1e300})", "'memory_mb'"),
        std::pair(R"({"id":"a","status":"running","metadata":[1]})", "'metadata' is an array"),
        std::pair(R"({"id":"a","status":"running","metadata":{"a":1}})", "'metadata' has a number"),
        std::pair(R"({"id":"a","status":"running","created_at":5})", "'created_at' is a number"),
        std::pair(R"({"id":"a","status":"running","created_at":"x"})", "'created_at' is no ISO"),
        std::pair(R"({"id":"a","status":"running","auto_resume":"yes"})", "'auto_resume' is a text"),
        std::pair("[]", "'the whole' is an array"), std::pair("3", "'the whole' is a number")}) {
    auto bad = decode_sandbox(json(text), kContext);
    REQUIRE_FALSE(bad.ok());
    CHECK(bad.error().code() == ErrorCode::api);
    CHECK_MESSAGE(bad.error().message().find(field) != std::string::npos, bad.error().message());
    CHECK(bad.error().message().find("req_7") != std::string::npos);
    CHECK(bad.error().details().request_id == "req_7");
  }
}

TEST_CASE("lists and pages: a bad element is named by its place") {
  auto page = decode_page(json(R"({"sandboxes":[{"id":"a","status":"paused"}],"next_cursor":"c"})"), kContext);
  REQUIRE(page.ok());
  CHECK(page->next_cursor == "c");
  CHECK(decode_page(json(R"({"sandboxes":[],"next_cursor":null})"), kContext).ok());
  auto bad = decode_page(json(R"({"sandboxes":[{"id":"a","status":"paused"},{"id":"b","status":3}]})"), kContext);
  REQUIRE_FALSE(bad.ok());
  CHECK(bad.error().message().find("sandboxes[1].status") != std::string::npos);
  CHECK_FALSE(decode_page(json("{}"), kContext).ok());
  CHECK_FALSE(decode_page(JsonValue(), kContext).ok());
}

TEST_CASE("limits: what is needed, what may be missing, all that is there") {
  CHECK(decode_limits(json(R"({"plan":"p","max_concurrent":1,"max_snapshots":2})"), kContext).ok());
  auto all = decode_limits(
      json(
          R"({"plan":"p","max_concurrent":3.0,"max_snapshots":2,"allowed_sizes":["small"],"sizes":[{"size":"small","cpu":0.5,
      "memory_mb":512,"allowed":false}],"regions":[{"id":"eu","label":"Europe"}],"custom_egress_allowlist":true,
      "default_egress_domains":["a.b"],"trial_credit_eur":5,"trial_credit_used_eur":1.5,"max_running_lifetime_seconds":null,
      "max_named_snapshots":4,"max_timeout_seconds":3600,"usage_resets_at":"2030-01-01T00:00:00Z"})"),
      kContext);
  REQUIRE(all.ok());
  CHECK(all->max_concurrent == 3);
  CHECK(all->sizes.at(0).cpu == 0.5);
  CHECK_FALSE(all->sizes.at(0).allowed);
  CHECK(all->regions.at(0).label == "Europe");
  CHECK(*all->trial_credit_used_eur == 1.5);
  CHECK_FALSE(all->max_running_lifetime.has_value());
  CHECK(all->max_timeout == std::chrono::seconds(3600));
  CHECK_FALSE(decode_limits(json(R"({"plan":"p","max_concurrent":1})"), kContext).ok());
}

TEST_CASE("commands, logs, exec, files, metrics: values and refusals") {
  auto command = decode_command(
      json(R"({"id":"c","command":"x","pid":null,"status":"killed","exit_code":null,"started_at":null})"), kContext);
  REQUIRE(command.ok());
  CHECK(command->status == CommandStatus::killed);
  CHECK_FALSE(command->pid.has_value());
  CHECK(decode_command(json(R"({"id":"c","exit_code":0})"), kContext)->status == CommandStatus::exited);
  CHECK(decode_command(json(R"({"id":"c"})"), kContext)->status == CommandStatus::running);
  auto logs = decode_logs(json(R"({"content":"äb","size":9,"truncated":true})"), kContext, 4);
  REQUIRE(logs.ok());
  CHECK(logs->next_offset() == 7);
  auto exec = decode_exec(json(R"({"stdout":"a","stderr":"","exit_code":3,"duration_ms":1.5})"), kContext);
  REQUIRE(exec.ok());
  CHECK(exec->end.exit_code == 3);
  CHECK(exec->end.duration == std::chrono::microseconds(1500));
  CHECK_FALSE(decode_exec(json(R"({"stdout":"a","stderr":""})"), kContext).ok());
  CHECK(decode_exec(json(R"({"exit_code":3.0})"), kContext)->end.exit_code == 3);
  CHECK(decode_exec(json(R"({"exit_code":1.7})"), kContext).error().message().find("'exit_code' is 1.7") !=
        std::string::npos);
  CHECK(*decode_file(json(R"({"is_dir":false,"content":"aGk="})"), kContext, "/x") == "hi");
  CHECK(decode_file(json(R"({"is_dir":true,"entries":[]})"), kContext, "/x").error().code() ==
        ErrorCode::is_a_directory);
  CHECK(decode_file(json(R"({"is_dir":false,"content":"?"})"), kContext, "/x").error().code() == ErrorCode::api);
  CHECK(decode_directory(json(R"({"is_dir":false,"content":""})"), kContext, "/x").error().code() ==
        ErrorCode::not_a_directory);
  auto entries = decode_directory(
      json(R"({"is_dir":true,"entries":[{"name":"b"},{"name":"a","is_dir":true,"mode":420.0}]})"), kContext, "/");
  REQUIRE(entries.ok());
  CHECK(entries->at(0).name == "a");
  CHECK(entries->at(0).mode == 0644);
  auto batch = decode_batch(
      json(
          R"({"results":[{"path":"/a","bytes_written":1,"error":null},{"path":"/b","bytes_written":0,"error":{"code":"not_permitted"}}]})"),
      kContext);
  REQUIRE(batch.ok());
  CHECK_FALSE(batch->at(0).error.has_value());
  CHECK(batch->at(1).error->code() == ErrorCode::not_permitted);
  const AnswerContext with_key{"write_batch", "of sk-secret", "sk-secret"};
  batch = decode_batch(json(R"({"results":[{"path":"/a","error":{"code":"x sk-secret","detail":"y sk-secret"}},)"
                            R"({"path":"/b","error":{"code":"x sk-secret"}}]})"),
                       with_key);
  REQUIRE(batch.ok());
  for (const auto& one : *batch) CHECK(one.error->message().find("sk-secret") == std::string::npos);
  const Error bad = decode_batch(json("{}"), with_key).error();
  CHECK_MESSAGE(bad.message().find("sk-secret") == std::string::npos, bad.message());
  CHECK(bad.details().request_id.find("sk-secret") == std::string::npos);
  auto metrics = decode_metrics(
      json(
          R"({"sandbox_id":"s","sandbox_status":"paused","as_of":"2026-01-01T00:00:00Z","sample_interval_seconds":5,"window_seconds":60,
      "cpu":{"cores":1,"usage_cores":null,"usage_percent":null},"memory":{"limit_bytes":1073741824,"usage_bytes":null,"usage_percent":null},
      "lifetime":{"cpu_seconds":1,"gb_seconds":2.5},"samples":[{"t":1767225600,"cpu_percent":1,"mem_bytes":5}]})"),
      kContext);
  REQUIRE(metrics.ok());
  CHECK(metrics->status == Status::paused);
  CHECK_FALSE(metrics->cpu_usage_cores.has_value());
  CHECK(metrics->samples.at(0).time == *parse_time("2026-01-01T00:00:00Z"));
  CHECK(decode_metrics(json(R"({"cpu":{"cores":"x"}})"), kContext).error().message().find("cpu.cores") !=
        std::string::npos);
}

TEST_CASE("errors: code first, then status") {
  struct Row {
    int status;
    const char* code;
    ErrorCode expected;
  };
  for (const Row& row : std::vector<Row>{{500, "snapshot_cap_reached", ErrorCode::snapshot_cap_reached},
                                         {403, "network_policy_blocked", ErrorCode::network_policy_blocked},
                                         {408, "exec_timeout", ErrorCode::exec_timeout},
                                         {408, "timed_out", ErrorCode::exec_timeout},
                                         {422, "exec_killed", ErrorCode::exec_killed},
                                         {422, "killed_by_signal", ErrorCode::exec_killed},
                                         {503, "fleet_full_retry", ErrorCode::fleet_full_retry},
                                         {400, "interpreter_unavailable", ErrorCode::interpreter_unavailable},
                                         {402, "plan_limit", ErrorCode::plan_limit},
                                         {402, "usage_exhausted", ErrorCode::usage_exhausted},
                                         {402, "session_cap_reached", ErrorCode::session_cap_reached},
                                         {402, "trial_exhausted", ErrorCode::trial_exhausted},
                                         {402, "lifetime_cap_reached", ErrorCode::lifetime_cap_reached},
                                         {409, "volume_in_use", ErrorCode::volume_in_use},
                                         {404, "template_not_found", ErrorCode::template_not_found},
                                         {401, "", ErrorCode::unauthorized},
                                         {402, "", ErrorCode::plan_limit},
                                         {403, "", ErrorCode::forbidden},
                                         {404, "", ErrorCode::not_found},
                                         {409, "", ErrorCode::not_ready},
                                         {429, "", ErrorCode::rate_limited},
                                         {500, "", ErrorCode::api},
                                         {400, "of_a_later_version", ErrorCode::api},
                                         {404, "of_a_later_version", ErrorCode::not_found},
                                         {500, "cancelled", ErrorCode::api},
                                         {500, "internal", ErrorCode::api},
                                         {302, "", ErrorCode::api}}) {
    const Error error = refused(row.status, std::string(R"({"detail":"why","code":")") + row.code + "\"}");
    CHECK_MESSAGE(error.code() == row.expected, row.status, " ", row.code);
    CHECK(error.details().status_code == row.status);
    CHECK(error.details().detail == "why");
    CHECK(error.details().request_id == "req_7");
    CHECK(error.message().find("create sandbox: why") == 0);
    CHECK(error.message().find("req_7") != std::string::npos);
  }
  CHECK(refused(404, "{}", {}, true).code() == ErrorCode::file_not_found);
  CHECK(refused(404, R"({"code":"not_found"})", {}, true).code() == ErrorCode::not_found);
}

TEST_CASE("errors: detail, retry_after, signal, and bodies that are something else") {
  CHECK(refused(500, R"({"message":"m"})").details().detail == "m");
  CHECK(refused(422, R"({"detail":[{"loc":["body","size"],"msg":"is bad"},{"msg":"and more"}]})").details().detail ==
        "body: size: is bad; and more");
  CHECK(refused(409, R"({"detail":{"code":"volume_in_use","message":"m"}})").code() == ErrorCode::volume_in_use);
  CHECK(refused(503, R"({"code":"fleet_full_retry","retry_after":7.5})").details().retry_after == 7.5);
  CHECK(refused(503, R"({"code":"fleet_full_retry","retry_after":7.5})", 3).details().retry_after == 3);
  CHECK_FALSE(refused(503, R"({"retry_after":"soon"})").details().retry_after);
  CHECK(refused(503, R"({"code":"fleet_full_retry","retry_after":0})").details().retry_after == 0);
  CHECK(refused(503, R"({"code":"fleet_full_retry","retry_after":-1e300})").details().retry_after == 0);
  const auto far = refused(503, R"({"code":"fleet_full_retry","retry_after":1e300})").details().retry_after;
  CHECK((far > 3600 && far < 1e9));
  CHECK(refused(429, "{}", 1e300).details().retry_after == far);
  const Error killed = refused(422, R"({"code":"exec_killed","signal":9,"oom":true,"stdout":"o","stderr":"e"})");
  CHECK(killed.details().signal == 9);
  CHECK(killed.details().oom);
  CHECK(killed.details().stdout_data == "o");
  // Whatever goes with the code is read where the code stands.
  const ErrorDetails inner =
      refused(422, R"({"signal":1,"host":"outer","detail":{"code":"exec_killed","signal":9,"oom":true,"stdout":"o",
                       "stderr":"e","host":"h","port":443,"rule":"r","retry_after":2.5,"message":"m"}})")
          .details();
  CHECK(inner.signal == 9);
  CHECK(inner.oom);
  CHECK(inner.stdout_data == "o");
  CHECK(inner.stderr_data == "e");
  CHECK(inner.host == "h");
  CHECK(inner.port == 443);
  CHECK(inner.rule == "r");
  CHECK(inner.retry_after == 2.5);
  CHECK(inner.detail == "m");
  const Error outer = refused(422, R"({"code":"exec_killed","signal":9,"detail":{"message":"m"}})");
  CHECK(outer.code() == ErrorCode::exec_killed);
  CHECK(outer.details().signal == 9);
  CHECK(outer.details().detail == "m");
  for (const char* body :
       {"", "<html>", "[]", "7", R"({"detail":7,"code":[],"signal":"x"})", "{\"detail\":\"\\u0000\\n\"}", "{"}) {
    const Error error = refused(500, body);
    CHECK(error.code() == ErrorCode::api);
    CHECK(error.message().find("create sandbox: ") == 0);
    CHECK(error.message().find('\n') == std::string::npos);
  }
  const Error leaky = refused(401, R"({"detail":"bad key sk-secret!","code":"sk-secret"})");
  CHECK(leaky.message().find("sk-secret") == std::string::npos);
  CHECK(leaky.details().detail.find("sk-secret") == std::string::npos);
  CHECK(refused(500, "{\"detail\":\"" + std::string(100'000, 'x') + "\"}").message().size() < 1000);
}

TEST_CASE("requests: members that are always sent, and those only when set") {
  CreateOptions options;
  options.template_name = "python-3.12";
  CHECK(
      create_request(options).body ==
      R"({"template":"python-3.12","size":"small","network":"off","timeout_seconds":600,"on_timeout":"kill","auto_resume":false,"preview_auth":false,"env":{},"metadata":{}})");
  options.allow_domains = std::vector<std::string>();  // none at all, which is not the service's default
  CHECK(create_request(options).body.find(R"("metadata":{},"allow_domains":[]})") != std::string::npos);
  options.region = "eu";
  options.allow_domains = {"a.b"};
  options.volume = "vol";
  options.cpu = 2;
  options.memory_mb = 512;
  CHECK(create_request(options).body.find(
            R"("metadata":{},"cpu":2,"memory_mb":512,"region":"eu","allow_domains":["a.b"],"volume":"vol"})") !=
        std::string::npos);
  CreateOptions from;
  from.snapshot = "snap_1";
  CHECK(
      create_request(from).body ==
      R"({"snapshot":"snap_1","timeout_seconds":600,"on_timeout":"kill","auto_resume":false,"preview_auth":false,"env":{},"metadata":{}})");
  ListOptions list;
  list.status = Status::running;
  list.metadata = {{"a b", "c&d/ü"}};
  CHECK(list_request(list, "x=1").target ==
        "/v1/sandboxes?limit=50&status=running&metadata%5Ba%20b%5D=c%26d%2F%C3%BC&cursor=x%3D1");
  CommandRequest command;
  command.cwd = "/tmp";
  command.timeout = std::chrono::milliseconds(1500);
  CHECK(exec_request("s", "a\"b", command).body ==
        R"({"command":"a\"b","cwd":"/tmp","env":{},"timeout_seconds":1.5,"stream":false})");
  CHECK(get_command_request("s", "c/d?e").target == "/v1/sandboxes/s/commands/c%2Fd%3Fe");
  CHECK(write_file_request("s", "/a\"", "hi", 0600).body == R"({"path":"/a\"","content":"aGk=","mode":384})");
  CHECK(follow_request("s", "c", 5, std::chrono::milliseconds(1500)).target ==
        "/v1/sandboxes/s/commands/c/logs?follow=true&offset=5&timeout_seconds=2");
}

TEST_CASE("events: lines cut anywhere are the same lines") {
  const std::string stream =
      ": hello\r\nevent: x\ndata: "
      "{\"kind\":\"exec_started\",\"pid\":17}\r\n\r\ndata:{\"kind\":\"exec_chunk\",\"stream\":\"stderr\","
      "\"data\":\"aGk=\"}\rid: 3\n\ndata: {\"kind\":\"later\"}\n\ndata: "
      "{\"kind\":\"exec_exited\",\"code\":2,\"duration_ms\":18.5}";
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    LineCutter lines;
    std::string log;
    const auto take = [&](std::string_view line) {
      auto event = decode_event(line, {"exec", {}});
      REQUIRE_MESSAGE(event.ok(), event.error().message());
      if (event->kind == CommandEvent::Kind::started) log += "started " + std::to_string(event->pid) + ";";
      if (event->kind == CommandEvent::Kind::output) log += "output " + event->data + ";";
      if (event->kind == CommandEvent::Kind::exited) log += "exited " + std::to_string(event->end.exit_code) + ";";
      return true;
    };
    lines.feed(std::string_view(stream).substr(0, cut), take);
    lines.feed(std::string_view(stream).substr(cut), take);
    lines.finish(take);
    CHECK(log == "started 17;output hi;exited 2;");
  }
}

TEST_CASE("events: errors and rubbish") {
  auto killed =
      decode_event(R"(data: {"kind":"error","code":"killed_by_signal","message":"m","signal":9})", {"exec", {}});
  REQUIRE(killed.ok());
  CHECK(killed->code == ErrorCode::exec_killed);
  CHECK(killed->signal == 9);
  for (const char* line : {"data: {", "data: x", R"(data: {"kind":7})", R"(data: {"kind":"exec_exited"})",
                           R"(data: {"kind":"exec_exited","code":"0"})", R"(data: {"kind":"exec_chunk","data":"?"})",
                           R"(data: {"kind":"exec_exited","code":1.7})", R"(data: {"kind":"exec_chunk","data":7})",
                           R"(data: {"kind":"exec_started","pid":-1})", "data: []"}) {
    auto bad = decode_event(line, {"exec in sandbox x", "req_7"});
    REQUIRE_MESSAGE(!bad.ok(), line);
    CHECK(bad.error().code() == ErrorCode::api);
    CHECK(bad.error().message().find("exec in sandbox x") == 0);
    CHECK(bad.error().details().request_id == "req_7");
  }
  // Of a later version.
  for (const char* line :
       {R"(data: {"kind":"exec_chunk","stream":"trace","data":"aGk="})", R"(data: {"kind":"later"})"}) {
    CHECK(decode_event(line, {"exec", {}})->kind == CommandEvent::Kind::none);
  }
  LineCutter lines;
  const std::string piece(1U << 20U, 'x');
  int fed = 0;
  while (lines.feed(piece, [](std::string_view) { return true; })) REQUIRE(++fed < 20);
  CHECK(lines.too_long());
}

TEST_CASE("settings: order, addresses, and a key that no text repeats") {
  ::unsetenv("ORKESTR_API_KEY");
  ::unsetenv("ORKESTR_BASE_URL");
  ClientOptions options;
  CHECK(make_settings(options).error().code() == ErrorCode::unauthorized);
  ::setenv("ORKESTR_API_KEY", "from-environment", 1);
  ::setenv("ORKESTR_BASE_URL", "http://127.0.0.1:1/prefix///", 1);
  CHECK(make_settings(options)->api_key == "from-environment");
  CHECK(make_settings(options)->base_url == "http://127.0.0.1:1/prefix");
  options.api_key = "given";
  options.base_url = "https://example.test";
  CHECK(make_settings(options)->api_key == "given");
  CHECK(make_settings(options)->base_url == "https://example.test");
  ::unsetenv("ORKESTR_API_KEY");
  ::unsetenv("ORKESTR_BASE_URL");
  options.base_url.clear();
  CHECK(make_settings(options)->base_url == kDefaultBaseUrl);
  for (const char* url : {"ftp://x", "https://", "http://:80", "https://user:pw@host", "https://h/?q", "https://h/#f",
                          "https://h/ x", "x"}) {
    options.base_url = url;
    const auto bad = make_settings(options);
    REQUIRE_MESSAGE(!bad.ok(), url);
    CHECK(bad.error().code() == ErrorCode::invalid_argument);
    CHECK(bad.error().message().find("pw@") == std::string::npos);
  }
  options.base_url = "http://127.0.0.1:1";
  options.api_key = "secret\r\nX: y";
  const auto bad = make_settings(options);
  REQUIRE_FALSE(bad.ok());
  CHECK(bad.error().message().find("secret") == std::string::npos);
}

TEST_CASE("argv as a command line; presigned addresses") {
  CHECK(shell_line({"/bin/bash", "-c", "echo hi"}).line == "echo hi");
  CHECK(shell_quoted("a'b c$d\n") == "'a'\\''b c$d\n'");
  const ShellLine line = shell_line({"prin'tf", "$HOME", ""});
  CHECK(line.line.find("exec 'prin'\\''tf' '$HOME' ''") != std::string::npos);
  CHECK(line.not_found_mark != shell_line({"x"}).not_found_mark);
  PresignedUrl url;
  url.url = "http://h/x";
  CHECK(check_presigned(url, "http://h", "w").ok());
  CHECK_FALSE(check_presigned(url, "https://h", "w").ok());
  url.url = "https://other/x?y";
  CHECK(check_presigned(url, "https://h", "w").ok());
  for (const char* bad : {"file:///etc/passwd", "", "/x", "https://h/\r\nX: y", "gopher://h"}) {
    url.url = bad;
    CHECK_FALSE(check_presigned(url, "https://h", "w").ok());
  }
}

}  // namespace orkestr::remote
