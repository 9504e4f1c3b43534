// Links and calls on a loop that the test turns by hand: who lets go of what where, supervisors that hang, order of
// input, memory of output that nobody reads.
#include <doctest/doctest.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "local/call.hpp"
#include "local/connection.hpp"
#include "local/link.hpp"
#include "local/session.hpp"
#include "local_fake_supervisor.hpp"
#include "orkestr/orkestr.hpp"

using namespace orkestr;
using namespace orkestr::local_test;
using namespace std::chrono_literals;

namespace {

class HandLoop final : public IoLoop {
 public:
  HandLoop() : reactor_(must(base::Reactor::create())) {}
  bool post(std::function<void()> task) override {
    if (closed) return false;
    if (before_post) before_post();
    reactor_->post(std::move(task));
    return true;
  }
  base::Reactor& reactor() override { return *reactor_; }
  bool forked() const override { return false; }
  bool until(const std::function<bool()>& done, std::chrono::seconds limit = 5s) {
    const auto deadline = base::Deadline::after(limit);
    while (!done() && !deadline.expired()) reactor_->run_once(5);
    return done();
  }
  std::atomic<bool> closed{false};
  std::function<void()> before_post;

 private:
  std::unique_ptr<base::Reactor> reactor_;
};

std::shared_ptr<local::Call> stat_call(IoLoop& loop) {
  local::CallRequest request;
  request.type = wire::Type::file_stat;
  request.what = "stat /x";
  return std::make_shared<local::Call>(loop, std::move(request));
}

struct World {
  explicit World(Peer::Script script) : supervisor(home.sandboxes(), std::move(script)) {}
  std::shared_ptr<local::Link> make_link(local::LinkPatience patience = {}) {
    return std::make_shared<local::Link>(*loop, ledger, home.sandboxes(), supervisor.id(), patience);
  }
  TemporaryHome home;
  FakeSupervisor supervisor;
  local::ForkLedger ledger;
  std::shared_ptr<HandLoop> loop = std::make_shared<HandLoop>();
  std::shared_ptr<local::LinkTable> links = std::make_shared<local::LinkTable>();
};

// A supervisor that claimed its sandbox and accepts nobody.
struct Deaf {
  explicit Deaf(const std::string& sandboxes) {
    record.id = base::make_sandbox_id();
    record.status = "running";
    directory.emplace(must(registry::OwnedDirectory::create(sandboxes, record)));
    listener = must(registry::listen(*directory));
    must(directory->end_transition());
  }
  registry::Record record;
  std::optional<registry::OwnedDirectory> directory;
  base::UniqueFd listener;
};

}  // namespace

TEST_CASE("a link goes on the loop's thread: when its session does, and at the latest when the client closes") {
  World world([](Peer&, const wire::Frame&) {});
  auto link = world.make_link();
  const std::weak_ptr<local::Link> weak = link;
  auto session = std::make_unique<local::LocalSession>(world.loop, world.links, std::move(link));
  auto stream = session->read_file("/x");
  REQUIRE(world.loop->until([&] { return world.supervisor.connections() == 1; }));
  SUBCASE("with its session, once no call needs it") {
    session.reset();
    CHECK_FALSE(weak.expired());
    stream.reset();
    CHECK(world.loop->until([&] { return weak.expired(); }));
    CHECK(world.links->take_all().empty());
  }
  SUBCASE("the client closes, and the session goes while its loop takes no more tasks") {
    stream.reset();
    REQUIRE(world.loop->until([&] { return weak.use_count() == 2; }));
    world.loop->closed = true;
    session.reset();
    CHECK_FALSE(weak.expired());  // this could be any thread
    for (const auto& held : world.links->take_all()) held->shut_down(Error(ErrorCode::cancelled, "closed"));
    CHECK(weak.expired());
  }
  SUBCASE("a link without a session is shut down too while a call needs it") {
    session.reset();
    world.loop->until([] { return false; }, 0s);
    for (const auto& held : world.links->take_all()) held->shut_down(Error(ErrorCode::cancelled, "closed"));
    auto item = stream->take();
    REQUIRE(item);
    CHECK(item->error().code() == ErrorCode::cancelled);
  }
}

