// Background commands, several files at once, and what a sandbox uses.
#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "support/suite.hpp"

namespace orkestr::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kRing = 4U << 20U;

struct Followed {
  std::string output;
  std::optional<Error> error;
  int exit_code = -1;
};

Followed follow(const BackgroundCommand& command, std::uint64_t offset = 0, seconds timeout = seconds(300)) {
  Followed all;
  auto stream = must(command.stream(offset, timeout));
  while (true) {
    auto next = stream.next();
    if (!next) {
      all.error = next.error();
      return all;
    }
    if (!*next) return all;
    all.output += (*next)->data;
    if ((*next)->is_final()) all.exit_code = (*next)->exit_code.value();
  }
}

// Waits until a shell test holds in the sandbox.
bool comes(const Sandbox& sandbox, const std::string& condition) {
  const auto until = Clock::now() + seconds(60);
  while (must(sandbox.exec(condition)).exit_code != 0) {
    if (Clock::now() > until) return false;
    std::this_thread::sleep_for(milliseconds(20));
  }
  return true;
}

}  // namespace

TEST_CASE("background: start, list from another client, logs, wait") {
  auto sandbox = shared_sandbox();
  ExecOptions options;
  options.env = {{"WHO", "there"}};
  options.cwd = "/tmp";
  auto command = must(
      sandbox.start("echo hello $WHO; pwd >&2; while [ ! -e go-on ]; do sleep 0.1; done; echo end; exit 3", options));
  const auto info = command.info();
  CHECK(info.id.substr(0, 4) == "cmd_");
  CHECK(info.command.substr(0, 15) == "echo hello $WHO");
  CHECK(info.status == CommandStatus::running);
  CHECK(info.pid.value_or(0) > 1);
  CHECK_FALSE(info.exit_code.has_value());
  REQUIRE(info.started_at.has_value());
  CHECK(std::chrono::abs(*info.started_at - std::chrono::system_clock::now()) < seconds(60));

  auto elsewhere = must(Sandbox::get(sandbox.id(), new_client()));
  auto all = must(elsewhere.commands());
  const auto same = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.id() == info.id; });
  REQUIRE(same != all.end());
  CHECK(same->info().command == info.command);
  CHECK(same->info().pid == info.pid);
  const auto until = Clock::now() + seconds(30);
  while (must(same->logs()).size < 17 && Clock::now() < until) std::this_thread::sleep_for(milliseconds(20));
  CHECK(must(same->logs()).content == "hello there\n/tmp\n");
  must(elsewhere.exec("touch /tmp/go-on"));
  const auto end = must(same->wait(seconds(60)));
  CHECK(end.status == CommandStatus::exited);
  CHECK(end.exit_code == 3);
  CHECK(command.info().status == CommandStatus::running);  // as it was last seen
  must(command.refresh());
  CHECK(command.info().exit_code == 3);
  const auto logs = must(command.logs(12));
  CHECK(logs.content == "/tmp\nend\n");
  CHECK(logs.start_offset == 12);
  CHECK(logs.next_offset() == 21);
  CHECK(logs.size == 21);
  CHECK_FALSE(logs.truncated);
  CHECK(must(must(elsewhere.command(info.id)).logs()).content == "hello there\n/tmp\nend\n");
  must(sandbox.exec("rm /tmp/go-on"));
}

TEST_CASE("background: an id that is none, and arguments that cannot be") {
  auto sandbox = shared_sandbox();
  for (const char* id : {"cmd_01J9Z30000000000000000000", "nonsense", "", "cmd_", "../x"}) {
    CAPTURE(id);
    must_fail(sandbox.command(id), ErrorCode::not_found);
  }
  must_fail(sandbox.start(""), ErrorCode::invalid_argument);
  ExecOptions options;
  options.tty = true;
  must_fail(sandbox.start("true", options), ErrorCode::invalid_argument);
  auto command = must(sandbox.start("sleep 30"));
  must_fail(command.wait(milliseconds(50)), ErrorCode::exec_timeout);
  must_fail(command.stream(0, seconds(0)), ErrorCode::invalid_argument);
  must(command.kill());
  ExecOptions nowhere;
  nowhere.cwd = "/no/such/place";
  CHECK_FALSE(sandbox.start("true", nowhere).ok());
}

