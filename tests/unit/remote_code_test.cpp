// The code interpreter over the wire: what is asked, what answers mean, and streams that are not as they should be.
#include <string>
#include <vector>

#include "remote/code.hpp"
#include "remote/requests.hpp"
#include "remote_support.hpp"

namespace orkestr::testing {

using namespace orkestr::remote;
using base::JsonValue;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

const AnswerContext kContext{"run code in sandbox x", "req_7"};

Result<CodeExecution> execution(std::string_view text) {
  return decode_execution(JsonValue::parse(text).value(), kContext);
}

struct Run {
  std::vector<CodeEvent> events;
  std::optional<Error> error;
};

Run run(const Sandbox& sandbox, CodeOptions options = {}) {
  Run seen;
  auto stream = sandbox.run_code_stream("1", std::move(options)).value();
  while (true) {
    auto event = stream.next();
    if (!event) {
      seen.error = event.error();
      CHECK_FALSE(stream.next().value());
      return seen;
    }
    if (!*event) return seen;
    seen.events.push_back(std::move(**event));
  }
}

const std::string kStream =
    "data: {\"kind\":\"stream\",\"stream\":\"stdout\",\"text\":\"out\"}\n\n"
    "data: {\"kind\":\"stream\",\"stream\":\"trace\",\"text\":\"of a later version\"}\n\n"
    "data: {\"kind\":\"result\",\"result\":{\"type\":\"text\",\"text\":\"1\"}}\n\n"
    "data: {\"kind\":\"done\",\"context_id\":\"default\",\"execution_count\":3,\"duration_ms\":18}\n\n";

}  // namespace

TEST_CASE("code: what is asked") {
  CodeOptions options;
  auto request = run_code_request("s", "1 + 1", options, false);
  CHECK(request.method == "POST");
  CHECK(request.target == "/v1/sandboxes/s/code");
  CHECK(request.body == R"({"code":"1 + 1","language":"python","context_id":null,"timeout_seconds":60})");
  CHECK_FALSE(is_repeatable(request));
  options.language = "r";
  options.context_id = "ctx_1";
  options.timeout = milliseconds(1500);
  CHECK(run_code_request("s", "\n", options, true).body ==
        R"({"code":"\n","language":"r","context_id":"ctx_1","timeout_seconds":1.5,"stream":true})");
  CHECK(create_context_request("s", "").body == "{}");
  CHECK(create_context_request("s", "/tmp").body == R"({"cwd":"/tmp"})");
  CHECK(list_contexts_request("s").target == "/v1/sandboxes/s/code/contexts");
  request = restart_context_request("s", "c d");
  CHECK(request.target == "/v1/sandboxes/s/code/contexts/c%20d/restart");
  CHECK(request.body == "{}");
  request = remove_context_request("s", "c");
  CHECK(request.method == "DELETE");
  CHECK_FALSE(is_repeatable(request));
}

TEST_CASE("code: an answer with all, and one with nothing") {
  const auto full = execution(R"({"results":[{"type":"image_png","text":"t","html":"<b>","png":"AP8\nQ\r\n",
    "json":[1,{"b":null},2.0,12345678901234567890],"chart":{}},{"type":"of a later version"}],"stdout":"o","stderr":"e",
    "error":{"name":"N","value":"v","traceback":["a","b"]},"execution_count":7,"context_id":"c","duration_ms":12.6,
    "interrupted":true,"restarted":true,"truncated":["stdout"],"later":1})");
  REQUIRE_MESSAGE(full.ok(), full.error().message());
  REQUIRE(full->results.size() == 2);
  CHECK(full->results[0].png == std::string("\0\xff\x10", 3));
  CHECK(full->results[0].json == R"([1,{"b":null},2.0,12345678901234567890])");
  CHECK(full->results[0].chart == "{}");
  CHECK(full->results[1].type == "of a later version");
  CHECK(full->text() == "t");
  CHECK(full->error->traceback == std::vector<std::string>{"a", "b"});
  CHECK(full->execution_count == 7);
  CHECK(full->duration == milliseconds(12));
  CHECK(full->interrupted);
  CHECK(full->restarted);
  CHECK(full->truncated == std::vector<std::string>{"stdout"});

  const auto empty = execution("{}");
  REQUIRE(empty.ok());
  CHECK(empty->results.empty());
  CHECK_FALSE(empty->text());
  CHECK_FALSE(empty->error);
  CHECK_FALSE(empty->execution_count);
  CHECK(empty->context_id == "default");
  CHECK(execution(R"({"error":{}})")->error->name == "Error");
}

