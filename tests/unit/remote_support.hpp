// A client of a test service, for the unit tests of the remote backend.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <string>

#include "orkestr/orkestr.hpp"
#include "support/service/service.hpp"

namespace orkestr::testing {

inline Client client_of(const TestService& service, std::chrono::seconds timeout = std::chrono::seconds(30),
                        std::string key = "test-key") {
  ClientOptions options;
  options.backend = BackendKind::remote;
  options.base_url = service.base_url();
  options.api_key = std::move(key);
  options.timeout = timeout;
  return Client::open(options).value();
}

template <class T>
Error error_of(const Result<T>& result) {
  REQUIRE_FALSE(result.ok());
  return result.error();
}

// One answer, as the bytes of a connection.
// (The service closes the connection behind an answer like this; who is not told may use it once more.)
inline std::string http(int status, const std::string& body, const std::string& headers = {}) {
  return "HTTP/1.1 " + std::to_string(status) +
         " -\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + headers + "\r\n" + body;
}

inline Fault answering(std::string bytes, int times = -1) {
  Fault fault;
  fault.times = times;
  fault.raw = std::move(bytes);
  return fault;
}

inline constexpr const char* kSandboxId = "sbx_01ARZ3NDEKTSV4RRFFQ69G5FAV";
inline std::string sandbox_json() {
  return std::string(R"({"id":")") + kSandboxId +
         R"(","status":"running","template":"t","network":"off","cpu":1,"memory_mb":1024,"region":null,)"
         R"("created_at":"2026-01-01T00:00:00Z","expires_at":"2026-01-01T00:10:00Z"})";
}
// A handle to a sandbox that the service need not have.
inline Sandbox sandbox_of(TestService& service, const Client& client) {
  Fault get = answering(http(200, sandbox_json()), 1);
  get.method = "GET";
  service.inject(get);
  return Sandbox::get(kSandboxId, client).value();
}

inline std::size_t count(const TestService& service, const std::string& method, const std::string& target) {
  const auto all = service.requests();
  return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](const RecordedRequest& one) {
    return one.method == method && one.target.find(target) != std::string::npos;
  }));
}

inline constexpr const char* kExecBody = R"({"stdout":"out","stderr":"","exit_code":0,"duration_ms":3})";
inline std::string sse(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}
inline const std::string kEvents =
    "data: {\"kind\":\"exec_started\",\"pid\":17}\n\ndata: "
    "{\"kind\":\"exec_chunk\",\"stream\":\"stdout\",\"data\":\"b3V0\"}\n\n"
    "data: {\"kind\":\"exec_exited\",\"code\":0,\"duration_ms\":18}\n\n";

inline std::string sse_head() {
  return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\r\n";
}
inline constexpr const char* kCommand = R"({"id":"cmd_1","command":"x","status":"running"})";

struct Outcome {
  std::string output;
  std::optional<int> exit_code;
  std::optional<Error> error;
};
template <class AnyStream>
Outcome all_of(AnyStream& stream) {
  Outcome outcome;
  while (true) {
    auto chunk = stream.next();
    if (!chunk) {
      outcome.error = chunk.error();
      return outcome;
    }
    if (!*chunk) return outcome;
    outcome.output += (*chunk)->data;
    if ((*chunk)->is_final()) outcome.exit_code = (*chunk)->exit_code;
  }
}

}  // namespace orkestr::testing
