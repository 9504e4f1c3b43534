// Commands over the wire whose stream, or end, is not as it should be, and what cancelling one means.
#include <sstream>
#include <thread>

#include "core/validate.hpp"
#include "remote/pipe.hpp"
#include "remote_support.hpp"

namespace orkestr::testing {

using Clock = std::chrono::steady_clock;
using remote::Pipe;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("a stream cut at every byte says which end went away") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  const std::string whole = sse(kEvents);
  const std::size_t exited = whole.rfind('}') + 1;
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    service.clear();
    service.inject(answering(whole.substr(0, cut), 1));
    auto stream = sandbox.exec_stream("true").value();
    const Outcome outcome = all_of(stream);
    if (cut > exited) {
      CHECK(outcome.exit_code == 0);  // the last event had come: what follows it does not matter
    } else {
      REQUIRE_MESSAGE(outcome.error.has_value(), cut);
      CHECK_MESSAGE(outcome.error->code() == ErrorCode::connection, cut, ": ", outcome.error->message());
      CHECK(outcome.error->message().find("service") != std::string::npos);
    }
    CHECK((outcome.output.empty() || outcome.output == "out"));
  }
  // Ended in good order, but without the end of the command: then it was the other side.
  service.clear();
  const std::string without = kEvents.substr(0, kEvents.find("data: {\"kind\":\"exec_exited"));
  service.inject(answering(sse(without), 1));
  auto stream = sandbox.exec_stream("true").value();
  const Outcome outcome = all_of(stream);
  REQUIRE(outcome.error.has_value());
  CHECK(outcome.error->message().find("the sandbox's side went away") != std::string::npos);
}

TEST_CASE("a stream that ends early: what is known of its end, whose stream it was, and the request id") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  const std::string events = kEvents.substr(0, kEvents.find("data: {\"kind\":\"exec_exited"));
  const std::string output = events.substr(events.find("data: {\"kind\":\"exec_chunk"));
  const std::string head =
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\nx-request-id: req_9\r\n";
  const auto chunked = [&](const std::string& body, const std::string& end) {
    std::ostringstream text;
    text << head << "Transfer-Encoding: chunked\r\n\r\n";
    if (!body.empty()) text << std::hex << body.size() << "\r\n" << body << "\r\n";
    return text.str() + end;
  };
  const auto ends = [&](const std::string& answer, bool follow) {
    service.clear();
    if (follow) service.inject(answering(http(200, kCommand), 1));
    service.inject(answering(answer, 1));
    Outcome outcome;
    if (follow) {
      auto stream = sandbox.command("cmd_1").value().stream().value();
      outcome = all_of(stream);
    } else {
      auto stream = sandbox.exec_stream("true").value();
      outcome = all_of(stream);
    }
    REQUIRE_MESSAGE(outcome.error.has_value(), answer);
    CHECK(outcome.error->code() == ErrorCode::connection);
    CHECK(outcome.error->details().request_id == "req_9");
    return outcome.error->message();
  };
  const auto has = [](const std::string& message, const char* text) {
    CHECK_MESSAGE(message.find(text) != std::string::npos, message);
  };
  const auto has_not = [](const std::string& message, const char* text) {
    CHECK_MESSAGE(message.find(text) == std::string::npos, message);
  };
  for (const std::string& body : {events, std::string(": hello\n\n"), std::string()}) {
    has(ends(chunked(body, "0\r\n\r\n"), false), "the sandbox's side went away");
    has_not(ends(chunked(body, "0\r\n\r\n"), false), "had started");
    has(ends(head + "\r\n" + body, false), "the connection or the sandbox's side went away");
    has(ends(head + "\r\n" + body, true), "the connection or the sandbox's side went away");
    const std::string of_a_log = ends(chunked(body, "0\r\n\r\n"), true);
    has(of_a_log, "follow on from the offset reached");
    has_not(of_a_log, "until its timeout");
    has(of_a_log, "(request req_9)");
  }
  has(ends(chunked(events, ""), false), "runs on until its timeout");
  const std::string of_a_log = ends(chunked(output, ""), true);
  has(of_a_log, "follow on from the offset reached");
  has_not(of_a_log, "until its timeout");
}

