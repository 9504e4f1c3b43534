// The remote backend against a service that does what no service should.
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "base/unique_fd.hpp"
#include "remote_support.hpp"
#include "support/world.hpp"

namespace orkestr::testing {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

// A port whose queue of connections is full, so that another one is neither taken nor refused.
struct FullListener {
  int port = 0;
  std::vector<base::UniqueFd> held;
  FullListener() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    held.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(held[0].get(), any, size) == 0);
    REQUIRE(::listen(held[0].get(), 0) == 0);
    REQUIRE(::getsockname(held[0].get(), any, &size) == 0);
    port = ntohs(address.sin_port);
    for (int i = 0; i < 4; ++i) {
      held.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      ::connect(held.back().get(), any, size);
    }
  }
};

}  // namespace

TEST_CASE("an answer cut at every byte is one error, and the next call is good") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  const std::string whole = http(200, kExecBody, "x-request-id: r\r\n");
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    service.clear();
    service.inject(answering(whole.substr(0, cut), 1));
    const Error error = error_of(sandbox.exec("true"));
    CHECK_MESSAGE(error.code() == ErrorCode::connection, cut, ": ", error.message());
    CHECK(count(service, "POST", "/exec") == 1);  // never tried again
  }
  service.clear();
  service.inject(answering(whole, 1));
  CHECK(sandbox.exec("true").value().stdout_data == "out");
}

