// Files over the wire: what becomes of one whose presigned address, or transfer, is not as it should be.
#include <dirent.h>
#include <unistd.h>

#include <thread>

#include "remote_support.hpp"

namespace orkestr::testing {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

Fault at(const std::string& method, const std::string& target, Fault fault) {
  fault.method = method;
  fault.target = target;
  return fault;
}

std::string presigned(const std::string& url) {
  return http(200, R"({"url":")" + url + R"(","method":"GET","path":"/x","expires_at":"2030-01-01T00:00:00Z"})");
}

// The service says that the file is too large for JSON, and where it is.
void offer(TestService& service, const std::string& url) {
  service.clear();
  service.inject(at("GET", "/files?", answering(http(413, R"({"detail":"too large"})"), 1)));
  service.inject(at("POST", "/presign-", answering(presigned(url), 1)));
}

std::string large() { return std::string(17U << 20U, 'x'); }

}  // namespace

TEST_CASE("a download: 413 leads to a presigned address; cut at every byte it is one error") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  const std::string url = service.base_url() + "/presigned/x";
  const std::string chunks =
      "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n "
      "world\r\n0\r\n\r\n";
  for (const std::string& whole : {http(200, "hello world"), chunks}) {
    for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
      offer(service, url);
      Fault transfer = at("GET", "/presigned/", answering(whole, 1));
      transfer.cut_at = cut < whole.size() ? static_cast<std::int64_t>(cut) : -1;
      service.inject(transfer);
      const auto content = sandbox.files().read("/x");
      // (Of the line that ends the chunks libcurl does not need all.)
      if (cut == whole.size() || content.ok()) {
        CHECK(cut + 4 >= whole.size());
        CHECK(content.value() == "hello world");
      } else {
        CHECK_MESSAGE(content.error().code() == ErrorCode::connection, cut, ": ", content.error().message());
      }
      for (const RecordedRequest& one : service.requests()) {
        if (one.target.find("/presigned/") == 0) CHECK(one.headers.count("authorization") == 0);
      }
    }
  }
}

TEST_CASE("a download that does not say how long it is, that says it wrongly, or that is refused: one error") {
  TestService service;
  const Client client = client_of(service, seconds(2));
  const Sandbox sandbox = sandbox_of(service, client);
  const std::string url = service.base_url() + "/presigned/x";
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  for (const auto& [answer, code, text] :
       {std::tuple(ok + "\r\nhalf of i", ErrorCode::connection, "neither Content-Length nor chunks"),
        std::tuple(ok + "Connection: close\r\n\r\n", ErrorCode::connection, "neither Content-Length nor chunks"),
        std::tuple(ok + "Content-Length: 500\r\n\r\nhello", ErrorCode::connection, "broke"),
        std::tuple(ok + "Content-Length: -5\r\n\r\nhello", ErrorCode::connection, "broke"),
        std::tuple(http(403, "expired"), ErrorCode::forbidden, "good for 600 s only"),
        std::tuple(http(404, ""), ErrorCode::file_not_found, "404"),
        std::tuple(http(500, ""), ErrorCode::api, "500")}) {
    offer(service, url);
    service.inject(at("GET", "/presigned/", answering(answer, 1)));
    const Error error = error_of(sandbox.files().read("/x"));
    CHECK_MESSAGE(error.code() == code, error.message());
    CHECK_MESSAGE(error.message().find(text) != std::string::npos, error.message());
  }
  for (const char* bad : {"file:///etc/passwd", "ftp://127.0.0.1/x", "/presigned/x", "", "http://127.0.0.1/ x"}) {
    offer(service, bad);
    CHECK(error_of(sandbox.files().read("/x")).code() == ErrorCode::api);
    CHECK(service.requests().size() == 2);
    service.clear();
    service.inject(at("POST", "/presign-", answering(presigned(bad), 1)));
    CHECK(error_of(sandbox.files().write("/workspace/x", large())).code() == ErrorCode::api);
    CHECK(service.requests().size() == 1);
  }
}

TEST_CASE("an upload whose transfer is refused, not answered or answered in part: one error, and no second attempt") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  const std::string url = service.base_url() + "/presigned/x";
  Fault unanswered;
  unanswered.unanswered = true;
  Fault half = answering(http(200, "done"), 1);
  half.cut_at = 30;
  for (const Fault& fault :
       {answering(http(403, "expired"), 1), answering(http(413, "too large"), 1), unanswered, half}) {
    service.clear();
    service.inject(at("POST", "/presign-", answering(presigned(url), 1)));
    service.inject(at("PUT", "/presigned/", fault));
    const Error error = error_of(sandbox.files().write("/workspace/x", large(), 0600));
    // One that refuses before it has read all may take its words with it.
    CHECK_MESSAGE((error.code() == ErrorCode::connection || (fault.raw && error.details().status_code > 400)),
                  error.message());
    CHECK(count(service, "PUT", "/presigned/") == 1);
    CHECK(count(service, "POST", "/exec") == 0);
  }
}

TEST_CASE("an upload whose mode cannot be set: what the guest says about it is one line, without the key") {
  TestService service;
  const Client client = client_of(service, seconds(30), "sk-very-secret");
  const Sandbox sandbox = sandbox_of(service, client);
  service.clear();
  service.inject(at("POST", "/presign-", answering(presigned(service.base_url() + "/presigned/x"), 1)));
  service.inject(at("PUT", "/presigned/", answering(http(200, ""), 1)));
  const std::string said = R"(a\u001b[31m\nb sk-very-secret)" + std::string(271, 'x') + "sk-very-secret";
  service.inject(
      at("POST", "/exec", answering(http(200, R"({"exit_code":1,"stdout":"","stderr":")" + said + "\"}"), 1)));
  const Error error = error_of(sandbox.files().write("/workspace/x", large(), 0600));
  CHECK_MESSAGE(error.message().find("could not be set: a [31m b …xxx") != std::string::npos, error.message());
  CHECK_MESSAGE(error.message().find("sk-") == std::string::npos, error.message());
  CHECK(error.message().size() < 400);
}

TEST_CASE("an upload whose temporary file cannot be read any more is an error, not a wait without end") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  service.clear();
  Fault late = answering(presigned(service.base_url() + "/presigned/x"), 1);
  late.delay_ms = 500;
  service.inject(at("POST", "/presign-", late));
  auto writer = sandbox.files().write_stream("/workspace/x").value();
  REQUIRE(writer.write(large()).ok());
  std::thread truncates([&] {
    for (int i = 0; i < 100 && count(service, "POST", "/presign-") == 0; ++i) {
      std::this_thread::sleep_for(milliseconds(10));
    }
    for (int fd = 3; fd < 256; ++fd) {
      char name[256] = {};
      const std::string link = "/proc/self/fd/" + std::to_string(fd);
      if (::readlink(link.c_str(), name, sizeof name - 1) < 0) continue;
      if (std::string(name).find("(deleted)") != std::string::npos) CHECK(::ftruncate(fd, 0) == 0);
    }
  });
  const auto start = Clock::now();
  const Error error = error_of(writer.finish());
  truncates.join();
  CHECK_MESSAGE(error.message().find("temporary file") != std::string::npos, error.message());
  CHECK(Clock::now() - start < seconds(5));
}

}  // namespace orkestr::testing
