#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "support/suite.hpp"

namespace orkestr::testing {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

std::string every_byte() {
  std::string all;
  for (int i = 0; i < 256 * 64; ++i) all.push_back(static_cast<char>(i % 256));
  return all;
}

// True while a process in the guest has this word in its command line. The word's last letter is asked for in brackets,
// so that the asking shell and its grep, whose own command lines hold the pattern, do not match it.
bool runs_in_guest(const Sandbox& sandbox, const std::string& word) {
  std::string pattern = word.substr(0, word.size() - 1) + "[" + word.back() + "]";
  auto result =
      must(sandbox.exec("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c -e '" + pattern + "'"));
  return result.stdout_data != "0\n";
}

ExecOptions within(milliseconds timeout) {
  ExecOptions options;
  options.timeout = timeout;
  return options;
}

}  // namespace

TEST_CASE("exec: output, exit code and duration") {
  auto result = must(shared_sandbox().exec("echo out; echo err >&2; exit 3"));
  CHECK(result.stdout_data == "out\n");
  CHECK(result.stderr_data == "err\n");
  CHECK(result.exit_code == 3);
  CHECK(result.duration.count() > 0);
  CHECK(result.stdout_total_bytes == 4);
  CHECK_FALSE(result.truncated);
}

TEST_CASE("exec: working directory, environment, user") {
  auto sandbox = shared_sandbox();
  CHECK(must(sandbox.exec("pwd; id -un; echo $HOME $LANG")).stdout_data == "/workspace\nroot\n/root C.UTF-8\n");
  ExecOptions options;
  options.cwd = "/tmp";
  options.env = {{"WORD", "one two"}, {"EMPTY", ""}};
  CHECK(must(sandbox.exec("pwd; echo \"$WORD\" \"[$EMPTY]\"", options)).stdout_data == "/tmp\none two []\n");
  ExecOptions nowhere;
  nowhere.cwd = "/no/such/directory";
  CHECK(must_fail(sandbox.exec("true", nowhere), ErrorCode::file_not_found).message().find("/no/such/directory") !=
        std::string::npos);
  ExecOptions as_user;
  as_user.user = "nobody";
  as_user.cwd = "/";
  if (left_out(Has::user, [&] { return sandbox.exec("id -un", as_user); })) return;
  CHECK(must(sandbox.exec("id -un", as_user)).stdout_data == "nobody\n");
  ExecOptions nobody_there;
  nobody_there.user = "nosuchuser";
  CHECK(must_fail(sandbox.exec("true", nobody_there), ErrorCode::invalid_argument).message().find("nosuchuser") !=
        std::string::npos);
}

TEST_CASE("run: argv without a shell") {
  auto sandbox = shared_sandbox();
  CHECK(must(sandbox.run({"printf", "%s|", "a b", "$HOME", "*"})).stdout_data == "a b|$HOME|*|");
  auto error = must_fail(sandbox.run({"/no/such/program"}), ErrorCode::file_not_found);
  CHECK(error.message().find("/no/such/program") != std::string::npos);
  must_fail(sandbox.run({}), ErrorCode::invalid_argument);
}

TEST_CASE("exec_stream: bytes of every value, of both streams") {
  auto sandbox = shared_sandbox();
  const std::string all = every_byte();
  must(sandbox.files().write("/tmp/every", all));
  auto stream = must(sandbox.exec_stream("tee /dev/stderr < /tmp/every"));
  std::string out, err;
  while (auto chunk = must(stream.next())) (chunk->stream == OutputStream::standard_output ? out : err) += chunk->data;
  CHECK(out == all);
  CHECK(err == all);
}

TEST_CASE("bytes of every value, both ways") {
  auto sandbox = shared_sandbox();
  std::string all = every_byte();
  ExecOptions options;
  options.stdin_data = all;
  if (left_out(Has::input, [&] { return sandbox.exec("cat", options); })) return;
  auto result = must(sandbox.exec("cat", options));
  CHECK(result.stdout_data == all);
  auto both = must(sandbox.exec("tee /dev/stderr", options));
  CHECK(both.stdout_data == all);
  CHECK(both.stderr_data == all);
}