TEST_CASE("rubbish, wrong lengths, a wrong type: one error each") {
  TestService service;
  const Client client = client_of(service, seconds(2));
  const Sandbox sandbox = sandbox_of(service, client);
  for (const std::string& bytes :
       {std::string("rubbish\r\n\r\n"), std::string("HTTP/1.1 abc\r\n\r\n"), std::string(1000, '\0'), http(200, "{"),
        http(200, "<html>"), http(200, ""), http(200, "null"), http(200, R"({"stdout":7,"exit_code":0})"),
        std::string("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello"),
        std::string("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}"),
        std::string("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}"),
        std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
        std::string("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
        "HTTP/1.1 200 OK\r\n" + std::string(400'000, 'h') + "\r\n\r\n"}) {
    service.clear();
    service.inject(answering(bytes, 1));
    const Error error = error_of(sandbox.exec("true"));
    CHECK_MESSAGE((error.code() == ErrorCode::api || error.code() == ErrorCode::connection), bytes.substr(0, 60), ": ",
                  error.message());
  }
}

TEST_CASE("a gigabyte and a line without end are refused, with memory that stays") {
  TestService service;
  const Client client = client_of(service, seconds(20));
  const Sandbox sandbox = sandbox_of(service, client);
  rusage before{};
  ::getrusage(RUSAGE_SELF, &before);
  service.clear();
  Fault endless;
  endless.endless = true;
  service.inject(endless);
  CHECK(error_of(Sandbox::limits(client)).code() == ErrorCode::api);
  service.clear();
  Fault line;
  line.endless_line = true;
  service.inject(line);
  auto stream = sandbox.exec_stream("true").value();
  CHECK(all_of(stream).error->code() == ErrorCode::api);
  rusage after{};
  ::getrusage(RUSAGE_SELF, &after);
  CHECK(after.ru_maxrss - before.ru_maxrss < 150 * 1024);
}

TEST_CASE("nothing, and a byte now and then: one error within the timeout") {
  TestService service;
  const Client client = client_of(service, seconds(1));
  const Sandbox sandbox = sandbox_of(service, client);
  service.clear();
  Fault silent;
  silent.delay_ms = 4000;
  silent.times = -1;
  service.inject(silent);
  auto start = Clock::now();
  Error error = error_of(sandbox.set_timeout(seconds(60)));
  CHECK(error.code() == ErrorCode::connection);
  CHECK_MESSAGE(error.message().find("did not answer") != std::string::npos, error.message());
  CHECK(Clock::now() - start < milliseconds(1700));
  start = Clock::now();
  error = error_of(Sandbox::limits(client));
  CHECK(error.code() == ErrorCode::connection);
  CHECK_MESSAGE(error.message().find("did not answer within 1 s") != std::string::npos, error.message());
  CHECK(Clock::now() - start < milliseconds(1700));
  CHECK(count(service, "GET", "/limits") == 1);
  service.clear();
  Fault slow = answering(http(200, R"({"expires_at":"2026-01-01T00:00:00Z"})"), -1);
  slow.byte_pause_ms = 100;
  service.inject(slow);
  start = Clock::now();
  error = error_of(sandbox.set_timeout(seconds(60)));
  CHECK(error.code() == ErrorCode::connection);
  CHECK(Clock::now() - start < milliseconds(1700));
}

TEST_CASE("nobody takes the connection: one attempt, within the timeout, with what to check") {
  const FullListener listener;
  ClientOptions options;
  options.base_url = "http://127.0.0.1:" + std::to_string(listener.port);
  options.api_key = "test-key";
  options.timeout = seconds(1);
  const Client client = Client::open(options).value();
  CreateOptions create;
  create.template_name = "python-3.12";
  for (const bool reading : {true, false}) {
    const auto start = Clock::now();
    const Error error = reading ? error_of(Sandbox::limits(client)) : error_of(Sandbox::create(create, client));
    CHECK(Clock::now() - start < milliseconds(1700));  // another attempt would take another second
    CHECK(error.code() == ErrorCode::connection);
    CHECK_MESSAGE(error.message().find("Check base_url") != std::string::npos, error.message());
    CHECK_MESSAGE(error.message().find("all the same") == std::string::npos, error.message());
  }
}

TEST_CASE("a command may take its time: the answer is waited for as long as its timeout, and more") {
  TestService service;
  const Client client = client_of(service, seconds(1));
  const Sandbox sandbox = sandbox_of(service, client);
  Fault late = answering(http(200, kExecBody), 1);
  late.delay_ms = 2500;
  service.inject(late);
  ExecOptions options;
  options.timeout = seconds(5);
  CHECK(sandbox.exec("sleep 2", options).value().stdout_data == "out");
}

TEST_CASE("retries: reads after a lost connection, a create never, a full fleet as it asks") {
  TestService service;
  const Client client = client_of(service);
  Fault lost;
  lost.unanswered = true;
  lost.times = 2;
  service.inject(lost);
  CHECK(Sandbox::limits(client).ok());
  CHECK(count(service, "GET", "/limits") == 3);

  service.clear();
  lost.times = 1;
  lost.method = "POST";
  service.inject(lost);
  CreateOptions options;
  options.template_name = "python-3.12";
  const Error error = error_of(Sandbox::create(options, client));
  CHECK(error.code() == ErrorCode::connection);
  CHECK_MESSAGE(error.message().find("not tried again") != std::string::npos, error.message());
  CHECK(count(service, "POST", "/v1/sandboxes") == 1);

  service.clear();
  service.inject(answering(http(503, R"({"code":"fleet_full_retry","detail":"full"})", "Retry-After: 1\r\n"), 2));
  service.inject(answering(http(201, sandbox_json()), 1));
  const auto start = Clock::now();
  CHECK(Sandbox::create(options, client).ok());
  CHECK(Clock::now() - start > milliseconds(1900));
  CHECK(count(service, "POST", "/v1/sandboxes") == 3);

  service.clear();
  service.inject(answering(http(503, R"({"code":"fleet_full_retry"})", "Retry-After: 100\r\n")));
  const Error full = error_of(Sandbox::create(options, client));  // beyond the budget: at once
  CHECK(full.code() == ErrorCode::fleet_full_retry);
  CHECK(full.details().retry_after == 100);
  CHECK(count(service, "POST", "/v1/sandboxes") == 1);

  service.clear();
  service.inject(answering(http(503, R"({"code":"fleet_full_retry","retry_after":1e300})")));
  CHECK(error_of(Sandbox::create(options, client)).code() == ErrorCode::fleet_full_retry);
  CHECK(count(service, "POST", "/v1/sandboxes") == 1);

  service.clear();
  service.inject(answering(http(503, R"({"code":"fleet_full_retry"})", "Retry-After: 0.25\r\n")));
  CreateOptions once = options;
  once.max_retries = 0;
  CHECK(error_of(Sandbox::create(once, client)).details().retry_after == 0.25);
  CHECK(count(service, "POST", "/v1/sandboxes") == 1);

  service.clear();
  service.inject(answering(http(503, R"({"code":"fleet_full_retry"})", "Retry-After: 0\r\n"), 2));
  service.inject(answering(http(200, sandbox_json()), 1));
  const auto at_once = Clock::now();
  CHECK(Sandbox::resume(kSandboxId, {}, client).ok());
  CHECK(Clock::now() - at_once < milliseconds(1500));
  CHECK(count(service, "POST", "/resume") == 3);

  service.clear();
  service.inject(answering(http(503, R"({"code":"fleet_full_retry"})"), 1));
  service.inject(answering(http(200, sandbox_json()), 1));
  const auto untold = Clock::now();
  CHECK(Sandbox::resume(kSandboxId, {}, client).ok());
  CHECK(Clock::now() - untold > milliseconds(1900));

  service.clear();
  service.inject(answering(http(503, R"({"code":"fleet_full_retry"})", "Retry-After: 30\r\n")));
  auto waiting = Sandbox::create_async(options, client);
  CHECK_FALSE(waiting.wait(milliseconds(300)));
  waiting.cancel();
  CHECK(error_of(waiting.get()).code() == ErrorCode::cancelled);
}

TEST_CASE("a kept connection that turns out to be closed: a read is repeated, what was sent as a command is not") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  for (int round = 0; round < 3; ++round) {
    service.clear();
    service.inject(answering(http(200, kExecBody), 1));
    sandbox.exec("true").value();
    CHECK(Sandbox::limits(client).ok());  // leaves a connection that is kept
    service.clear();
    Fault lost;
    lost.unanswered = true;
    service.inject(lost);
    CHECK(error_of(sandbox.exec("true")).code() == ErrorCode::connection);
    CHECK(count(service, "POST", "/exec") == 1);
    CHECK(Sandbox::limits(client).ok());
    service.clear();
    service.inject(lost);
    CHECK(error_of(sandbox.pause()).code() == ErrorCode::connection);
    CHECK(count(service, "POST", "/pause") == 1);
    // What was removed cannot be removed again: the second answer would be that there is no such file.
    CHECK(Sandbox::limits(client).ok());
    service.clear();
    service.inject(lost);
    const Error error = error_of(sandbox.files().remove("/workspace/x"));
    CHECK(error.code() == ErrorCode::connection);
    CHECK_MESSAGE(error.message().find("not tried again") != std::string::npos, error.message());
    CHECK(count(service, "DELETE", "/files") == 1);
    // The end of a sandbox is the same end.
    CHECK(Sandbox::limits(client).ok());
    service.clear();
    service.inject(lost);
    service.inject(answering(http(204, ""), 1));
    CHECK(sandbox.terminate().ok());
  }
  // One that the service closed while it was idle costs nothing.
  service.clear();
  CHECK(Sandbox::limits(client).ok());
  service.close_connections();
  std::this_thread::sleep_for(milliseconds(50));
  CHECK(Sandbox::limits(client).ok());
  CHECK(count(service, "GET", "/limits") == 2);
}

TEST_CASE("connections are used again, also after a while; the key goes in its header and nowhere else") {
  TestService service;
  const Client client = client_of(service);
  for (int i = 0; i < 20; ++i) CHECK(Sandbox::limits(client).ok());
  std::this_thread::sleep_for(seconds(1));
  CHECK(Sandbox::limits(client).ok());
  CHECK(service.connections() == 1);
  for (const RecordedRequest& request : service.requests()) {
    CHECK(request.headers.at("authorization") == "Bearer test-key");
    CHECK(request.headers.at("accept") == "application/json");
    CHECK(request.headers.at("user-agent").find("orkestr/") == 0);
    CHECK(request.target.find("test-key") == std::string::npos);
  }
  const Client stranger = client_of(service, seconds(30), "sk-very-secret");
  const Error error = error_of(Sandbox::limits(stranger));  // the service repeats the key in its answer
  CHECK(error.code() == ErrorCode::unauthorized);
  CHECK(error.message().find("sk-very-secret") == std::string::npos);
  CHECK(error.details().detail.find("sk-very-secret") == std::string::npos);
}

TEST_CASE("a service that repeats the key in all it says, and a proxy's password, are not repeated by us") {
  const std::string key = "sk-very-secret";
  TestService service;
  const Client client = client_of(service, seconds(30), key);
  const auto clean = [&](const Error& error) {
    const ErrorDetails& details = error.details();
    for (const std::string& text : {error.message(), details.detail, details.request_id, details.host, details.rule,
                                    details.stage, details.console_tail}) {
      CHECK_MESSAGE(text.find(key) == std::string::npos, text);
    }
  };
  std::string refusal = R"({"code":"KEY","detail":"KEY","message":"KEY","host":"KEY","rule":"KEY","signal":"KEY"})";
  for (auto at = refusal.find("KEY"); at != std::string::npos; at = refusal.find("KEY")) refusal.replace(at, 3, key);
  const std::string headers = "x-request-id: " + key + "\r\nRetry-After: " + key + "\r\nX-Other: " + key + "\r\n";
  for (const std::string& bytes :
       {http(400, refusal, headers), http(400, R"({"detail":)" + refusal + "}", headers),
        http(200, R"({"plan":7,"detail":")" + key + R"("})", headers), http(200, key, headers),
        "HTTP/1.1 200 OK\r\n" + headers + "Content-Length: 500\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\n" + headers + "Content-Length: 500000000\r\n\r\n{}", key + "\r\n\r\n"}) {
    service.clear();
    service.inject(answering(bytes));
    clean(error_of(Sandbox::limits(client)));
  }
  // Nor a part of it, where a text is cut.
  const std::string part = key.substr(0, 6);
  const auto before_key = [&](std::size_t size) { return std::string(size, 'x') + key; };
  const auto no_part = [&](const Error& error) {
    const ErrorDetails& details = error.details();
    for (const std::string& text : {error.message(), details.detail, details.request_id}) {
      CHECK_MESSAGE(text.find(part) == std::string::npos, text.substr(text.size() > 99 ? text.size() - 99 : 0));
    }
  };
  service.clear();
  const Sandbox sandbox = sandbox_of(service, client);
  for (const std::size_t detail : {492, 16'376}) {
    const std::string refused = R"("code":")" + before_key(56) + R"(",)" + R"("detail":")" + before_key(detail) +
                                R"(",)" + R"("message":")" + before_key(detail) + R"("})";
    const std::string request = "x-request-id: " + before_key(120) + "\r\n";
    service.clear();
    service.inject(answering(http(400, "{" + refused, request), 1));
    no_part(error_of(Sandbox::limits(client)));
    service.inject(answering(http(200, "[]", request), 1));
    no_part(error_of(Sandbox::limits(client)));
    std::string head = sse_head();
    head.insert(head.size() - 2, request);
    service.inject(answering(head + R"(data: {"kind":"error",)" + refused + "\n\n", 1));
    auto stream = sandbox.exec_stream("true").value();
    no_part(all_of(stream).error.value());
  }
  const ScopedVariable proxy("http_proxy", "http://user:" + key + "@proxy.invalid:999999999");
  const ScopedVariable no_exception("no_proxy", ""), nor_this("NO_PROXY", "");
  const Error error = error_of(Sandbox::limits(client_of(service)));
  CHECK_MESSAGE(error.message().find("Unsupported proxy") != std::string::npos, error.message());
  clean(error);
}

