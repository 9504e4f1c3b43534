#include <algorithm>

#include "support/suite.hpp"

namespace orkestr::testing {

TEST_CASE("create: what is known about a running sandbox") {
  auto info = shared_sandbox().info();
  CHECK(info.id.substr(0, 4) == "sbx_");
  CHECK(info.id.size() == 30);
  CHECK(info.status == Status::running);
  CHECK(info.template_name == kTemplate);
  CHECK(info.network == Network::off);
  CHECK(info.cpu == 1);
  CHECK(info.memory_mb == 1024);
  CHECK_FALSE(info.backend.empty());
  CHECK(info.expires_at > info.created_at);
  CHECK(info.expires_at > std::chrono::system_clock::now());
}

TEST_CASE("get, list and terminate; ended sandboxes stay in the history") {
  auto options = create_options();
  options.metadata = {{"purpose", "contract"}, {"n", "1"}};
  options.env = {{"GREETING", "hello"}};
  auto sandbox = must(Sandbox::create(options, client()));
  CHECK(must(sandbox.exec("echo $GREETING")).stdout_data == "hello\n");

  auto same = must(Sandbox::get(sandbox.id(), client()));
  CHECK(same.info().metadata == options.metadata);
  CHECK(must(same.exec("echo again")).stdout_data == "again\n");

  ListOptions mine;
  mine.metadata = {{"purpose", "contract"}};
  auto found = must(Sandbox::list(mine, client()));
  REQUIRE(found.size() == 1);
  CHECK(found[0].id == sandbox.id());
  mine.metadata["n"] = "2";
  CHECK(must(Sandbox::list(mine, client())).empty());

  must(sandbox.terminate());
  must(sandbox.terminate());
  must(same.terminate());
  CHECK(sandbox.info().status == Status::terminated);
  must_fail(same.exec("true"), ErrorCode::not_ready);
  must_fail(sandbox.files().read("/etc/passwd"), ErrorCode::not_ready);
  auto ended = must(Sandbox::get(sandbox.id(), client()));
  CHECK(ended.info().status == Status::terminated);
  ListOptions terminated;
  terminated.status = Status::terminated;
  auto history = must(Sandbox::list(terminated, client()));
  CHECK(std::any_of(history.begin(), history.end(), [&](const SandboxInfo& info) { return info.id == sandbox.id(); }));
}

TEST_CASE("events: what happened, oldest first, also after the end") {
  auto sandbox = must(Sandbox::create(create_options(), client()));
  must(sandbox.files().write("/workspace/told", "x"));
  must(sandbox.exec("exit 3"));
  const auto events = must(sandbox.events());
  REQUIRE(events.size() == 4);
  CHECK(events[0].kind == "created");
  CHECK(events[1].kind == "running");
  CHECK(events[2].kind == "file_write");
  CHECK(events[2].path == "/workspace/told");
  CHECK(events[2].outcome == "ok");
  CHECK(events[3].kind == "exec");
  CHECK(events[3].exit_code == 3);
  CHECK(events[3].duration_ms.has_value());
  CHECK(must(sandbox.events({events[3].time, 100})).back().json == events[3].json);
  CHECK(must(sandbox.events({events[3].time + std::chrono::hours(1), 100})).empty());
  CHECK(must(sandbox.events({std::nullopt, 1})).front().kind == "exec");
  CHECK(sandbox.events({std::nullopt, 0}).error().code() == ErrorCode::invalid_argument);
  must(sandbox.terminate());
  CHECK(must(sandbox.events()).back().kind == "terminated");
}

TEST_CASE("list: newest first, and max_results") {
  shared_sandbox();
  auto all = must(Sandbox::list({}, client()));
  REQUIRE_FALSE(all.empty());
  CHECK(std::is_sorted(all.begin(), all.end(),
                       [](const SandboxInfo& a, const SandboxInfo& b) { return a.created_at > b.created_at; }));
  ListOptions one;
  one.max_results = 1;
  CHECK(must(Sandbox::list(one, client())).size() == 1);
}

TEST_CASE("the timeout ends a sandbox") {
  auto options = create_options();
  options.timeout = std::chrono::seconds(10);
  auto sandbox = must(Sandbox::create(options, client()));
  ExecOptions long_one;
  long_one.timeout = std::chrono::seconds(60);
  auto result = sandbox.exec("sleep 30", long_one);
  REQUIRE_FALSE(result.ok());
  CHECK(result.error().message().find("timeout") != std::string::npos);
  must(sandbox.refresh());
  CHECK(sandbox.info().status == Status::terminated);
  CHECK(sandbox.info().end_reason == "timeout");
}

TEST_CASE("a guest that powers off is a failed sandbox with a reason") {
  auto sandbox = must(Sandbox::create(create_options(), client()));
  auto result = sandbox.exec("echo o > /proc/sysrq-trigger; sleep 20");
  CHECK_FALSE(result.ok());
  must(sandbox.refresh());
  CHECK(sandbox.info().status == Status::failed);
  CHECK_FALSE(sandbox.info().end_reason.empty());
  must(sandbox.terminate());
}

TEST_CASE("what is not there yet says so") {
  for (Network network : {Network::restricted, Network::open}) {
    auto options = create_options();
    options.network = network;
    must_fail(Sandbox::create(options, client()), ErrorCode::not_supported);
  }
}

TEST_CASE("create and get: refused arguments") {
  auto options = create_options();
  options.template_name = "no-such-template";
  CHECK(
      must_fail(Sandbox::create(options, client()), ErrorCode::template_not_found).message().find("no-such-template") !=
      std::string::npos);
  options = create_options();
  options.timeout = std::chrono::seconds(1);
  must_fail(Sandbox::create(options, client()), ErrorCode::invalid_argument);
  options = create_options();
  options.memory_mb = 5;
  must_fail(Sandbox::create(options, client()), ErrorCode::invalid_argument);
  must_fail(Sandbox::create({}, client()), ErrorCode::invalid_argument);
  must_fail(Sandbox::get("sbx_01ARZ3NDEKTSV4RRFFQ69G5FAV", client()), ErrorCode::not_found);
  must_fail(Sandbox::get("../../etc", client()), ErrorCode::not_found);
}

TEST_CASE("create: a disk of its own size, and a fraction of a CPU or the reason why not") {
  auto options = create_options();
  options.disk_mb = 20000;
  options.cpu = 0.5;
  auto sandbox = must(Sandbox::create(options, client()));
  CHECK(sandbox.info().disk_mb == 20000);
  const bool rounded_up = sandbox.info().cpu == 1 && !sandbox.info().cpu_reason.empty();
  const bool held = sandbox.info().cpu == 0.5 && sandbox.info().cpu_reason.empty();
  CHECK((rounded_up || held));
  CHECK(must(sandbox.exec("nproc")).stdout_data == "1\n");
  const auto mib = std::stol(must(sandbox.exec("df --output=size -BM / | tail -1 | tr -dc 0-9")).stdout_data);
  CHECK(mib > 20000 * 95 / 100);
  CHECK(mib <= 20000);
  // What was added can be written to.
  CHECK(must(sandbox.exec(
                 "fallocate -l 12G /workspace/large && echo end | dd of=/workspace/large bs=1M seek=12000 conv=notrunc "
                 "status=none && tail -c +$((12000 << 20 | 1)) /workspace/large | head -c 3"))
            .stdout_data == "end");
  must(sandbox.terminate());
}

}  // namespace orkestr::testing