TEST_CASE("background: followed to its end, from an offset, for a time, and left alone") {
  auto sandbox = shared_sandbox();
  auto command = must(sandbox.start("for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done; exit 6"));
  {
    auto stream = must(command.stream());
    auto first = must(stream.next());
    CHECK(first->data.substr(0, 7) == "line 1\n");
    CHECK_FALSE(first->is_final());
  }  // dropped
  const Followed all = follow(command);
  CHECK(all.output == "line 1\nline 2\nline 3\nline 4\nline 5\n");
  CHECK(all.exit_code == 6);
  CHECK(follow(command, 28).output == "line 5\n");

  auto quiet = must(sandbox.start("sleep 100"));
  const auto began = Clock::now();
  const Followed none = follow(quiet, 0, seconds(1));
  REQUIRE(none.error);
  CHECK(none.error->code() == ErrorCode::exec_timeout);
  CHECK(Clock::now() - began < seconds(15));
  must(quiet.refresh());
  CHECK(quiet.info().status == CommandStatus::running);
  std::thread killer([&] {
    std::this_thread::sleep_for(milliseconds(300));
    must(quiet.kill());
  });
  const Followed killed = follow(quiet);
  killer.join();
  REQUIRE(killed.error);
  CHECK(killed.error->code() == ErrorCode::exec_killed);
  CHECK(killed.error->details().signal == 15);
}

TEST_CASE("background: kill ends everything it started, setsid and traps included, and may be repeated") {
  auto sandbox = shared_sandbox();
  auto command =
      must(sandbox.start("trap '' TERM; setsid bash -c 'trap \"\" TERM; sleep 998 & echo $$ $! > /tmp/escaped; wait' & "
                         "while :; do sleep 1; done"));
  REQUIRE(comes(sandbox, "test -s /tmp/escaped"));
  must(command.kill());
  CHECK(command.info().status == CommandStatus::killed);
  CHECK_FALSE(command.info().exit_code.has_value());
  CHECK(must(sandbox.exec("read a b < /tmp/escaped; kill -0 $a")).exit_code == 1);
  CHECK(must(sandbox.exec("read a b < /tmp/escaped; kill -0 $b")).exit_code == 1);
  must(command.kill());
  CHECK(command.info().status == CommandStatus::killed);
  must(sandbox.exec("rm /tmp/escaped"));
}

TEST_CASE("background: more output than is kept") {
  if (left_out(Has::output_window)) return;  // a service keeps all of it
  auto sandbox = shared_sandbox();
  auto command = must(sandbox.start("head -c 6000000 /dev/zero | tr '\\0' a; printf end"));
  must(command.wait(seconds(120)));
  const auto first = must(command.logs());
  CHECK(first.size == 6'000'003);
  CHECK(first.start_offset == 6'000'003 - kRing);
  CHECK(first.truncated);
  std::string all;
  for (std::uint64_t at = 0; at < first.size;) {
    const auto part = must(command.logs(at));
    REQUIRE_FALSE(part.content.empty());
    all += part.content;
    at = part.next_offset();
  }
  CHECK(all == std::string(kRing - 3, 'a') + "end");
  const auto last = must(command.logs(6'000'000));
  CHECK(last.content == "end");
  CHECK_FALSE(last.truncated);
  // Who reads along gets all of it, however much that is.
  auto large = must(sandbox.start("head -c 20000000 /dev/zero"));
  const Followed followed = follow(large);
  CHECK(followed.exit_code == 0);
  CHECK(followed.output.size() == 20'000'000);
}