TEST_CASE("a long output before the timeout of a command: still its timeout") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  const std::string output(20'000'000, 'x');
  service.inject(answering(http(408, R"({"code":"exec_timeout","detail":"d","stdout":")" + output + R"("})"), 1));
  const Error error = error_of(sandbox.exec("yes"));
  CHECK_MESSAGE(error.code() == ErrorCode::exec_timeout, error.message());
  CHECK(error.details().stdout_data.size() > (1U << 20U));
}

TEST_CASE("cancelling closes the request") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  Fault slow;
  slow.delay_ms = 20'000;
  slow.method = "GET";
  service.inject(slow);
  auto pending = Sandbox::limits_async(client);
  CHECK_FALSE(pending.wait(milliseconds(200)));
  const auto start = Clock::now();
  pending.cancel();
  CHECK(error_of(pending.get()).code() == ErrorCode::cancelled);
  CHECK(Clock::now() - start < seconds(1));
  auto again = Sandbox::limits_async(client);
  Client closing = client;
  closing.close();
  const Result<Limits> ended = again.get();
  CHECK((ended.ok() || ended.error().code() == ErrorCode::cancelled));
  CHECK(error_of(Sandbox::limits(client)).code() == ErrorCode::not_ready);
}

TEST_CASE("a stream that the client's end cancels says what is known of the command: nothing where none was sent") {
  TestService service;
  const auto closed = [&](const std::function<void()>& before, bool started) {
    Client client = client_of(service);
    const Sandbox sandbox = sandbox_of(service, client);
    service.clear();
    before();
    auto stream = sandbox.exec_stream("true").value();
    for (int i = 0; i < 100 && started && stream.pid() == 0; ++i) std::this_thread::sleep_for(milliseconds(20));
    std::this_thread::sleep_for(milliseconds(200));
    client.close();
    const Error error = all_of(stream).error.value();
    CHECK(error.code() == ErrorCode::cancelled);
    return error.message();
  };
  const auto has = [](const std::string& text, const char* part) {
    CHECK_MESSAGE(text.find(part) != std::string::npos, text);
  };
  Fault running = answering(sse_head() + kEvents.substr(0, kEvents.find("\n\n") + 2), 1);
  running.comments = true;
  has(closed([&] { service.inject(running); }, true), "the command runs on until its timeout");
  Fault slow;
  slow.delay_ms = 20'000;
  has(closed([&] { service.inject(slow); }, false), "whether the command runs is not known");
  const FullListener nobody;
  std::optional<ScopedVariable> proxy;
  const ScopedVariable no_exception("no_proxy", ""), nor_this("NO_PROXY", "");
  const std::string unsent =
      closed([&] { proxy.emplace("http_proxy", "http://127.0.0.1:" + std::to_string(nobody.port)); }, false);
  CHECK_MESSAGE(unsent.find("runs") == std::string::npos, unsent);
}