TEST_CASE("code: what is of a wrong kind names its place") {
  for (const auto& [text, place] :
       std::vector<std::pair<const char*, const char*>>{{"[]", "the whole"},
                                                        {R"({"results":7})", "'results'"},
                                                        {R"({"results":[7]})", "'results[0]'"},
                                                        {R"({"results":[{},{"png":"*"}]})", "'results[1].png'"},
                                                        {R"({"results":[{"text":1}]})", "'results[0].text'"},
                                                        {R"({"error":"e"})", "'error'"},
                                                        {R"({"error":{"traceback":[1]}})", "'error.traceback'"},
                                                        {R"({"execution_count":-1})", "'execution_count'"},
                                                        {R"({"interrupted":1})", "'interrupted'"},
                                                        {R"({"truncated":"stdout"})", "'truncated'"}}) {
    const auto bad = execution(text);
    REQUIRE_MESSAGE(!bad.ok(), text);
    CHECK(bad.error().code() == ErrorCode::api);
    CHECK_MESSAGE(bad.error().message().find(place) != std::string::npos, bad.error().message());
  }
  const auto contexts = [](const char* text) { return decode_contexts(JsonValue::parse(text).value(), kContext); };
  CHECK(contexts(R"({"contexts":[{"context_id":"c"}]})")->front().alive);
  CHECK(contexts(R"({"contexts":[{"context_id":"c"}]})")->front().language == "python");
  for (const char* text : {"{}", R"({"contexts":[{}]})", R"({"contexts":[{"context_id":"c","created_at":"soon"}]})",
                           R"({"contexts":[{"context_id":".."}]})", R"({"contexts":[{"context_id":"a/b"}]})",
                           R"({"contexts":[{"context_id":"a\nb"}]})"}) {
    CHECK(contexts(text).error().code() == ErrorCode::api);
  }
}

TEST_CASE("code: lines of a stream") {
  const auto line = [](const std::string& json) { return decode_code_line("data: " + json, kContext); };
  for (const char* skipped : {R"({"kind":"later"})", R"({"kind":"stream","text":""})", "{}",
                              R"({"kind":"stream","stream":"trace","text":"x"})"}) {
    CHECK_FALSE(line(skipped).value().event);
  }
  CHECK_FALSE(decode_code_line(": comment", kContext).value().event);
  CHECK(line(R"({"kind":"stream","stream":"stderr","text":"x"})")->event->stream == OutputStream::standard_error);
  CHECK(line(R"({"kind":"error","error":{"name":"N"}})")->refusal.empty());
  CHECK(line(R"({"kind":"error","error":{"value":"v"},"error_code":"c"})")->refusal == "c");
  for (const char* bad : {"{", R"({"kind":1})", R"({"kind":"stream","text":1})", R"({"kind":"result","result":[]})",
                          R"({"kind":"result","result":{"png":"*"}})", R"({"kind":"error","error":1})",
                          R"({"kind":"done","duration_ms":"long"})"}) {
    const auto decoded = line(bad);
    REQUIRE_MESSAGE(!decoded.ok(), bad);
    CHECK(decoded.error().code() == ErrorCode::api);
  }
}

TEST_CASE("code: a stream cut at every byte, and what its end says") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  const std::string whole = sse(kStream);
  const std::size_t done = whole.rfind('}') + 1;
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    service.clear();
    service.inject(answering(whole.substr(0, cut), 1));
    const Run seen = run(sandbox);
    CHECK(count(service, "POST", "/code") == 1);  // never asked twice
    if (cut > done) {
      CHECK_FALSE(seen.error);
      CHECK(seen.events.back().execution.stdout_data == "out");
      CHECK(seen.events.back().execution.text() == "1");
      CHECK(seen.events.back().execution.execution_count == 3);
    } else {
      REQUIRE_MESSAGE(seen.error.has_value(), cut);
      CHECK_MESSAGE(seen.error->code() == ErrorCode::connection, cut, ": ", seen.error->message());
      CHECK(seen.error->message().find("command") == std::string::npos);
    }
  }
}

