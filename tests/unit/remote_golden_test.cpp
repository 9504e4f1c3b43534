// What a service's answers become for a person, and what is refused before it is asked: tests/golden/remote_errors.txt
// has the texts.
#include <doctest/doctest.h>
#include <stdlib.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "remote/answers.hpp"
#include "remote/errors.hpp"
#include "remote/events.hpp"
#include "remote/settings.hpp"
#include "support/world.hpp"

namespace orkestr::remote {
namespace {

constexpr const char* kKey = "sk-secret";

struct Case {
  std::string name;
  Error error;
};

Error answered(int status, std::string body, bool about_file = false, std::optional<double> retry_after = {}) {
  HttpAnswer answer;
  answer.status = status;
  answer.body = std::move(body);
  answer.request_id = "req_7";
  answer.retry_after = retry_after;
  return error_of_answer(answer, {"create sandbox", about_file, kKey});
}

std::vector<Case> refusals() {
  const auto coded = [](const std::string& code, const std::string& more = "") {
    return R"({"code":")" + code + R"(","detail":"what the service says")" + more + "}";
  };
  std::vector<Case> all = {
      {"400", answered(400, coded("invalid_argument"))},
      {"401", answered(401, R"({"detail":"invalid key sk-secret"})")},
      {"402", answered(402, coded("trial_exhausted"))},
      {"403", answered(403, "")},
      {"404", answered(404, R"({"detail":"no such sandbox"})")},
      {"404 of a file", answered(404, R"({"detail":"no such file"})", true)},
      {"409", answered(409, R"({"detail":"it is paused"})")},
      {"409 volume", answered(409, coded("volume_in_use"))},
      {"422 of a validator",
       answered(422, R"({"detail":[{"loc":["body","cpu"],"msg":"too large"},{"msg":"and more"}]})")},
      {"429", answered(429, R"({"detail":"slow down"})", false, 2.5)},
      {"500 of a proxy", answered(500, "<html><h1>Bad\r\ngateway</h1></html>")},
      {"503 full", answered(503, coded("fleet_full_retry", R"(,"retry_after":3)"))},
      {"302", answered(302, "")},
      {"in an object", answered(400, R"({"detail":{"code":"not_permitted","message":"not there"}})")},
      {"a code of ours", answered(400, coded("internal"))},
      {"a code of the future", answered(418, coded("teapot"))},
      {"control characters", answered(400, R"({"detail":"a\u001b[31m\nb"})")},
      {"a long detail", answered(400, R"({"detail":")" + std::string(5000, 'x') + R"("})")},
  };
  for (int i = 0; i <= static_cast<int>(ErrorCode::cancelled); ++i) {
    const std::string code(to_string(static_cast<ErrorCode>(i)));
    all.push_back({"code " + code, answered(400, coded(code))});
  }
  return all;
}

std::vector<Case> bad_answers() {
  const AnswerContext context{"get sandbox sbx_1", "req_7"};
  const auto sandbox = [&](const char* text) {
    return decode_sandbox(JsonValue::parse(text).value(), context).error();
  };
  return {
      {"sandbox: no object", sandbox("[]")},
      {"sandbox: no id", sandbox("{}")},
      {"sandbox: cpu is a text", sandbox(R"({"id":"sbx_1","status":"running","template":"t","cpu":"many"})")},
      {"sandbox: a time that is none", sandbox(R"({"id":"sbx_1","status":"running","created_at":"yesterday"})")},
      {"event: no JSON", decode_event("data: {", {"exec", {}}).error()},
      {"event: no base64", decode_event(R"(data: {"kind":"exec_chunk","data":"*"})", {"exec", {}}).error()},
      {"event: no exit code", decode_event(R"(data: {"kind":"exec_exited"})", {"exec", {}}).error()},
  };
}

std::vector<Case> settings() {
  const testing::ScopedVariable no_key("ORKESTR_API_KEY", ""), no_url("ORKESTR_BASE_URL", "");
  const auto refused = [](const std::string& url, const std::string& key = kKey, int seconds = 30) {
    ClientOptions options;
    options.api_key = key;
    options.base_url = url;
    options.timeout = std::chrono::seconds(seconds);
    const auto made = make_settings(options);
    REQUIRE_FALSE(made.ok());
    return made.error();
  };
  return {
      {"no key", refused("", "")},
      {"no key for an address", refused("https://a.test", "")},
      {"a key with a line end", refused("", "sk-secret\nX-Other: 1")},
      {"a timeout of 0 s", refused("", kKey, 0)},
      {"a timeout of more than an hour", refused("", kKey, 3601)},
      {"another scheme", refused("ftp://a.test")},
      {"no scheme", refused("a.test")},
      {"a query", refused("https://a.test/?key=sk-secret")},
      {"a user", refused("https://user:sk-secret@a.test")},
      {"blanks", refused("https://a test")},
  };
}

}  // namespace

TEST_CASE("remote errors have the texts that tests/golden/remote_errors.txt holds") {
  std::string text;
  for (const auto& group : {refusals(), bad_answers(), settings()}) {
    for (const auto& [name, error] : group) {
      CAPTURE(name);
      text += name + ": " + std::string(to_string(error.code())) + ": " + error.message() + "\n";
      // One line, printable, short enough to read, and the key is not in it.
      CHECK(error.message().find_first_of("\n\r\x1b") == std::string::npos);
      CHECK(error.message().size() < 800);
      CHECK(error.message().find(kKey) == std::string::npos);
      CHECK(error.details().detail.find(kKey) == std::string::npos);
    }
  }
  const std::string path = std::string(ORKESTR_TESTS_DIR) + "/golden/remote_errors.txt";
  if (::getenv("ORKESTR_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  std::stringstream golden;
  golden << file.rdbuf();
  CHECK(text == golden.str());
}

}  // namespace orkestr::remote
