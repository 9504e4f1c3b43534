// orkestr-supervisor as a process, up to where a VM would be needed: how it starts, refuses and cleans up.
#include <doctest/doctest.h>
#include <fcntl.h>
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

Started start(const std::string& option, std::vector<std::string> env = {}) {
  auto ends = base::socket_pair(SOCK_STREAM);
  auto pipe = base::make_pipe();
  base::ChildOptions options;
  options.argv = {ORKESTR_SUPERVISOR, option};
  options.env = std::move(env);
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

// What a supervisor starts for QEMU: a shell script, in the jail. And the files that a VM is made of, as far as anybody
// looks at them here.
class FakeQemu {
 public:
  explicit FakeQemu(const std::string& body) {
    std::filesystem::create_directory(path_);
    std::filesystem::permissions(path_, std::filesystem::perms(0755));
    put("qemu",
        "#!/bin/bash\n[[ $1 == --version ]] && { echo QEMU emulator version 7.2.22; exit; }\n" + body +
            "\n# first run\n",
        0755);
    for (const char* name : {"kernel", "initrd", "base", "scratch"}) put(name, std::string(4096, 'x'), 0444);
    std::string overlay = std::string("QFI\xfb", 4) + std::string(4092, '\0');
    overlay[23] = 16;  // cluster bits
    put("overlay", overlay, 0444);
  }
  ~FakeQemu() { std::filesystem::remove_all(path_); }
  FakeQemu(const FakeQemu&) = delete;
  FakeQemu& operator=(const FakeQemu&) = delete;

  // In place: the jail's rules are about this very file.
  void begin_second_run() {
    auto script = base::open_at(AT_FDCWD, path_ + "/qemu", O_WRONLY | O_APPEND);
    REQUIRE(script);
    REQUIRE(base::write_all(script->get(), "# second run\n"));
  }
  std::vector<std::string> env() const { return {"ORKESTR_QEMU=" + path_ + "/qemu"}; }
  wire::StartRequest request(const StateDirectory& state, const registry::Record& record) const {
    auto request = request_for(state, record);
    request.kernel = path_ + "/kernel";
    request.initrd = path_ + "/initrd";
    request.base_image = path_ + "/base";
    request.scratch_image = path_ + "/scratch";
    request.scratch_overlay = path_ + "/overlay";
    return request;
  }

 private:
  void put(const std::string& name, const std::string& content, int mode) {
    REQUIRE(base::write_file_atomic(path_ + "/" + name, content, static_cast<mode_t>(mode)));
  }
  const std::string path_ = "/tmp/orkestr-fake-qemu-" + base::make_ulid(base::wall_clock_ms());
};

int stages(const Peer& creator, const std::string& stage) {
  int count = 0;
  for (const auto& frame : creator.frames) {
    if (frame.type != Type::progress) continue;
    const auto message = wire::ProgressMessage::decode(frame.payload);
    if (message && message->stage == stage) ++count;
  }
  return count;
}

// Enough QMP for a start; no child processes, which the jail does not allow everywhere.
const std::string kBootingScript = R"(
second_run() { mapfile -t lines < "$0"; [[ ${lines[-1]} == "# second run" ]]; }
second_run && second=yes
printf '{"QMP":{"version":{"qemu":{"major":7,"minor":2,"micro":0}},"capabilities":[]}}\r\n' >&3
for ((answers = 0; answers < 3; answers++)); do
  read -r -u 3 line || exit 7
  [[ $line =~ \"id\":\ *([0-9]+) ]] || exit 8
  printf '{"return":{"status":"running"},"id":%s}\r\n' "${BASH_REMATCH[1]}" >&3
done
if [[ -n $second ]]; then
  read -r -t 60 -u 5
else
  until second_run; do read -r -t 0.02 -u 5; done
fi
)";

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

TEST_CASE("supervisor process: terminate while QEMU starts and says nothing ends it at once") {
  StateDirectory state;
  FakeQemu qemu("read -r -t 60 -u 5");
  const auto record = new_record();
  auto started = start(kOwnStamp, qemu.env());
  Peer& creator = *started.creator;
  creator.send(OutFrame(Type::start, 1, qemu.request(state, record).encode()));
  REQUIRE(pump_until(creator, [&] { return stages(creator, "boot") == 1 || creator.closed; }));
  ::usleep(300'000);  // it waits for the greeting
  creator.pump();
  REQUIRE_FALSE(creator.closed);
  const auto begin = std::chrono::steady_clock::now();
  creator.send(OutFrame(Type::terminate, 2));
  REQUIRE(pump_until(creator, [&] { return creator.closed; }));
  CHECK(std::chrono::steady_clock::now() - begin < 5s);
  CHECK(creator.error_of(1) == "cancelled");
  CHECK(creator.find(Type::result, 2).has_value());
  const auto entry = registry::inspect(state.sandboxes, record.id);
  REQUIRE(entry);
  CHECK(entry->record.status == "terminated");
}

TEST_CASE("supervisor process: a second boot is not taken for lost because the first one was") {
  StateDirectory state;
  FakeQemu qemu(kBootingScript);
  auto started = start(kOwnStamp, qemu.env());
  Peer& creator = *started.creator;
  creator.send(OutFrame(Type::start, 1, qemu.request(state, new_record()).encode()));
  auto reached = [&](int attempts) {
    return pump_until(creator, [&] { return stages(creator, "agent") == attempts || creator.closed; }) &&
           !creator.closed;
  };
  const auto said = [&] {
    const auto error = creator.find(Type::error, 1);
    return error ? wire::ErrorMessage::decode(error->payload)->message : "";
  };
  REQUIRE_MESSAGE(reached(1), said());
  qemu.begin_second_run();  // the first QEMU ends, and with it its agent's channel
  REQUIRE_MESSAGE(reached(2), said());
  const auto later = base::Deadline::after(700ms);
  pump_until(creator, [&] { return creator.closed || later.expired(); });
  CHECK_MESSAGE(!creator.closed, said());  // it waits for the agent
  creator.send(OutFrame(Type::terminate, 2));
  REQUIRE(pump_until(creator, [&] { return creator.closed; }));
  CHECK(creator.error_of(1) == "cancelled");
}