TEST_CASE("sandboxes dropped beside a client that closes") {
  TemporaryHome home;
  FakeSupervisor supervisor(home.sandboxes(), [](Peer& peer, const wire::Frame& frame) {
    if (frame.type == wire::Type::exec) peer.stream(frame.id, 1U << 20U);
  });
  for (int round = 0; round < 30; ++round) {
    auto client = must(Client::open({BackendKind::local, {}, {}, 30s}));
    auto sandbox = std::make_unique<Sandbox>(must(Sandbox::get(supervisor.id(), client)));
    auto pending = std::make_unique<Operation<ExecResult>>(sandbox->exec_async("cat"));
    std::this_thread::sleep_for(std::chrono::microseconds(100 * round));
    std::thread closer([&] { client.close(); });
    sandbox.reset();
    REQUIRE(pending->wait(5s));
    pending.reset();
    closer.join();
  }
}

TEST_CASE("a supervisor whose queue is full holds up nobody but its own callers, and those not for long") {
  TemporaryHome home;
  Deaf deaf(home.sandboxes());
  HandLoop loop;
  local::ForkLedger ledger;
  std::vector<base::UniqueFd> queued;
  while (auto client = must(registry::connect(home.sandboxes(), deaf.record.id))) queued.push_back(std::move(*client));
  auto call = stat_call(loop);
  auto second = stat_call(loop);
  const auto begin = std::chrono::steady_clock::now();
  SUBCASE("it stays full") {
    auto link = std::make_shared<local::Link>(loop, ledger, home.sandboxes(), deaf.record.id,
                                              local::LinkPatience{100ms, 100ms, 100ms});
    link->submit(call);
    link->submit(second);
    CHECK(std::chrono::steady_clock::now() - begin < 50ms);
    CHECK_FALSE(call->finished());
    REQUIRE(loop.until([&] { return call->finished() && second->finished(); }));
    const Error error = call->take()->error();
    CHECK(error.code() == ErrorCode::not_ready);
    CHECK_MESSAGE(error.message().find("terminate it") != std::string::npos, error.message());
    CHECK(std::chrono::steady_clock::now() - begin < 2s);
  }
  SUBCASE("there is room again") {
    auto link = std::make_shared<local::Link>(loop, ledger, home.sandboxes(), deaf.record.id);
    link->submit(call);
    link->submit(second);
    loop.until([] { return false; }, 0s);
    for (std::size_t i = 0; i < queued.size(); ++i) {
      const base::UniqueFd accepted(::accept4(deaf.listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }
    base::UniqueFd accepted;
    CHECK(loop.until([&] {
      if (!accepted) accepted.reset(::accept4(deaf.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      return bool(accepted);
    }));
    CHECK_FALSE(call->finished());
    link->shut_down(Error(ErrorCode::cancelled, "closed"));
    CHECK(call->take()->error().code() == ErrorCode::cancelled);
    CHECK(second->take()->error().code() == ErrorCode::cancelled);
  }
  SUBCASE("the client closes meanwhile") {
    auto link = std::make_shared<local::Link>(loop, ledger, home.sandboxes(), deaf.record.id);
    link->submit(call);
    link->shut_down(Error(ErrorCode::cancelled, "closed"));
    CHECK(call->take()->error().code() == ErrorCode::cancelled);
    loop.until([] { return false; }, 0s);
  }
}

TEST_CASE("terminate ends a supervisor that hangs") {
  TemporaryHome home;
  auto ready = must(base::make_pipe());
  const pid_t supervisor = ::fork();
  if (supervisor == 0) {
    ::prctl(PR_SET_NAME, "orkestr-supervisor");
    Deaf deaf(home.sandboxes());
    (void)!::write(ready.second.get(), deaf.record.id.data(), deaf.record.id.size());
    ::raise(SIGSTOP);
    ::_exit(0);
  }
  std::string id(64, '\0');
  const ssize_t length = ::read(ready.first.get(), id.data(), id.size());
  REQUIRE(length > 0);
  id.resize(static_cast<std::size_t>(length));
  HandLoop loop;
  local::ForkLedger ledger;
  auto link = std::make_shared<local::Link>(loop, ledger, home.sandboxes(), id, local::LinkPatience{100ms, 200ms, 5s});
  std::optional<Result<registry::Record>> record;
  const auto begin = std::chrono::steady_clock::now();
  SUBCASE("it takes connections") {}
  SUBCASE("its queue is full") {
    std::vector<base::UniqueFd> queued;
    while (auto client = must(registry::connect(home.sandboxes(), id))) queued.push_back(std::move(*client));
  }
  link->terminate([&](Result<registry::Record> result) { record.emplace(std::move(result)); });
  CHECK(loop.until([&] { return record.has_value(); }));
  CHECK(std::chrono::steady_clock::now() - begin >= 200ms);
  int status = 0;
  // (Its locks are free a moment before it can be waited for.)
  pid_t ended = 0;
  for (int i = 0; i < 100 && ended == 0; ++i) {
    ended = ::waitpid(supervisor, &status, WNOHANG);
    if (ended == 0) ::usleep(10'000);
  }
  CHECK(ended == supervisor);
  if (ended != supervisor) {
    ::kill(supervisor, SIGKILL);
    ::waitpid(supervisor, &status, 0);
  }
  REQUIRE(record);
  REQUIRE_MESSAGE(record->ok(), (*record ? "" : record->error().message()));
  CHECK((*record)->status == "failed");
}

TEST_CASE("terminate of a hung supervisor that cannot be found says so") {
  World world([](Peer&, const wire::Frame&) {});  // it is in this process, and bears another name
  auto link = world.make_link({100ms, 100ms, 5s});
  std::optional<Result<registry::Record>> record;
  link->terminate([&](Result<registry::Record> result) { record.emplace(std::move(result)); });
  REQUIRE(world.loop->until([&] { return record.has_value(); }));
  REQUIRE_FALSE(record->ok());
  CHECK(record->error().code() == ErrorCode::vm_failed);
  CHECK(record->error().details().stage == "terminate");
}

TEST_CASE("what one thread offers goes before the end that another one declares meanwhile") {
  HandLoop loop;
  local::ForkLedger ledger;
  auto ends = must(base::socket_pair(SOCK_STREAM));
  std::string received;
  std::atomic<bool> ended{false}, after_end{false}, stop{false};
  std::thread peer_thread([&, fd = std::make_shared<base::UniqueFd>(std::move(ends.second))] {
    Peer peer(std::move(*fd));
    peer.serve(
        [&](Peer&, const wire::Frame& frame) {
          if (frame.type != wire::Type::data) return;
          if (ended) after_end = true;
          received += frame.payload;
          if (frame.end_of_stream()) ended = true;
        },
        stop);
  });
  local::CallRequest request;
  request.type = wire::Type::file_write;
  request.has_input = true;
  auto call = std::make_shared<local::Call>(loop, std::move(request));
  auto connection = must(local::Connection::create(loop, ledger, std::move(ends.first), nullptr));
  connection->open(call, nullptr);
  std::thread offering([&] {
    const auto self = std::this_thread::get_id();
    loop.before_post = [self] {
      if (std::this_thread::get_id() == self) std::this_thread::sleep_for(50ms);
    };
    CHECK(call->offer("the content") == 11);
  });
  std::this_thread::sleep_for(20ms);
  call->end_input();
  offering.join();
  CHECK(loop.until([&] { return ended.load(); }));
  loop.until([] { return false; }, 0s);
  stop = true;
  peer_thread.join();
  CHECK_FALSE(after_end);
  CHECK(received == "the content");
}

TEST_CASE("output in single bytes of both streams in turn costs little more than its window, and keeps its order") {
  HandLoop loop;
  local::CallRequest request;
  request.type = wire::Type::exec;
  auto call = std::make_shared<local::Call>(loop, std::move(request));
  auto feed = [&](wire::Stream stream, char byte) {
    wire::Frame frame;
    frame.type = wire::Type::data;
    frame.flags = static_cast<std::uint8_t>(stream);
    frame.payload = std::string_view(&byte, 1);
    REQUIRE(call->receive(frame));
  };
  const auto before = mallinfo2().uordblks;
  for (std::uint32_t i = 0; i < wire::kInitialCredit; ++i) {
    feed(i % 2 == 0 ? wire::Stream::output : wire::Stream::error_output, static_cast<char>(i / 2 * 2654435761U >> 24U));
  }
  CHECK(mallinfo2().uordblks - before < 4 * std::size_t{wire::kInitialCredit});
  std::string streams[2];
  int exact = 0;
  while (auto piece = call->take()) {
    const bool second = (*piece)->kind == local::Call::Piece::Kind::error_output;
    if ((*piece)->data.size() == 1) ++exact;
    streams[second ? 1 : 0] += (*piece)->data;
  }
  CHECK(exact > 200);  // a few are handed on exactly as they came
  for (const auto& stream : streams) {
    REQUIRE(stream.size() == wire::kInitialCredit / 2);
    bool right = true;
    for (std::uint32_t i = 0; i < stream.size(); ++i)
      right = right && stream[i] == static_cast<char>(i * 2654435761U >> 24U);
    CHECK(right);
  }
}