TEST_CASE("an event that cannot be read, a line without end, an error: each has the request id, and not the key") {
  TestService service;
  const Client client = client_of(service, seconds(30), "test-key");
  const Sandbox sandbox = sandbox_of(service, client);
  const std::string head =
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\nx-request-id: req_9\r\n\r\n";
  for (const auto& [event, code] :
       {std::pair(std::string("data: {\n\n"), ErrorCode::api), std::pair(std::string(9U << 20U, 'x'), ErrorCode::api),
        std::pair(std::string(R"(data: {"kind":"error","code":"c test-key","message":"m test-key"})"), ErrorCode::api),
        std::pair(std::string(R"(data: {"kind":"error","code":"timed_out","message":"too late"})"),
                  ErrorCode::exec_timeout),
        std::pair(std::string(R"(data: {"kind":"error","code":"exec_killed","signal":9})"), ErrorCode::exec_killed)}) {
    service.clear();
    service.inject(answering(head + event, 1));
    auto stream = sandbox.exec_stream("true").value();
    const Outcome outcome = all_of(stream);
    REQUIRE_MESSAGE(outcome.error.has_value(), event);
    const Error& error = *outcome.error;
    CHECK_MESSAGE(error.code() == code, error.message());
    CHECK(error.details().request_id == "req_9");
    CHECK_MESSAGE(error.message().find("request req_9)") != std::string::npos, error.message());
    CHECK_MESSAGE(error.message().find("test-key") == std::string::npos, error.message());
    if (code == ErrorCode::exec_timeout) CHECK(error.details().detail == "too late");
  }
}

TEST_CASE("what an event says is one line in a message, cut between characters, and kept up to a limit") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  std::string said = R"(\u001b[31m\nb)";  // 7 bytes
  for (int i = 0; i < 50'000; ++i) said += "\u00e9";
  service.clear();
  service.inject(answering(sse_head() + R"(data: {"kind":"error","code":"c\n","message":")" + said + "\"}\n\n", 1));
  auto stream = sandbox.exec_stream("true").value();
  const Error error = all_of(stream).error.value();
  CHECK(error.code() == ErrorCode::api);
  CHECK_MESSAGE(error.message().find(": \x20[31m b\u00e9") != std::string::npos, error.message());
  CHECK_MESSAGE(error.message().find("\u00e9 (code c )") != std::string::npos, error.message());
  CHECK(error.message().find_first_of("\n\x1b") == std::string::npos);
  CHECK(core::is_utf8(error.message()));
  CHECK(error.message().size() < 700);
  CHECK(error.details().detail.size() <= 16U << 10U);
  CHECK(error.details().detail.size() > 16'000);
}

TEST_CASE("a command's end that is an answer of its own keeps what the service said about it") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  service.clear();
  service.inject(answering(
      http(408, R"({"code":"exec_timeout","detail":"too late","stdout":"so far"})", "x-request-id: req_9\r\n"), 1));
  Error error = error_of(sandbox.exec("true"));
  CHECK(error.code() == ErrorCode::exec_timeout);
  CHECK(error.details().status_code == 408);
  CHECK(error.details().request_id == "req_9");
  CHECK(error.details().detail == "too late");
  CHECK(error.details().stdout_data == "so far");
  CHECK_MESSAGE(error.message().find("(HTTP 408, request req_9)") != std::string::npos, error.message());
  service.inject(
      answering(http(422, R"({"code":"exec_killed","signal":9,"oom":true})", "x-request-id: r test-key\r\n"), 1));
  error = error_of(sandbox.exec("true"));
  CHECK(error.code() == ErrorCode::exec_killed);
  CHECK(error.details().status_code == 422);
  CHECK(error.details().signal == 9);
  CHECK(error.message().find("request r ") != std::string::npos);
  CHECK_MESSAGE(error.message().find("test-key") == std::string::npos, error.message());
}

TEST_CASE("comments without end hold a stream open no longer than its command's timeout and some more") {
  TestService service;
  const Client client = client_of(service, seconds(1));
  const Sandbox sandbox = sandbox_of(service, client);
  const std::string head = sse_head();
  ExecOptions options;
  options.timeout = seconds(1);
  service.clear();
  Fault flood = answering(head, 1);
  flood.comments = true;
  service.inject(flood);
  auto start = Clock::now();
  {
    auto stream = sandbox.exec_stream("true", options).value();
    const Outcome outcome = all_of(stream);
    REQUIRE(outcome.error.has_value());
    CHECK(outcome.error->code() == ErrorCode::connection);
    CHECK_MESSAGE(outcome.error->message().find("goes on without the end") != std::string::npos,
                  outcome.error->message());
  }
  CHECK(Clock::now() - start > milliseconds(2900));
  CHECK(Clock::now() - start < seconds(6));
  // Behind the last event they hold nothing.
  flood.raw = head + kEvents;
  service.inject(flood);
  start = Clock::now();
  auto stream = sandbox.exec_stream("true").value();
  CHECK(all_of(stream).exit_code == 0);
  while (service.open_connections() > 0 && Clock::now() - start < seconds(10)) {
    std::this_thread::sleep_for(milliseconds(50));
  }
  CHECK(Clock::now() - start < seconds(4));
}

