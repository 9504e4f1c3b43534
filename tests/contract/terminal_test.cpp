// Commands that are talked to while they run: an open standard input, a terminal.
#include <chrono>
#include <string>
#include <thread>

#include "support/suite.hpp"

namespace orkestr::testing {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

ExecOptions with_open_input() {
  ExecOptions options;
  options.stdin_open = true;
  return options;
}

ExecOptions with_terminal(int cols = 80, int rows = 24) {
  ExecOptions options;
  options.tty = true;
  options.cols = cols;
  options.rows = rows;
  return options;
}

// Reads on until `text` has come; all that came so far, with `before`.
std::string await(ExecStream& stream, const std::string& text, std::string before = {}) {
  const auto deadline = Clock::now() + seconds(40);
  while (before.find(text) == std::string::npos) {
    CAPTURE(before);
    REQUIRE(Clock::now() < deadline);
    auto chunk = must(stream.next(milliseconds(500)));
    REQUIRE(chunk.has_value());
    REQUIRE_FALSE(chunk->is_final());
    CHECK(chunk->stream == OutputStream::standard_output);
    before += chunk->data;
  }
  return before;
}

struct Rest {
  std::string output;
  int exit_code = -1;
};

Rest rest_of(ExecStream& stream) {
  Rest rest;
  while (true) {
    auto chunk = must(stream.next());
    REQUIRE(chunk.has_value());
    if (chunk->is_final()) {
      rest.exit_code = *chunk->exit_code;
      return rest;
    }
    rest.output += chunk->data;
  }
}

// Its final chunk, or its error.
Result<std::optional<ExecChunk>> end_of(ExecStream& stream) {
  while (true) {
    auto chunk = stream.next(seconds(40));
    if (!chunk || !*chunk || (*chunk)->is_final()) return chunk;
  }
}

// True where commands cannot be talked to.
bool nobody_listens(Has what, const ExecOptions& options) {
  return left_out(what, [&] { return must(shared_sandbox().exec_stream("cat", options)).next(); });
}

}  // namespace

TEST_CASE("terminal: an interactive interpreter answers what is typed") {
  if (nobody_listens(Has::terminal, with_terminal())) return;
  auto stream = must(shared_sandbox().run_stream({"python3", "-q"}, with_terminal()));
  await(stream, ">>> ");
  must(stream.write("1+1\n"));
  await(stream, "\n2\r\n");
  must(stream.write("import os; print(os.get_terminal_size().columns, os.isatty(0), os.environ['TERM'])\n"));
  await(stream, "80 True xterm-256color");
  must(stream.resize(132, 50));
  must(stream.write("print('now', os.get_terminal_size().columns)\n"));
  const std::string seen = await(stream, "now 132");
  // A key typed before the prompt meets the terminal in another mode.
  await(stream, ">>> ", seen.substr(seen.rfind("now 132")));
  stream.close_input();
  CHECK(rest_of(stream).exit_code == 0);
}

TEST_CASE("terminal: Ctrl-C reaches what runs in the foreground") {
  if (nobody_listens(Has::terminal, with_terminal())) return;
  auto stream = must(shared_sandbox().exec_stream("bash --norc -i", with_terminal()));
  must(stream.write("echo st''art; cat\n"));
  await(stream, "start\r\n");  // all of it: what is typed within is echoed within
  must(stream.write("word\n"));
  await(stream, "word\r\nword\r\n");  // once by the terminal, once by cat, which therefore runs
  must(stream.write("\x03"));
  await(stream, "bash-");  // what is typed before the prompt, the shell may throw away with the interrupted line
  must(stream.write("echo co''de $?\n"));
  await(stream, "code 130");
  must(stream.write("exit 4\n"));
  CHECK(rest_of(stream).exit_code == 4);
}

TEST_CASE("terminal: belongs to the command's user") {
  if (nobody_listens(Has::terminal, with_terminal())) return;
  ExecOptions options = with_terminal();
  options.user = "nobody";
  options.cwd = "/tmp";
  auto stream = must(shared_sandbox().exec_stream("stat -L -c %U:%G /dev/stdin; echo x > $(tty)", options));
  const Rest rest = rest_of(stream);
  CHECK(rest.output == "nobody:tty\r\nx\r\n");
  CHECK(rest.exit_code == 0);
}