TEST_CASE("background: many at once, and the end of who started them") {
  auto options = create_options();
  auto sandbox = must(Sandbox::create(options, client()));
  std::vector<Operation<BackgroundCommand>> starting;
  {
    auto other = new_client();
    auto theirs = must(Sandbox::get(sandbox.id(), other));
    for (int i = 0; i < 200; ++i)
      starting.push_back(theirs.start_async(fmt::format("echo number {0}; sleep 0.{0:03}; exit {1}", i, i % 7)));
    for (auto& one : starting) must(one.get());
    other.close();
  }
  auto all = must(sandbox.commands());
  REQUIRE(all.size() == 200);
  for (auto& command : all) must(command.wait(seconds(120)));
  std::size_t right = 0;
  for (auto& command : all) {
    const int number = std::stoi(command.info().command.substr(12));
    const bool fine =
        must(command.logs()).content == fmt::format("number {}\n", number) && command.info().exit_code == number % 7;
    right += fine ? 1 : 0;
  }
  CHECK(right == 200);
  // They are in the activity log, and the oldest that have ended make room.
  if (left_out(Has::events, [&] { return sandbox.events(); })) return must(sandbox.terminate());
  const auto events = must(sandbox.events());
  CHECK(std::count_if(events.begin(), events.end(), [](const Event& event) {
          return event.kind == "command_start" && event.outcome == "ok";
        }) == 200);
  for (int i = 0; i < 60; ++i) must(sandbox.start("true"));
  CHECK(must(sandbox.commands()).size() == 256);
  must_fail(sandbox.command(all.front().id()), ErrorCode::not_found);
  must(sandbox.terminate());
  must_fail(sandbox.start("true"), ErrorCode::not_ready);
  must_fail(all.back().logs(), ErrorCode::not_ready);
}

TEST_CASE(
    "background: pause and resume; a command that was running in exec goes on, and is found with the rest of its "
    "output") {
  auto sandbox = must(Sandbox::create(create_options(), client()));
  auto counting = must(sandbox.start("for ((i = 0; ; ++i)); do echo $i; sleep 0.05; done"));
  auto stream = must(sandbox.exec_stream("echo before; while [ ! -e go-on ]; do sleep 0.05; done; echo after; exit 5"));
  CHECK(must(stream.next())->data == "before\n");
  must(sandbox.pause());
  CHECK_FALSE(stream.next().ok());
  auto resumed = must(Sandbox::resume(sandbox.id(), {}, client()));

  auto again = must(resumed.command(counting.id()));
  CHECK(again.info().status == CommandStatus::running);
  CHECK(again.info().pid == counting.info().pid);
  const auto logs = must(again.logs());
  REQUIRE(comes(resumed, "sleep 0.2"));
  CHECK(must(again.logs()).size > logs.size);
  std::string expected;
  for (int i = 0; expected.size() < logs.content.size(); ++i) expected += fmt::format("{}\n", i);
  CHECK(expected.substr(0, logs.content.size()) == logs.content);  // without a gap

  if (left_out(Has::lost_execs)) return must(resumed.terminate());
  auto all = must(resumed.commands());
  REQUIRE(all.size() == 2);
  auto& lost = all.back();
  CHECK(lost.info().command.substr(0, 11) == "echo before");
  CHECK(lost.info().status == CommandStatus::running);
  must(resumed.exec("touch go-on"));
  CHECK(must(lost.wait(seconds(60))).exit_code == 5);
  CHECK(must(lost.logs()).content == "after\n");
  CHECK(must(lost.logs()).start_offset == 7);
  const auto metrics = must(resumed.metrics());
  CHECK(metrics.lifetime_cpu_seconds > 0);
  must(resumed.terminate());
}