TEST_CASE("stdin: empty, and more than the command reads") {
  auto sandbox = shared_sandbox();
  CHECK(must(sandbox.exec("cat; echo end")).stdout_data == "end\n");
  ExecOptions options;
  options.stdin_data = std::string(3U << 20U, 'x');
  if (left_out(Has::input, [&] { return sandbox.exec("true", options); })) return;
  CHECK(must(sandbox.exec("head -c 5; exec true", options)).stdout_data == "xxxxx");
}

TEST_CASE("exec: a signal that is not ours is exec_killed, a shell's 137 is a result") {
  auto sandbox = shared_sandbox();
  auto error = must_fail(sandbox.exec("echo before; kill -9 $$"), ErrorCode::exec_killed);
  CHECK(error.details().signal == 9);
  CHECK(error.details().stdout_data == "before\n");
  CHECK(must(sandbox.exec("bash -c 'kill -9 $$'; exit $?")).exit_code == 137);
}

TEST_CASE("timeout: everything the command started ends, the sandbox lives, output so far is kept") {
  auto sandbox = shared_sandbox();
  auto start = Clock::now();
  auto error = must_fail(sandbox.exec("echo started; setsid sleep 7171 & (setsid bash -c 'trap \"\" TERM; sleep 7172' "
                                      "&) ; trap '' TERM; sleep 7173",
                                      within(milliseconds(700))),
                         ErrorCode::exec_timeout);
  CHECK(error.details().stdout_data == "started\n");
  CHECK(Clock::now() - start < std::chrono::seconds(20));
  for (const char* word : {"7171", "7172", "7173"}) CHECK_FALSE(runs_in_guest(sandbox, word));
  CHECK(must(sandbox.exec("echo alive")).stdout_data == "alive\n");
}

TEST_CASE("a child that calls setsid and holds stdout does not hold exec") {
  auto sandbox = shared_sandbox();
  auto start = Clock::now();
  auto result = must(sandbox.exec("(setsid bash -c 'sleep 4242' &); echo done"));
  CHECK(result.stdout_data == "done\n");
  CHECK(Clock::now() - start < std::chrono::seconds(10));
  CHECK(runs_in_guest(sandbox, "4242"));
  must(sandbox.exec("pkill -f 'sleep 424[2]' || kill $(grep -l 424[2] /proc/[0-9]*/cmdline | cut -d/ -f3)"));
}

TEST_CASE("server &: neither hangs exec nor dies, not even when it writes later") {
  auto sandbox = shared_sandbox();
  auto start = Clock::now();
  must(sandbox.exec("rm -f /tmp/beats; while true; do echo beat; echo beat >> /tmp/beats; sleep 0.1; done &"));
  CHECK(Clock::now() - start < std::chrono::seconds(10));
  must(sandbox.exec("sleep 1.5"));
  int beats = std::stoi(must(sandbox.exec("wc -l < /tmp/beats")).stdout_data);
  CHECK(beats >= 3);
  must(sandbox.exec("sleep 1"));
  CHECK(std::stoi(must(sandbox.exec("wc -l < /tmp/beats")).stdout_data) > beats);
  must(sandbox.exec("kill $(grep -l '/tmp/beat[s]' /proc/[0-9]*/cmdline | cut -d/ -f3) 2>/dev/null; true"));
}

TEST_CASE("exec: head and tail of too much output, with true totals") {
  ExecOptions options;
  options.max_output_bytes = 2000;
  auto result = must(shared_sandbox().exec("seq 1 100000", options));
  CHECK(result.truncated);
  CHECK(result.stdout_total_bytes == 588895);
  CHECK(result.stdout_data.substr(0, 6) == "1\n2\n3\n");
  CHECK(result.stdout_data.substr(result.stdout_data.size() - 7) == "100000\n");
  CHECK(result.stdout_data.size() < 2400);
}

TEST_CASE("exec_stream: chunks as they come, one final chunk, then nothing") {
  auto stream = must(shared_sandbox().exec_stream("echo one; sleep 0.5; echo two >&2; exit 4"));
  std::string out, err;
  std::optional<ExecChunk> last;
  int finals = 0;
  while (true) {
    auto chunk = must(stream.next());
    if (!chunk) break;
    (chunk->stream == OutputStream::standard_output ? out : err) += chunk->data;
    finals += chunk->is_final() ? 1 : 0;
    last = chunk;
  }
  CHECK(out == "one\n");
  CHECK(err == "two\n");
  CHECK(finals == 1);
  REQUIRE(last);
  CHECK(last->exit_code == 4);
  CHECK(last->data.empty());
  CHECK(last->duration > milliseconds(400));
  CHECK_FALSE(must(stream.next()).has_value());
}