TEST_CASE("code: a refusal within the stream is the error of its code") {
  TestService service;
  const Client client = client_of(service, seconds(30), "test-key");
  const Sandbox sandbox = sandbox_of(service, client);
  const auto refused = [&](const std::string& code) {
    service.clear();
    service.inject(
        answering(sse("data: {\"kind\":\"error\",\"error\":{\"value\":\"not there test-key\"},\"error_code\":\"" +
                      code + "\"}\n\n"),
                  1));
    const Run seen = run(sandbox);
    CHECK(seen.events.empty());
    REQUIRE(seen.error);
    CHECK(seen.error->message().find("not there") != std::string::npos);
    CHECK(seen.error->message().find("test-key") == std::string::npos);
    return seen.error->code();
  };
  CHECK(refused("interpreter_unavailable") == ErrorCode::interpreter_unavailable);
  CHECK(refused("of_a_later_version") == ErrorCode::api);
}

TEST_CASE("code: an id of the service is checked, and in texts it is without the key") {
  TestService service;
  const Client client = client_of(service, seconds(30), "test-key");
  const Sandbox sandbox = sandbox_of(service, client);
  const auto contexts = [&](const std::string& id) {
    service.clear();
    service.inject(answering(http(200, R"({"contexts":[{"context_id":")" + id + "\"}]}"), 1));
    return sandbox.code_contexts();
  };
  for (const char* id : {"..", "a/b", "", R"(a\n\u001b[31m)", "a b"}) {
    CHECK(error_of(contexts(id)).code() == ErrorCode::api);
  }
  const CodeContext context = contexts("a-test-key-b").value().front();
  service.clear();
  service.inject(answering(http(404, R"({"code":"not_found","detail":"none"})"), 1));
  const std::string message = error_of(context.restart()).message();
  CHECK_MESSAGE(message.find("restart code context a-…-b") == 0, message);
  CHECK_MESSAGE(message.find("test-key") == std::string::npos, message);
}

TEST_CASE("code: what comes without end is given up") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  const std::string piece =
      "data: {\"kind\":\"stream\",\"stream\":\"stdout\",\"text\":\"" + std::string(24U << 20U, 'x') + "\"}\n\n";
  service.inject(answering(sse_head() + piece + piece + piece, 1));
  Run seen = run(sandbox);
  CHECK(seen.events.size() == 2);
  REQUIRE(seen.error);
  CHECK(seen.error->code() == ErrorCode::api);
  CHECK(seen.error->message().find("67108864 bytes") != std::string::npos);

  service.clear();
  service.inject(answering(sse_head() + "data: {\"kind\":\"stream\",\"text\":\"" + std::string(66U << 20U, 'x'), 1));
  seen = run(sandbox);
  CHECK(seen.events.empty());
  REQUIRE(seen.error);
  CHECK(seen.error->message().find("more than 67108864 bytes") != std::string::npos);
}

TEST_CASE("code: a run may take its own timeout, whatever the client's is; not more") {
  TestService service;
  const Client client = client_of(service, seconds(1));
  const Sandbox sandbox = sandbox_of(service, client);
  Fault late;
  late.times = 1;
  late.delay_ms = 2500;
  late.raw = http(200, R"({"stdout":"late"})");
  service.inject(late);
  CodeOptions options;
  options.timeout = seconds(4);
  CHECK(sandbox.run_code("1", options).value().stdout_data == "late");
  service.clear();
  late.raw = sse(kStream);
  service.inject(late);
  CHECK_FALSE(run(sandbox, options).error);

  service.clear();
  late.delay_ms = 20'000;
  service.inject(late);
  options.timeout = milliseconds(200);
  const auto started = std::chrono::steady_clock::now();
  CHECK(error_of(sandbox.run_code("1", options)).code() == ErrorCode::connection);
  CHECK(std::chrono::steady_clock::now() - started < seconds(8));
}

}  // namespace orkestr::testing