TEST_CASE("200 operations at once") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  service.clear();
  Fault some = answering(http(200, kExecBody), 200);
  some.delay_ms = 300;
  service.inject(some);
  std::vector<Operation<ExecResult>> pending;
  const auto start = Clock::now();
  for (int i = 0; i < 200; ++i) pending.push_back(sandbox.exec_async("true"));
  for (auto& one : pending) CHECK(one.get().value().stdout_data == "out");
  CHECK(Clock::now() - start < seconds(20));
}

TEST_CASE("pages: all of them, as many as wanted, and none that leads to itself") {
  TestService service;
  const Client client = client_of(service);
  auto page = [](const std::string& id, const std::string& next) {
    std::string one = sandbox_json();
    one.replace(one.find("FAV"), 3, id);
    return http(200, R"({"sandboxes":[)" + one + R"(],"next_cursor":)" + next + "}");
  };
  service.inject(answering(page("FA1", "\"b&c\""), 1));
  service.inject(answering(page("FA2", "null"), 1));
  auto all = Sandbox::list({}, client).value();
  REQUIRE(all.size() == 2);
  CHECK(count(service, "GET", "cursor=b%26c") == 1);
  service.clear();
  service.inject(answering(page("FA1", "\"b\"")));
  ListOptions one;
  one.max_results = 1;
  CHECK(Sandbox::list(one, client).value().size() == 1);
  CHECK(count(service, "GET", "/v1/sandboxes") == 1);
  CHECK(error_of(Sandbox::list({}, client)).code() == ErrorCode::api);
  // A page may be empty and have a next one; not without end.
  const auto empty = [](const std::string& next) {
    return http(200, R"({"sandboxes":[],"next_cursor":)" + next + "}");
  };
  service.clear();
  service.inject(answering(empty("\"b\""), 1));
  service.inject(answering(empty("\"c\""), 1));
  service.inject(answering(page("FA3", "null"), 1));
  CHECK(Sandbox::list({}, client).value().size() == 1);
  service.clear();
  for (int i = 0; i < 200; ++i) service.inject(answering(empty("\"" + std::to_string(i) + "\""), 1));
  CHECK(error_of(Sandbox::list({}, client)).code() == ErrorCode::api);
  CHECK(count(service, "GET", "/v1/sandboxes") == 100);
  // Nor in a circle.
  service.clear();
  for (const char* next : {"\"b\"", "\"c\"", "\"b\""}) service.inject(answering(page("FA1", next), 1));
  CHECK(error_of(Sandbox::list({}, client)).code() == ErrorCode::api);
  CHECK(count(service, "GET", "/v1/sandboxes") == 3);
}

