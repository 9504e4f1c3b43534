// A client of a test service, for the unit tests of the remote backend.
#pragma once

#include <doctest/doctest.h>

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

}  // namespace orkestr::testing