TEST_CASE("write_batch: each file has its own result") {
  auto files = shared_sandbox().files();
  must(shared_sandbox().exec("mkdir -p /workspace/taken"));
  std::string large(5U << 20U, '\0');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 2654435761U >> 13U);
  std::vector<BatchFile> batch;
  for (int i = 0; i < 20; ++i)
    batch.push_back({fmt::format("/workspace/batch/{}/file", i), fmt::format("content {}", i), 0644});
  batch.push_back({"/workspace/taken", "x", 0644});
  batch.push_back({"/workspace/batch/large", large, 0600});
  batch.push_back({"/workspace/batch/empty", "", 0644});
  const auto results = must(files.write_batch(batch));
  REQUIRE(results.size() == batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    CAPTURE(batch[i].path);
    CHECK(results[i].path == batch[i].path);
    if (batch[i].path == "/workspace/taken") {
      REQUIRE(results[i].error);
      CHECK(results[i].error->code() == ErrorCode::is_a_directory);
      CHECK(results[i].bytes_written == 0);
      continue;
    }
    CHECK_FALSE(results[i].error);
    CHECK(results[i].bytes_written == batch[i].content.size());
  }
  CHECK(must(files.read("/workspace/batch/7/file")) == "content 7");
  CHECK(must(files.read("/workspace/batch/large")) == large);
  CHECK(must(files.stat("/workspace/batch/large")).mode == 0600);
  CHECK(must(files.stat("/workspace/batch/empty")).size == 0);
  CHECK(must(files.write_batch({})).empty());
  must_fail(files.write_batch({{"/etc/passwd", "x", 0644}}), ErrorCode::not_permitted);
  must(shared_sandbox().exec("rm -r /workspace/batch /workspace/taken"));
}

TEST_CASE("metrics: idle, busy, and after the end") {
  auto sandbox = must(Sandbox::create(create_options(), client()));
  const auto idle = must(sandbox.metrics());
  CHECK(idle.sandbox_id == sandbox.id());
  CHECK(idle.status == Status::running);
  CHECK(idle.cpu_cores == 1);
  CHECK(idle.memory_limit_bytes == std::uint64_t{1024} << 20U);
  REQUIRE(idle.memory_usage_bytes);
  CHECK(*idle.memory_usage_bytes > 1U << 20U);
  CHECK(*idle.memory_usage_bytes < idle.memory_limit_bytes);
  REQUIRE(idle.samples.size() == 1);
  CHECK(idle.lifetime_cpu_seconds > 0);
  CHECK(idle.lifetime_gb_seconds > 0);

  auto busy = must(sandbox.start("exec python3 -c 'x = b\"x\" * 200_000_000\nwhile True: pass'"));
  Metrics now;
  const auto until = Clock::now() + seconds(60);
  do {
    std::this_thread::sleep_for(milliseconds(1100));
    now = must(sandbox.metrics());
  } while ((*now.memory_usage_bytes < *idle.memory_usage_bytes + 150'000'000 || now.cpu_usage_percent < 21.0) &&
           Clock::now() < until);
  CHECK(*now.memory_usage_bytes > *idle.memory_usage_bytes + 150'000'000);
  REQUIRE(now.cpu_usage_percent);
  CHECK(*now.cpu_usage_percent > 20);
  CHECK(now.samples.size() >= 2);
  CHECK(now.lifetime_cpu_seconds > idle.lifetime_cpu_seconds);
  CHECK(std::is_sorted(now.samples.begin(), now.samples.end(),
                       [](const auto& a, const auto& b) { return a.time < b.time; }));
  CHECK(must(sandbox.metrics(now.samples.back().time)).samples.front().time >= now.samples.back().time);
  CHECK(must(sandbox.metrics(std::chrono::system_clock::now() + seconds(60))).samples.empty());
  must(busy.kill());
  must(sandbox.terminate());
  const auto ended = must(sandbox.metrics());
  CHECK(ended.status == Status::terminated);
  CHECK_FALSE(ended.memory_usage_bytes);
  CHECK_FALSE(ended.cpu_usage_percent);
  CHECK(ended.samples.empty());
  CHECK(ended.lifetime_gb_seconds >= now.lifetime_gb_seconds);
  CHECK(ended.lifetime_cpu_seconds >= now.lifetime_cpu_seconds);
}

}  // namespace orkestr::testing