TEST_CASE("a template by its id goes to the service as it is") {
  TestService service;
  const Client client = client_of(service);
  service.inject(answering(http(201, sandbox_json()), 1));
  CreateOptions options;
  options.template_name = "tmpl_01ARZ3NDEKTSV4RRFFQ69G5FAV";
  CHECK(Sandbox::create(options, client).ok());
  CHECK(service.requests().at(0).body.find(R"("template":"tmpl_01ARZ3NDEKTSV4RRFFQ69G5FAV")") != std::string::npos);
  options.template_name = "../x";
  CHECK(error_of(Sandbox::create(options, client)).message().find("A-Z") != std::string::npos);
}

TEST_CASE("an id of dots leads nowhere else: it is no id, and an address is asked for as it is") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  service.clear();
  for (const char* id : {".", ".."}) {
    CHECK(error_of(Volume::remove(id, client)).code() == ErrorCode::not_found);
    CHECK(error_of(Webhook::enable(id, client)).code() == ErrorCode::not_found);
    CHECK(error_of(Snapshot::remove(id, client)).code() == ErrorCode::not_found);
    CHECK(error_of(sandbox.command(id)).code() == ErrorCode::not_found);
    CodeOptions in_context;
    in_context.context_id = id;
    CHECK(error_of(sandbox.run_code("1", in_context)).code() == ErrorCode::not_found);
  }
  CHECK(service.requests().empty());
  ClientOptions options;
  options.backend = BackendKind::remote;
  options.base_url = service.base_url() + "/a/../b";
  options.api_key = "test-key";
  CHECK_FALSE(Sandbox::limits(Client::open(options).value()).ok());
  CHECK(count(service, "GET", "/a/../b/v1/") == 1);
}

