// orkestr-supervisor as a process, up to where a VM would be needed: how it starts, refuses and cleans up.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

#include "base/build_stamp.hpp"
#include "base/child.hpp"
#include "base/file.hpp"
#include "base/id.hpp"
#include "base/system.hpp"
#include "registry/registry.hpp"
#include "supervisor_support.hpp"

using namespace orkestr;
using namespace orkestr::test;
using namespace std::chrono_literals;
using wire::OutFrame;
using wire::Type;

namespace {

const std::string kOwnStamp = std::string("--stamp=") + base::kBuildStamp;

struct Started {
  std::unique_ptr<Peer> creator;
  base::Child first;    // exits at once
  base::UniqueFd pipe;  // the read end of a pipe that the supervisor inherits as its stdout
};

Started start(const std::string& option) {
  auto ends = base::socket_pair(SOCK_STREAM);
  auto pipe = base::make_pipe();
  base::ChildOptions options;
  options.argv = {ORKESTR_SUPERVISOR, option};
  options.fds = {{ends->second.get(), 3}, {pipe->second.get(), 1}, {pipe->second.get(), 9}};
  auto child = base::Child::start(options);
  REQUIRE(child.ok());
  return {std::make_unique<Peer>(std::move(ends->first), wire::Receiver::client), std::move(*child),
          std::move(pipe->first)};
}

bool pump_until(Peer& peer, const std::function<bool()>& done) {
  const auto deadline = base::Deadline::after(20s);
  while (!done() && !deadline.expired()) {
    peer.pump();
    ::usleep(500);
  }
  return done();
}

struct StateDirectory {
  std::string path = "/tmp/orkestr-supervisor-test-" + base::make_ulid(base::wall_clock_ms());
  std::string sandboxes = *registry::prepare_state_directory(path);
  ~StateDirectory() { std::filesystem::remove_all(path); }
};

registry::Record new_record() {
  registry::Record record;
  record.id = base::make_sandbox_id();
  record.status = "starting";
  record.template_name = "none";
  record.created_at_ms = base::wall_clock_ms();
  return record;
}

wire::StartRequest request_for(const StateDirectory& state, const registry::Record& record) {
  wire::StartRequest request;
  request.record = record.to_json();
  request.sandboxes_dir = state.sandboxes;
  request.kernel = "/nonexistent/vmlinux";
  request.initrd = request.base_image = request.scratch_image = request.scratch_overlay = "/nonexistent/file";
  request.stamp_dir = state.path;
  request.uid_lock_file = state.path + "/uids";
  request.accelerator = "tcg";
  return request;
}

}  // namespace

TEST_CASE("supervisor process: it tells its version, and refuses to be started by hand") {
  base::ChildOptions options;
  options.argv = {ORKESTR_SUPERVISOR, "--version"};
  auto version = base::run_child(options, base::Deadline::after(10s));
  REQUIRE(version.ok());
  CHECK(version->output.find(base::kBuildStamp) != std::string::npos);
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{}, {kOwnStamp}, {"--help", "x"}}) {
    options.argv = {ORKESTR_SUPERVISOR};
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    auto refused = base::run_child(options, base::Deadline::after(10s));
    REQUIRE(refused.ok());
    CHECK(refused->status.code == 2);
    CHECK(refused->output.find("by hand") != std::string::npos);
  }
}

TEST_CASE("supervisor process: the first process exits at once and no inherited pipe stays open") {
  auto started = start(kOwnStamp);
  auto status = started.first.wait(base::Deadline::after(10s));
  REQUIRE(status.ok());
  REQUIRE(status->has_value());
  CHECK((*status)->success());
  // The second process lives: it answers. And yet the pipe is at its end.
  REQUIRE(pump_until(*started.creator, [&] { return started.creator->established(); }));
  pollfd pipe{started.pipe.get(), POLLIN, 0};
  REQUIRE(::poll(&pipe, 1, 10'000) == 1);
  char byte = 0;
  CHECK(::read(started.pipe.get(), &byte, 1) == 0);
  CHECK_FALSE(started.creator->closed);
}

TEST_CASE("supervisor process: another build's library is refused by name") {
  StateDirectory state;
  auto started = start("--stamp=0.6.9/wire0");
  started.creator->send(OutFrame(Type::start, 1, request_for(state, new_record()).encode()));
  REQUIRE(pump_until(*started.creator, [&] { return started.creator->closed; }));
  const auto error = started.creator->find(Type::error, 1);
  REQUIRE(error.has_value());
  const auto message = wire::ErrorMessage::decode(error->payload);
  CHECK(message->message.find("0.6.9/wire0") != std::string::npos);
  CHECK(message->message.find(base::kBuildStamp) != std::string::npos);
  CHECK(std::filesystem::is_empty(state.sandboxes));
}

TEST_CASE("supervisor process: a VM that cannot start is an answer with its stage, a final record and nothing else") {
  StateDirectory state;
  const auto record = new_record();
  auto started = start(kOwnStamp);
  started.creator->send(OutFrame(Type::start, 1, request_for(state, record).encode()));
  REQUIRE(pump_until(*started.creator, [&] { return started.creator->closed; }));
  const auto error = started.creator->find(Type::error, 1);
  REQUIRE(error.has_value());
  const auto message = wire::ErrorMessage::decode(error->payload);
  CHECK(message->code == "vm_failed");
  CHECK_FALSE(message->stage.empty());
  const auto names = base::list_directory(state.sandboxes + "/" + record.id);
  REQUIRE(names.ok());
  CHECK(*names == std::vector<std::string>{"events.jsonl", "record.json"});
  const auto entry = registry::inspect(state.sandboxes, record.id);
  REQUIRE(entry.ok());
  CHECK(entry->record.status == "failed");
  CHECK(entry->record.end_reason.starts_with("failed: "));
}

TEST_CASE("supervisor process: requests it cannot serve are answered, then it is gone") {
  StateDirectory state;
  auto record = new_record();
  auto request = request_for(state, record);
  SUBCASE("a network it does not have") {
    record.network = "open";
    request.record = record.to_json();
  }
  SUBCASE("a timeout out of range") {
    record.timeout_seconds = 0;
    request.record = record.to_json();
  }
  SUBCASE("a record that is none") { request.record = "{}"; }
  auto started = start(kOwnStamp);
  started.creator->send(OutFrame(Type::start, 1, request.encode()));
  REQUIRE(pump_until(*started.creator, [&] { return started.creator->closed; }));
  CHECK(started.creator->find(Type::error, 1).has_value());
  CHECK(std::filesystem::is_empty(state.sandboxes));
}

TEST_CASE("supervisor process: several terminates before there is anything are all answered") {
  auto started = start(kOwnStamp);
  for (std::uint32_t id = 1; id <= 3; ++id) started.creator->send(OutFrame(Type::terminate, id));
  REQUIRE(pump_until(*started.creator, [&] { return started.creator->closed; }));
  for (std::uint32_t id = 1; id <= 3; ++id) CHECK(started.creator->error_of(id) == "not_ready");
}
