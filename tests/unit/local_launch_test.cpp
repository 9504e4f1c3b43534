// Making a sandbox, against a scripted supervisor on the inherited connection.
#include <doctest/doctest.h>

#include <future>

#include "core/io_thread.hpp"
#include "local/launch.hpp"
#include "local/supervisor_path.hpp"
#include "local_fake_supervisor.hpp"

using namespace orkestr;
using namespace orkestr::local_test;
using namespace std::chrono_literals;

namespace {

using Made = Result<local::Launch::Made>;

// A launch whose supervisor is `script`; its process is the shell command `program`.
class Launching {
 public:
  explicit Launching(Peer::Script script) : thread_(must(core::IoThread::create())) {
    auto ends = must(base::socket_pair(SOCK_STREAM));
    record_.id = base::make_sandbox_id();
    record_.status = "running";
    wire::StartRequest request;
    request.record = record_.to_json();
    request.sandboxes_dir = home_.sandboxes();
    local::StartedSupervisor started;
    started.socket = std::move(ends.first);
    launch_ = std::make_shared<local::Launch>(*thread_, ledger_, std::move(started), request, record_.id,
                                              [this](Made made) { answer_.set_value(std::move(made)); });
    peer_ = std::thread([this, script, fd = std::make_shared<base::UniqueFd>(std::move(ends.second))] {
      Peer peer(std::move(*fd));
      peer.serve(script, stop_);
      client_gone_ = true;
    });
    REQUIRE(thread_->post([launch = launch_] { launch->begin(); }));
  }
  ~Launching() {
    launch_.reset();
    thread_->close([] {});
    stop_ = true;
    peer_.join();
  }
  Made wait() {
    auto future = answer_.get_future();
    REQUIRE(future.wait_for(5s) == std::future_status::ready);
    return future.get();
  }
  const registry::Record& record() const { return record_; }
  local::Launch& launch() { return *launch_; }
  bool client_gone() {
    for (int i = 0; i < 500 && !client_gone_; ++i) std::this_thread::sleep_for(10ms);
    return client_gone_;
  }

 private:
  TemporaryHome home_;
  std::shared_ptr<core::IoThread> thread_;
  local::ForkLedger ledger_;
  registry::Record record_;
  std::shared_ptr<local::Launch> launch_;
  std::promise<Made> answer_;
  std::atomic<bool> stop_{false}, client_gone_{false};
  std::thread peer_;
};

std::string record_of(const wire::Frame& frame) { return must(wire::StartRequest::decode(frame.payload)).record; }

void progress(Peer& peer, std::uint32_t id, const std::string& stage) {
  wire::ProgressMessage message;
  message.stage = stage;
  peer.send(wire::OutFrame(wire::Type::progress, id, message.encode()));
}

}  // namespace

TEST_CASE("start, progress, result, acknowledge") {
  std::atomic<bool> acknowledged{false};
  Launching launching([&](Peer& peer, const wire::Frame& frame) {
    if (frame.type == wire::Type::start) {
      progress(peer, frame.id, "boot");
      progress(peer, frame.id, "agent");
      peer.result(frame.id, wire::RecordMessage{record_of(frame)}.encode());
    }
    if (frame.type == wire::Type::acknowledge) {
      acknowledged = true;
      peer.result(frame.id);
    }
  });
  auto made = launching.wait();
  REQUIRE_MESSAGE(made, made.error().message());
  CHECK(acknowledged);
  CHECK(made->record.id == launching.record().id);
  CHECK(made->link->id() == launching.record().id);
}

TEST_CASE("what goes wrong during a start is a vm_failed with its stage") {
  std::string how;
  SUBCASE("the supervisor says so") { how = "error"; }
  SUBCASE("it dies in the middle") { how = "close"; }
  SUBCASE("it makes another sandbox") { how = "other"; }
  SUBCASE("it answers nonsense") { how = "nonsense"; }
  Launching launching([how](Peer& peer, const wire::Frame& frame) {
    if (frame.type != wire::Type::start) return;
    progress(peer, frame.id, "boot");
    if (how == "error") {
      ErrorDetails details;
      details.stage = "boot";
      details.console_tail = "Kernel panic";
      peer.error(frame.id, Error(ErrorCode::vm_failed, "the guest did not boot", details));
    }
    if (how == "close") peer.close();
    registry::Record other;
    other.id = base::make_sandbox_id();
    other.status = "running";
    if (how == "other") peer.result(frame.id, wire::RecordMessage{other.to_json()}.encode());
    if (how == "nonsense") peer.result(frame.id, "nonsense");
  });
  auto made = launching.wait();
  REQUIRE_FALSE(made);
  CAPTURE(made.error().message());
  if (how == "nonsense") {
    CHECK(made.error().code() == ErrorCode::connection);
  } else {
    CHECK(made.error().code() == ErrorCode::vm_failed);
    CHECK(made.error().details().stage == "boot");
  }
  if (how == "error") CHECK(made.error().details().console_tail == "Kernel panic");
  CHECK(launching.client_gone());  // so the supervisor ends what it began
}

