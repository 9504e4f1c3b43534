// The code interpreter: of a service only, and there of one template only.
#include <chrono>
#include <thread>

#include "support/suite.hpp"

namespace orkestr::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

bool has_no_interpreter() {
  auto sandbox = shared_sandbox();  // whose template has none, anywhere
  must_fail(sandbox.create_code_context(), ErrorCode::interpreter_unavailable);
  must_fail(sandbox.code_contexts(), ErrorCode::interpreter_unavailable);
  auto stream = sandbox.run_code_stream("1");
  if (stream) {
    must_fail(stream->next(), ErrorCode::interpreter_unavailable);
    CHECK_FALSE(must(stream->next()));
  } else {
    must_fail(stream, ErrorCode::interpreter_unavailable);
  }
  return left_out(
      Has::interpreter, [&] { return sandbox.run_code("1"); }, ErrorCode::interpreter_unavailable);
}

Sandbox interpreter() {
  auto options = create_options();
  options.template_name = "code-interpreter";
  return must(Sandbox::create(options, client()));
}

std::vector<CodeEvent> all_of(CodeStream& stream) {
  std::vector<CodeEvent> events;
  while (auto event = must(stream.next())) events.push_back(std::move(*event));
  return events;
}

}  // namespace

TEST_CASE("code: variables stay, results come with all their forms") {
  if (has_no_interpreter()) return;
  auto sandbox = interpreter();
  const auto first = must(sandbox.run_code("import sys\nx = 6\nprint('out')\nprint('err', file=sys.stderr)"));
  CHECK(first.stdout_data == "out\n");
  CHECK(first.stderr_data == "err\n");
  CHECK(first.results.empty());
  CHECK_FALSE(first.text());
  CHECK(first.context_id == "default");
  CHECK(first.execution_count == 1);
  CHECK_FALSE(first.error);
  CHECK(first.truncated.empty());

  const auto second = must(sandbox.run_code("display('shown')\nx * 7"));
  REQUIRE(second.results.size() == 2);
  CHECK(second.results[0].text == "'shown'");
  CHECK(second.results[1].type == "text");
  CHECK(second.text() == "42");
  CHECK_FALSE(second.results[1].html);
  CHECK(second.execution_count == 2);

  const auto rich = must(sandbox.run_code(R"(
class Rich:
    def __repr__(self): return "a frame"
    def _repr_html_(self): return "<table>ü</table>"
    def _repr_png_(self): return bytes(range(256))
    def _repr_json_(self): return {"a": [1, 25, None, True, "x"], "b": {}}
    def _repr_chart_(self): return {"type": "bar"}
Rich())"));
  REQUIRE(rich.results.size() == 1);
  const CodeResult& result = rich.results[0];
  CHECK(result.type == "chart");
  CHECK(result.text == "a frame");
  CHECK(result.html == "<table>ü</table>");
  REQUIRE(result.png);
  CHECK(result.png->size() == 256);
  CHECK(static_cast<unsigned char>(result.png->back()) == 255);
  CHECK(result.json == R"({"a":[1,25,null,true,"x"],"b":{}})");
  CHECK(result.chart == R"({"type":"bar"})");

  const auto cut = must(sandbox.run_code("print('x' * 3_000_000)"));
  CHECK(cut.truncated == std::vector<std::string>{"stdout"});
  CHECK(cut.stdout_data.size() == 1U << 20U);
  must(sandbox.terminate());
}

TEST_CASE("code: what it raises is a result; a timeout interrupts it and its variables are kept") {
  if (has_no_interpreter()) return;
  auto sandbox = interpreter();
  const auto raised = must(sandbox.run_code("x = 5\nprint('before')\n1 / 0"));
  CHECK(raised.stdout_data == "before\n");
  REQUIRE(raised.error);
  CHECK(raised.error->name == "ZeroDivisionError");
  CHECK(raised.error->value == "division by zero");
  CHECK(raised.error->traceback.size() > 1);
  CHECK_FALSE(raised.interrupted);
  CHECK(must(sandbox.run_code("this is no code")).error->name == "SyntaxError");

  CodeOptions brief;
  brief.timeout = milliseconds(500);
  const auto started = std::chrono::steady_clock::now();
  const auto late = must(sandbox.run_code("import time\ntime.sleep(30)", brief));
  CHECK(std::chrono::steady_clock::now() - started < seconds(10));
  CHECK(late.interrupted);
  CHECK(late.duration >= milliseconds(500));
  REQUIRE(late.error);
  CHECK(late.error->name == "KeyboardInterrupt");
  CHECK(must(sandbox.run_code("x")).text() == "5");

  const auto died = must(sandbox.run_code("import os\nos._exit(3)"));
  REQUIRE(died.error);
  CHECK_FALSE(died.restarted);
  CHECK(died.execution_count == std::nullopt);
  const auto anew = must(sandbox.run_code("x"));
  CHECK(anew.restarted);
  REQUIRE(anew.error);
  CHECK(anew.error->name == "NameError");
  must(sandbox.terminate());
}

TEST_CASE("code: a stream has the events as they come, and at its end what run_code would give") {
  if (has_no_interpreter()) return;
  auto sandbox = interpreter();
  auto stream = must(sandbox.run_code_stream(R"(
import sys, time
print("one")
display(1)
time.sleep(1)
print("two", file=sys.stderr)
"end")"));
  const auto started = std::chrono::steady_clock::now();
  const auto first = must(stream.next());
  REQUIRE(first);
  CHECK(first->kind == CodeEvent::Kind::output);
  CHECK(first->text == "one");
  CHECK(std::chrono::steady_clock::now() - started < milliseconds(900));
  std::string out = first->text, err, shown;
  auto events = all_of(stream);
  REQUIRE_FALSE(events.empty());
  for (const CodeEvent& event : events) {
    if (event.kind == CodeEvent::Kind::output)
      (event.stream == OutputStream::standard_output ? out : err) += event.text;
    if (event.kind == CodeEvent::Kind::result) shown += *event.result.text + ";";
  }
  CHECK(out == "one\n");
  CHECK(err == "two\n");
  CHECK(shown == "1;'end';");
  const CodeEvent& last = events.back();
  CHECK(last.kind == CodeEvent::Kind::done);
  CHECK(last.execution.stdout_data == "one\n");
  CHECK(last.execution.stderr_data == "two\n");
  CHECK(last.execution.results.size() == 2);
  CHECK(last.execution.text() == "'end'");
  CHECK(last.execution.execution_count == 1);
  CHECK(last.execution.context_id == "default");
  CHECK_FALSE(must(stream.next()));

  auto raising = must(sandbox.run_code_stream("raise KeyError('k')"));
  events = all_of(raising);
  REQUIRE(events.size() == 2);
  CHECK(events[0].kind == CodeEvent::Kind::error);
  CHECK(events[0].error.name == "KeyError");
  REQUIRE(events[1].execution.error);
  CHECK(events[1].execution.error->value == "'k'");

  // A look that does not wait; the stream goes on afterwards.
  auto slow = must(sandbox.run_code_stream("time.sleep(0.5); 1"));
  const auto nothing = must(slow.next(milliseconds(0)));
  REQUIRE(nothing);
  CHECK(nothing->kind == CodeEvent::Kind::output);
  CHECK(nothing->text.empty());
  CHECK(all_of(slow).back().execution.text() == "1");

  // One that is not read slows the run down, and nothing is lost.
  auto large = must(sandbox.run_code_stream("for i in range(3000): print('x' * 99)\n'over'"));
  std::this_thread::sleep_for(milliseconds(300));
  events = all_of(large);
  CHECK(events.back().execution.stdout_data.size() == 300'000);
  CHECK(events.back().execution.text() == "'over'");

  // Let go of, the run goes on.
  {
    auto left = must(sandbox.run_code_stream("print('here', flush=True)\ntime.sleep(0.3)\nleft = 'alone'"));
    must(left.next());
    left.close();
    CHECK_FALSE(must(left.next()));
  }
  CHECK(must(sandbox.run_code("left")).text() == "'alone'");
  must(sandbox.terminate());
}

TEST_CASE("code: contexts have variables of their own, survive a pause, and are found again") {
  if (has_no_interpreter()) return;
  auto sandbox = interpreter();
  CHECK(must(sandbox.code_contexts()).empty());
  const auto context = must(sandbox.create_code_context("/tmp"));
  CHECK(context.info().cwd == "/tmp");
  CHECK(context.info().language == "python");
  CHECK(context.info().created_at);
  CHECK_FALSE(context.info().last_used_at);
  CHECK(context.info().executions == 0);
  CHECK(context.info().alive);
  CHECK(must(context.run_code("import os\ny = 1\nos.getcwd()")).text() == "'/tmp'");
  CHECK(must(sandbox.run_code("y")).error->name == "NameError");
  must(sandbox.pause());
  auto again = must(Sandbox::resume(sandbox.id(), {}, new_client()));
  const auto contexts = must(again.code_contexts());
  REQUIRE(contexts.size() == 2);
  CHECK(contexts[0].id() == context.id());
  CHECK(contexts[0].info().executions == 1);
  CHECK(contexts[0].info().last_used_at);
  CHECK(contexts[1].id() == "default");
  CHECK(must(contexts[0].run_code("y")).text() == "1");
  CodeOptions there;
  there.context_id = context.id();
  CHECK(must(again.run_code("y + 1", there)).text() == "2");
  must(contexts[0].restart());
  CHECK(must(contexts[0].run_code("y")).error->name == "NameError");
  must(contexts[0].remove());
  must_fail(contexts[0].remove(), ErrorCode::not_found);
  must_fail(context.run_code("1"), ErrorCode::not_found);
  CHECK(must(again.code_contexts()).size() == 1);

  must_fail(again.create_code_context("/nowhere"), ErrorCode::file_not_found);
  must(again.terminate());
  must_fail(again.run_code("1"), ErrorCode::not_ready);
}

TEST_CASE("code: what is refused before anything is sent") {
  auto sandbox = shared_sandbox();
  const auto refused = [&](std::string_view code, CodeOptions options, const std::string& said) {
    const Error error = must_fail(sandbox.run_code(code, options), ErrorCode::invalid_argument);
    CHECK_MESSAGE(error.message().find(said) != std::string::npos, error.message());
    must_fail(sandbox.run_code_stream(code, options), ErrorCode::invalid_argument);
  };
  CodeOptions options;
  options.language = "";
  refused("1", options, "language is ''");
  options = {};
  options.timeout = milliseconds(0);
  refused("1", options, "timeout is 0 ms");
  refused("\xff", {}, "code of 1 bytes is not UTF-8");
  refused(std::string((16U << 20U) + 1, ' '), {}, "code has 16777217 bytes");
  options = {};
  options.context_id = "a/b";
  must_fail(sandbox.run_code("1", options), ErrorCode::not_found);
  must_fail(sandbox.create_code_context("not/absolute"), ErrorCode::invalid_argument);
}

}  // namespace orkestr::testing