TEST_CASE("cancelling a command says what is known of its end, and no more") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  service.clear();
  Fault slow;
  slow.delay_ms = 20'000;
  slow.times = 2;
  service.inject(slow);
  auto waited = sandbox.exec_async("sleep 100");
  CHECK_FALSE(waited.wait(milliseconds(200)));
  waited.cancel();
  Error error = error_of(waited.get());
  CHECK(error.code() == ErrorCode::cancelled);
  CHECK_MESSAGE(error.message().find("is not known") != std::string::npos, error.message());

  const std::string still_there = R"({"stdout":"","stderr":"","exit_code":1})";
  const std::vector<std::pair<int, std::string>> answers = {
      {200, kExecBody}, {200, still_there}, {200, "{}"}, {500, "{}"}};
  for (const auto& [status, body] : answers) {
    service.clear();
    Fault running = answering(sse_head() + kEvents.substr(0, kEvents.find("\n\n") + 2), 1);
    running.comments = true;
    service.inject(running);
    service.inject(answering(http(status, body), 1));
    auto stream = sandbox.exec_stream("sleep 100").value();
    for (int i = 0; i < 100 && stream.pid() == 0; ++i) std::this_thread::sleep_for(milliseconds(20));
    CHECK(stream.pid() == 17);
    stream.cancel();
    error = *all_of(stream).error;
    CHECK(error.code() == ErrorCode::cancelled);
    CHECK_MESSAGE(error.message().find(body == kExecBody ? "its process group was ended"
                                                         : "may run on until its timeout") != std::string::npos,
                  error.message());
  }
}

TEST_CASE("what waits to be read costs not much more than its bytes, however it came") {
  for (const std::size_t size : {std::size_t{1}, std::size_t{8193}}) {
    Pipe pipe;
    std::string sent[2], got[2];
    for (std::size_t i = 0; pipe.has_room() && i < 300'000; ++i) {
      const std::string bytes(size, static_cast<char>('a' + i / 2 % 26));
      pipe.deliver(i % 2 == 0 ? OutputStream::standard_output : OutputStream::standard_error, bytes);
      sent[i % 2] += bytes;
    }
    CHECK(sent[0].size() + sent[1].size() >= std::min(300'000 * size, Pipe::kWindowBytes));
    std::size_t items = 0, held = 0;
    while (auto item = pipe.take()) {
      ++items;
      held += sizeof(*item) + (*item)->data.capacity();
      got[(*item)->stream == OutputStream::standard_output ? 0 : 1] += (*item)->data;
    }
    CHECK(items < 300);
    CHECK_MESSAGE(held < 3 * (sent[0].size() + sent[1].size()), held);
    CHECK(got[0] == sent[0]);
    CHECK(got[1] == sent[1]);
  }
}

TEST_CASE("killing a background command can be cancelled within its second request too") {
  TestService service;
  const Client client = client_of(service);
  const Sandbox sandbox = sandbox_of(service, client);
  service.clear();
  service.inject(answering(http(200, kCommand), 1));
  const auto command = sandbox.command("cmd_1").value();
  Fault slow;
  slow.method = "GET";
  slow.delay_ms = 20'000;
  service.inject(answering(http(200, "{}"), 1));
  service.inject(slow);
  auto killing = command.kill_async();
  for (int i = 0; i < 100 && count(service, "GET", "/commands/cmd_1") < 2; ++i) {
    std::this_thread::sleep_for(milliseconds(20));
  }
  CHECK(count(service, "GET", "/commands/cmd_1") == 2);
  const auto start = Clock::now();
  killing.cancel();
  CHECK(error_of(killing.get()).code() == ErrorCode::cancelled);
  CHECK(Clock::now() - start < seconds(2));
}

}  // namespace orkestr::testing