TEST_CASE("terminal: timeout, cancel") {
  if (nobody_listens(Has::terminal, with_terminal())) return;
  ExecOptions options = with_terminal();
  options.timeout = milliseconds(500);
  auto late = must(shared_sandbox().exec_stream("trap '' HUP; echo before; sleep 6161", options));
  await(late, "before");
  must_fail(end_of(late), ErrorCode::exec_timeout);
  auto cancelled = must(shared_sandbox().exec_stream("echo before; sleep 6161", with_terminal()));
  await(cancelled, "before");
  cancelled.cancel();
  must_fail(end_of(cancelled), ErrorCode::cancelled);
  CHECK(must(shared_sandbox().exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 616[1]'")).stdout_data ==
        "0\n");
}

TEST_CASE("open input: cat gives back what is written, until the input is closed") {
  if (nobody_listens(Has::input, with_open_input())) return;
  ExecOptions options = with_open_input();
  options.stdin_data = "first ";
  auto stream = must(shared_sandbox().run_stream({"cat"}, options));
  must(stream.write("second "));
  await(stream, "first second ");
  must(stream.write("third"));
  stream.close_input();
  stream.close_input();
  CHECK(must_fail(stream.write("late"), ErrorCode::invalid_argument).message().find("close_input") !=
        std::string::npos);
  const Rest rest = rest_of(stream);
  CHECK(rest.output == "third");
  CHECK(rest.exit_code == 0);
  CHECK(!must(stream.next()).has_value());
}

TEST_CASE("open input: many megabytes, written beside reading, after what was given at the start") {
  if (nobody_listens(Has::input, with_open_input())) return;
  ExecOptions options = with_open_input();
  options.stdin_data = std::string(3U << 20U, 'a');
  auto stream = must(shared_sandbox().exec_stream("sha256sum; echo done", options));
  std::string piece;
  for (int i = 0; i < (4 << 20); ++i) piece += static_cast<char>('b' + i % 17);
  std::thread writer([&] {
    CHECK(stream.write(piece).ok());
    stream.close_input();
  });
  const Rest rest = rest_of(stream);
  writer.join();
  auto check =
      must(shared_sandbox().exec("python3 -c \"import hashlib; p = bytes(98 + i % 17 for i in range(4 << 20)); "
                                 "print(hashlib.sha256(b'a' * (3 << 20) + p).hexdigest())\""));
  CHECK(rest.output == check.stdout_data.substr(0, 64) + "  -\ndone\n");
}

TEST_CASE("open input: a writer that is not read from gets its timeout, and the rest can be written later") {
  if (nobody_listens(Has::input, with_open_input())) return;
  auto stream = must(shared_sandbox().exec_stream("sleep 3; cat >/dev/null", with_open_input()));
  const std::string much(8U << 20U, 'x');
  const auto start = Clock::now();
  auto error = must_fail(stream.write(much, milliseconds(400)), ErrorCode::exec_timeout);
  CHECK(Clock::now() - start < seconds(3));
  CHECK(error.message().find("of 8388608 bytes") != std::string::npos);
  CHECK(must(stream.write_some(much, milliseconds(0))) == 0);
  must(stream.write(much, seconds(30)));
  stream.close_input();
  CHECK(rest_of(stream).exit_code == 0);
}

TEST_CASE("open input: for an ended command it goes nowhere, and holds nobody up") {
  if (nobody_listens(Has::input, with_open_input())) return;
  auto stream = must(shared_sandbox().exec_stream("exit 3", with_open_input()));
  must(stream.write(std::string(8U << 20U, 'x'), seconds(20)));
  CHECK(rest_of(stream).exit_code == 3);
  must(stream.write("more"));
  stream.close();
  must_fail(stream.write("more"), ErrorCode::not_ready);
}

TEST_CASE("open input and terminal: where they do not belong they are refused") {
  auto sandbox = shared_sandbox();
  for (const auto& options : {with_open_input(), with_terminal()}) {
    auto error = must_fail(sandbox.exec("true", options), ErrorCode::invalid_argument);
    CHECK(error.message().find("exec_stream()") != std::string::npos);
    must_fail(sandbox.run({"true"}, options), ErrorCode::invalid_argument);
  }
  must_fail(sandbox.exec_stream("true", with_terminal(0, 24)), ErrorCode::invalid_argument);
  must_fail(sandbox.exec_stream("true", with_terminal(80, 1001)), ErrorCode::invalid_argument);
  auto plain = must(sandbox.exec_stream("true"));
  must_fail(plain.write("x"), ErrorCode::invalid_argument);
  must_fail(plain.resize(80, 24), ErrorCode::invalid_argument);
  plain.close_input();
  CHECK(rest_of(plain).exit_code == 0);
  if (nobody_listens(Has::terminal, with_terminal())) return;
  auto terminal = must(sandbox.exec_stream("cat", with_terminal()));
  must_fail(terminal.resize(0, 24), ErrorCode::invalid_argument);
  must_fail(terminal.resize(80, 1001), ErrorCode::invalid_argument);
  terminal.close_input();
  CHECK(rest_of(terminal).exit_code == 0);
}

}  // namespace orkestr::testing