TEST_CASE("exec_stream: a chunk arrives while the command runs, and waiting has a deadline") {
  auto stream = must(shared_sandbox().exec_stream("echo first; sleep 2; echo second"));
  auto start = Clock::now();
  std::string got;
  while (got.empty()) got += must(stream.next(milliseconds(5000)))->data;
  CHECK(got == "first\n");
  CHECK(Clock::now() - start < milliseconds(1800));
  auto nothing = must(stream.next(milliseconds(50)));
  REQUIRE(nothing);
  CHECK(nothing->data.empty());
  CHECK_FALSE(nothing->is_final());
  CHECK(stream.pid() > 0);
}

TEST_CASE("exec_stream: cancel kills the process tree") {
  auto sandbox = shared_sandbox();
  auto stream = must(sandbox.exec_stream("echo up; sleep 6161 & sleep 6162"));
  while (must(stream.next())->data.empty()) {
  }
  stream.cancel();
  Result<std::optional<ExecChunk>> end = stream.next();
  while (end.ok() && *end && !(*end)->is_final()) end = stream.next();
  must_fail(end, ErrorCode::cancelled);
  CHECK_FALSE(runs_in_guest(sandbox, "616"));
}

TEST_CASE("exec_stream: letting go leaves the command running") {
  auto sandbox = shared_sandbox();
  {
    auto stream =
        must(sandbox.exec_stream("for i in $(seq 100); do echo $i; sleep 0.02; done; echo finished > /tmp/detached"));
    must(stream.next());
  }
  std::string seen;
  for (int i = 0; i < 100 && seen.empty(); ++i)
    seen = must(sandbox.exec("sleep 0.2; cat /tmp/detached 2>/dev/null")).stdout_data;
  CHECK(seen == "finished\n");
}

TEST_CASE("16 threads on one handle") {
  auto sandbox = shared_sandbox();
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        std::string word = std::to_string(t) + "-" + std::to_string(i);
        auto result = sandbox.exec("echo " + word);
        if (result && result->stdout_data == word + "\n") ++good;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(good == 80);
}

TEST_CASE("exec_async: many at once, and cancelling one") {
  auto sandbox = shared_sandbox();
  std::vector<Operation<ExecResult>> pending;
  for (int i = 0; i < 8; ++i) pending.push_back(sandbox.exec_async("echo " + std::to_string(i)));
  auto slow = sandbox.exec_async("sleep 5151");
  for (int i = 0; i < 8; ++i) CHECK(must(pending[i].get()).stdout_data == std::to_string(i) + "\n");
  CHECK_FALSE(slow.wait(milliseconds(10)));
  slow.cancel();
  must_fail(slow.get(), ErrorCode::cancelled);
  // A service learns of it by the end of a connection.
  for (int i = 0; i < 40 && runs_in_guest(sandbox, "5151"); ++i) std::this_thread::sleep_for(milliseconds(50));
  CHECK_FALSE(runs_in_guest(sandbox, "5151"));
}

TEST_CASE("exec: refused before anything is sent") {
  auto sandbox = shared_sandbox();
  must_fail(sandbox.exec(""), ErrorCode::invalid_argument);
  must_fail(sandbox.exec(std::string("echo a\0b", 8)), ErrorCode::invalid_argument);
  must_fail(sandbox.exec(std::string(200'000, 'x')), ErrorCode::invalid_argument);
  must_fail(sandbox.exec("true", within(milliseconds(0))), ErrorCode::invalid_argument);
  ExecOptions relative;
  relative.cwd = "workspace";
  must_fail(sandbox.exec("true", relative), ErrorCode::invalid_argument);
  ExecOptions bad_env;
  bad_env.env = {{"A=B", "c"}};
  must_fail(sandbox.exec("true", bad_env), ErrorCode::invalid_argument);
}

}  // namespace orkestr::testing