TEST_CASE("a cancelled create closes the connection, so that the supervisor ends the sandbox") {
  Launching launching([](Peer&, const wire::Frame&) {});
  std::this_thread::sleep_for(20ms);
  launching.launch().cancel();
  auto made = launching.wait();
  REQUIRE_FALSE(made);
  CHECK(made.error().code() == ErrorCode::cancelled);
  CHECK(launching.client_gone());
}

TEST_CASE("a supervisor that refuses to begin is told by its exit code") {
  TemporaryHome home;
  const std::string program = home.path() + "/supervisor";
  must(base::write_file_atomic(program, "#!/bin/sh\nexit 42\n", 0700));
  auto thread = must(core::IoThread::create());
  local::ForkLedger ledger;
  std::promise<Made> answer;
  auto launch =
      std::make_shared<local::Launch>(*thread, ledger, must(local::start_supervisor(program)), wire::StartRequest{},
                                      base::make_sandbox_id(), [&](Made made) { answer.set_value(std::move(made)); });
  REQUIRE(thread->post([launch] { launch->begin(); }));
  auto made = answer.get_future().get();
  launch.reset();
  thread->close([] {});
  REQUIRE_FALSE(made);
  CHECK(made.error().code() == ErrorCode::vm_failed);
  CHECK_MESSAGE(made.error().message().find("exit code 42") != std::string::npos, made.error().message());
}

TEST_CASE("helpers that are not there: the error names every place that was looked at") {
  TemporaryHome home;
  ::setenv("ORKESTR_LIBEXEC", home.path().c_str(), 1);
  auto missing = local::find_libexec();
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code() == ErrorCode::vm_failed);
  CHECK(missing.error().message().find(home.path()) != std::string::npos);
  CHECK(missing.error().message().find("ORKESTR_LIBEXEC") != std::string::npos);
  for (const char* name : {"/orkestr-supervisor", "/orkestr-agent"}) {
    must(base::write_file_atomic(home.path() + name, "#!/bin/sh\n", 0755));
  }
  CHECK(must(local::find_libexec()) == home.path());
  ::unsetenv("ORKESTR_LIBEXEC");
}

TEST_CASE("a peer that says nothing: the call ends when its patience does") {
  auto thread = must(core::IoThread::create());
  local::ForkLedger ledger;
  auto ends = must(base::socket_pair(SOCK_STREAM));
  std::atomic<bool> stop{false};
  std::thread peer_thread([&, fd = std::make_shared<base::UniqueFd>(std::move(ends.second))] {
    Peer peer(std::move(*fd));
    peer.serve([](Peer&, const wire::Frame&) {}, stop);
  });
  local::CallRequest request;
  request.type = wire::Type::file_stat;
  request.what = "stat /x";
  request.patience = {100ms, true};
  auto call = std::make_shared<local::Call>(*thread, std::move(request));
  std::promise<Error> answer;
  call->on_ready([&, weak = std::weak_ptr<local::Call>(call)] {
    if (auto outcome = weak.lock()->take()) answer.set_value(outcome->error());
  });
  std::shared_ptr<local::Connection> connection;
  REQUIRE(thread->post([&] {
    connection = must(local::Connection::create(*thread, ledger, std::move(ends.first), nullptr));
    connection->open(call, nullptr);
  }));
  const Error error = answer.get_future().get();
  CHECK(error.code() == ErrorCode::connection);
  CHECK(error.message().find("stat /x") != std::string::npos);
  thread->close([&] { connection.reset(); });
  stop = true;
  peer_thread.join();
}