TEST_CASE("TLS: a private authority, and one that is not known") {
  TestService::Options options;
  options.tls = true;
  TestService service(options);
  ::unsetenv("CURL_CA_BUNDLE");
  {
    const Error error = error_of(Sandbox::limits(client_of(service)));
    CHECK(error.code() == ErrorCode::connection);
    CHECK_MESSAGE(error.message().find("certificate") != std::string::npos, error.message());
    // Nothing was sent, so nothing can have been done.
    CreateOptions create;
    create.template_name = "python-3.12";
    const Error untrusted = error_of(Sandbox::create(create, client_of(service)));
    CHECK_MESSAGE(untrusted.message().find("all the same") == std::string::npos, untrusted.message());
    TestService plain;
    ClientOptions mistaken;
    mistaken.api_key = "test-key";
    mistaken.base_url = "https://127.0.0.1:" + std::to_string(plain.port());
    const Error no_tls = error_of(Sandbox::create(create, Client::open(mistaken).value()));
    CHECK(no_tls.code() == ErrorCode::connection);
    CHECK_MESSAGE(no_tls.message().find("all the same") == std::string::npos, no_tls.message());
    const ScopedVariable proxy("https_proxy", plain.base_url());  // it refuses CONNECT
    const ScopedVariable no_exception("no_proxy", ""), nor_this("NO_PROXY", "");
    const Error refused = error_of(Sandbox::create(create, client_of(service)));
    CHECK(refused.code() == ErrorCode::connection);
    CHECK_MESSAGE(refused.message().find("all the same") == std::string::npos, refused.message());
  }
  ::setenv("SSL_CERT_FILE", service.ca_file().c_str(), 1);
  const Client client = client_of(service);
  ::unsetenv("SSL_CERT_FILE");
  for (int i = 0; i < 5; ++i) {
    const auto limits = Sandbox::limits(client);
    CHECK_MESSAGE(limits.ok(), (limits.ok() ? "" : limits.error().message()));
  }
  CHECK(service.connections() == 3);  // two that were refused, and not tried again, and one that was kept
}

TEST_CASE("unreachable: refused at once, with what to check") {
  ClientOptions options;
  options.base_url = "http://127.0.0.1:1";
  options.api_key = "k";
  const Client client = Client::open(options).value();
  const Error error = error_of(Sandbox::limits(client));
  CHECK(error.code() == ErrorCode::connection);
  CHECK(error.message().find("base_url") != std::string::npos);
}

}  // namespace orkestr::testing
