#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include "base/deadline.hpp"
#include "registry/events.hpp"
#include "registry_support.hpp"

using namespace orkestr;
using namespace orkestr::registry;
using namespace orkestr::registry::testing;

namespace {

mode_t mode_of(const std::string& path) {
  struct stat info {};
  REQUIRE(::lstat(path.c_str(), &info) == 0);
  return info.st_mode & 07777;
}

using Names = std::vector<std::string>;

OwnedDirectory make(const TemporaryState& state, const Record& record) {
  auto made = OwnedDirectory::create(state.sandboxes(), record);
  REQUIRE_MESSAGE(made.ok(), (made ? "" : made.error().message()));
  return std::move(*made);
}

void write(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

}  // namespace

TEST_CASE("a record survives a round trip, and what is unknown or of the wrong type is skipped") {
  Record r = new_record();
  r.status = "failed";
  r.metadata = {{"team", "a\"b"}, {"empty", ""}};
  r.cpu = 0.5;
  r.cpu_reason = "why";
  r.disk_mb = 9000;
  r.ended_at_ms = 5;
  r.end_reason = "failed: x";
  auto again = Record::from_json(r.to_json());
  REQUIRE(again);
  CHECK(again->to_json() == r.to_json());
  CHECK(again->metadata == r.metadata);
  CHECK(again->ended());

  const std::string head = "{\"format\":1,\"id\":\"" + r.id + "\",\"status\":\"running\"";
  auto tolerant = Record::from_json(head + ",\"cpu\":\"many\",\"metadata\":{\"a\":1},\"later\":[1]}");
  REQUIRE(tolerant);
  CHECK(tolerant->cpu == 1);
  CHECK(tolerant->metadata.empty());
  const std::vector<std::string> refused = {"",
                                            "[]",
                                            head,
                                            "{\"format\":2}",
                                            "{\"format\":1,\"id\":\"../x\",\"status\":\"running\"}",
                                            "{\"format\":1,\"id\":\"" + r.id + "\",\"status\":\"odd\"}"};
  for (const std::string& bad : refused) {
    CAPTURE(bad);
    CHECK_FALSE(Record::from_json(bad).ok());
  }
}

TEST_CASE("the state directory is private, and of a format that is refused by name when another") {
  TemporaryState state;
  CHECK(mode_of(state.sandboxes()) == 0700);
  CHECK(mode_of(state.root() + "/state") == 0700);
  CHECK(prepare_state_directory(state.root() + "/state").ok());
  write(state.root() + "/state/version", "2\n");
  auto refused = prepare_state_directory(state.root() + "/state");
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().message().find("its format is \"2\"") != std::string::npos);
}

TEST_CASE("the life of a sandbox's directory") {
  TemporaryState state;
  Record record = new_record();
  {
    OwnedDirectory owned = make(state, record);
    CHECK(owned.path() == state.sandboxes() + "/" + record.id);
    CHECK(state.names() == Names{record.id});
    CHECK(mode_of(owned.path()) == 0700);
    CHECK(mode_of(owned.path() + "/lock") == 0600);
    CHECK(mode_of(owned.path() + "/record.json") == 0600);
    auto second = OwnedDirectory::create(state.sandboxes(), record);
    REQUIRE_FALSE(second.ok());
    CHECK(second.error().code() == ErrorCode::file_exists);
    CHECK(state.names() == Names{record.id});

    auto seen = inspect(state.sandboxes(), record.id);
    REQUIRE(seen);
    CHECK(seen->alive);
    CHECK(seen->record.status == "starting");
    record.status = "running";
    CHECK(owned.write_record(record).ok());
    CHECK(owned.end_transition().ok());
    seen = inspect(state.sandboxes(), record.id);
    REQUIRE(seen);
    CHECK(seen->record.status == "running");

    write(owned.path() + "/s", "");
    write(owned.path() + "/.tmp-0123", "left by a crash");
    record.status = "terminated";
    record.ended_at_ms = base::wall_clock_ms();
    CHECK(owned.finish(record).ok());
  }
  CHECK(state.names(record.id) == Names{"record.json"});
  auto seen = inspect(state.sandboxes(), record.id);
  REQUIRE(seen);
  CHECK_FALSE(seen->alive);
  CHECK(seen->record.status == "terminated");
  auto missing = inspect(state.sandboxes(), base::make_sandbox_id());
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().code() == ErrorCode::not_found);
  CHECK(inspect(state.sandboxes(), "../../etc").error().code() == ErrorCode::not_found);
}

TEST_CASE("looking takes no lock: a hundred readers disturb neither owner nor each other") {
  TemporaryState state;
  const Record record = new_record();
  OwnedDirectory owned = make(state, record);
  std::vector<std::thread> readers;
  std::atomic<int> alive = 0;
  for (int t = 0; t < 4; ++t) {
    readers.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        auto all = scan(state.sandboxes());
        if (all && all->size() == 1 && all->front().alive) ++alive;
      }
    });
  }
  for (int i = 0; i < 100; ++i) {
    auto fd = owned.lock_for_qemu();
    CHECK(fd.ok());
  }
  for (auto& thread : readers) thread.join();
  CHECK(alive == 100);
}

TEST_CASE("a sandbox whose supervisor ended without a word is failed, and its files go") {
  TemporaryState state;
  Record record = new_record();
  record.status = "running";
  { (void)make(state, record); }
  write(state.sandboxes() + "/" + record.id + "/s", "");
  write(state.sandboxes() + "/" + record.id + "/events.jsonl", "{}\n");
  auto all = scan(state.sandboxes());
  REQUIRE(all);
  REQUIRE(all->size() == 1);
  CHECK_FALSE(all->front().alive);
  CHECK(all->front().record.status == "failed");
  CHECK(all->front().record.end_reason == "failed: its supervisor ended without a word");
  CHECK(all->front().record.ended_at_ms > 0);
  CHECK(state.names(record.id) == Names{"events.jsonl", "record.json"});
  auto stored = inspect(state.sandboxes(), record.id);
  REQUIRE(stored);
  CHECK(stored->record.to_json() == all->front().record.to_json());
}

TEST_CASE("a final record that its supervisor could still write stays as it is") {
  TemporaryState state;
  Record record = new_record();
  {
    OwnedDirectory owned = make(state, record);
    record.status = "terminated";
    record.end_reason = "timeout";
    record.ended_at_ms = 77;
    CHECK(owned.write_record(record).ok());
  }
  auto seen = inspect(state.sandboxes(), record.id);
  REQUIRE(seen);
  CHECK(seen->record.to_json() == record.to_json());
  CHECK(state.names(record.id) == Names{"record.json"});
}

TEST_CASE("while QEMU lives nothing is reaped; when it is gone, it is") {
  TemporaryState state;
  const Record record = new_record();
  base::UniqueFd qemu;
  {
    OwnedDirectory owned = make(state, record);
    auto lock = owned.lock_for_qemu();
    REQUIRE(lock);
    CHECK((::fcntl(lock->get(), F_GETFL) & O_ACCMODE) == O_RDONLY);
    qemu = std::move(*lock);
  }
  SUBCASE("it stays: the answer comes within the deadline, without reaping") {
    const auto began = std::chrono::steady_clock::now();
    auto seen = inspect(state.sandboxes(), record.id);
    const auto took = std::chrono::steady_clock::now() - began;
    REQUIRE(seen);
    CHECK(seen->record.status == "failed");
    CHECK(took > std::chrono::milliseconds(1500));
    CHECK(took < std::chrono::seconds(4));
    CHECK(state.names(record.id) == Names{"lock", "record.json"});
  }
  SUBCASE("it goes a moment later: waited for, then reaped") {
    std::thread death([&qemu] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      qemu.reset();
    });
    auto seen = inspect(state.sandboxes(), record.id);
    death.join();
    REQUIRE(seen);
    CHECK(seen->record.status == "failed");
    CHECK(state.names(record.id) == Names{"record.json"});
  }
}

TEST_CASE("while another reaper is at work nothing is reaped, and the answer is the same") {
  TemporaryState state;
  const Record record = new_record();
  { (void)make(state, record); }
  const std::string lock_path = state.sandboxes() + "/" + record.id + "/lock";
  auto other = base::open_at(AT_FDCWD, lock_path, O_RDWR);
  REQUIRE(other);
  REQUIRE(*base::try_lock_byte(other->get(), kTransitionByte, base::LockKind::write));
  std::thread end([&other] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    other->reset();  // it died
  });
  const auto began = std::chrono::steady_clock::now();
  auto seen = inspect(state.sandboxes(), record.id);
  CHECK(std::chrono::steady_clock::now() - began > std::chrono::milliseconds(90));
  end.join();
  REQUIRE(seen);
  CHECK(seen->record.status == "failed");
  CHECK(state.names(record.id) == Names{"record.json"});
}

TEST_CASE("what is not ours does not break a list") {
  TemporaryState state;
  Record good = new_record();
  OwnedDirectory owned = make(state, good);
  const std::string dir = state.sandboxes() + "/";
  auto other = [&](const char* what) {
    const std::string id = base::make_sandbox_id();
    CAPTURE(what);
    REQUIRE(::mkdir((dir + id).c_str(), 0700) == 0);
    return id;
  };
  write(dir + "a file", "x");
  write(dir + base::make_sandbox_id(), "a file with an id's name");
  REQUIRE(::symlink("/etc", (dir + base::make_sandbox_id()).c_str()) == 0);
  other("empty");
  write(dir + other("torn, ended") + "/record.json", "{\"format\":1,");
  write(dir + other("huge") + "/record.json", std::string(1U << 20U, ' '));
  REQUIRE(::mkfifo((dir + other("a pipe as record") + "/record.json").c_str(), 0600) == 0);
  REQUIRE(::mkdir((dir + other("a directory as lock") + "/lock").c_str(), 0700) == 0);
  REQUIRE(::symlink("/etc/passwd", (dir + other("a link as record") + "/record.json").c_str()) == 0);
  write(dir + other("of another") + "/record.json", good.to_json());
  const std::string torn = other("torn, dead");
  write(dir + torn + "/record.json", "{\"format\":1,");
  write(dir + torn + "/lock", "");

  auto all = scan(state.sandboxes());
  REQUIRE(all);
  REQUIRE(all->size() == 2);
  CHECK(all->front().record.id == good.id);
  CHECK(all->front().alive);
  CHECK(all->back().record.id == torn);
  CHECK(all->back().record.status == "failed");
  CHECK(all->back().record.end_reason == "failed: its record could not be read");
  CHECK(inspect(state.sandboxes(), torn).ok());
}

TEST_CASE("a list is sorted, newest first") {
  TemporaryState state;
  for (int i : {2, 3, 1}) {
    Record r = new_record();
    r.created_at_ms = i;
    (void)make(state, r);
  }
  auto all = scan(state.sandboxes());
  REQUIRE(all);
  REQUIRE(all->size() == 3);
  for (int i = 0; i < 3; ++i) CHECK((*all)[i].record.created_at_ms == 3 - i);
}

TEST_CASE("records are forgotten after 24 hours and beyond 1,000, the living never") {
  TemporaryState state;
  const std::int64_t now = base::wall_clock_ms();
  auto ended = [&](std::int64_t when) {
    Record r = new_record();
    r.status = "terminated";
    r.ended_at_ms = when;
    const std::string dir = state.sandboxes() + "/" + r.id;
    REQUIRE(::mkdir(dir.c_str(), 0700) == 0);
    write(dir + "/record.json", r.to_json());
    return r.id;
  };
  Record living = new_record();
  living.ended_at_ms = 1;
  OwnedDirectory owned = make(state, living);
  const std::string old = ended(now - 24 * 3600 * 1000 - 1);
  const std::string eldest_kept = ended(now - 24 * 3600 * 1000 + 5000);
  REQUIRE(forget_old(state.sandboxes(), now).ok());
  CHECK(inspect(state.sandboxes(), old).error().code() == ErrorCode::not_found);
  CHECK(inspect(state.sandboxes(), eldest_kept).ok());
  for (int i = 0; i < 1000; ++i) ended(now - i);
  REQUIRE(forget_old(state.sandboxes(), now).ok());
  CHECK(state.names().size() == 1001);
  CHECK_FALSE(inspect(state.sandboxes(), eldest_kept).ok());
  CHECK(inspect(state.sandboxes(), living.id)->alive);
}

TEST_CASE("find_dead looks, and leaves the dead to scan") {
  TemporaryState state;
  CHECK(find_dead(state.root() + "/nowhere")->empty());
  OwnedDirectory living = make(state, new_record());
  const Record dead = new_record();
  { OwnedDirectory owned = make(state, dead); }  // lets go without a final record
  for (int i = 0; i < 2; ++i) CHECK(find_dead(state.sandboxes()).value() == std::vector<std::string>{dead.id});
  REQUIRE(scan(state.sandboxes()));
  CHECK(find_dead(state.sandboxes())->empty());
  CHECK(inspect(state.sandboxes(), dead.id)->record.status == "failed");
}

TEST_CASE("a supervisor is reached at a path of any length, by its own user only") {
  TemporaryState state("/" + std::string(120, 'l') + "/" + std::string(120, 'm'));
  const Record record = new_record();
  OwnedDirectory owned = make(state, record);
  auto nobody = connect(state.sandboxes(), record.id);
  REQUIRE_FALSE(nobody.ok());
  CHECK(nobody.error().code() == ErrorCode::not_ready);
  CHECK(connect(state.sandboxes(), base::make_sandbox_id()).error().code() == ErrorCode::not_found);
  {
    auto listener = listen(owned);
    REQUIRE_MESSAGE(listener.ok(), (listener ? "" : listener.error().message()));
    CHECK(mode_of(owned.path() + "/s") == 0600);
    auto made = connect(state.sandboxes(), record.id);
    REQUIRE(made);
    REQUIRE(*made);
    const base::UniqueFd* client = &**made;
    CHECK((::fcntl(client->get(), F_GETFL) & O_NONBLOCK) == 0);
    CHECK((::fcntl(client->get(), F_GETFD) & FD_CLOEXEC) != 0);
    base::UniqueFd accepted(::accept(listener->get(), nullptr, nullptr));
    REQUIRE(accepted);
    REQUIRE(base::write_all(client->get(), "hello").ok());
    char bytes[8] = {};
    CHECK(::recv(accepted.get(), bytes, sizeof bytes, 0) == 5);
  }
  CHECK(connect(state.sandboxes(), record.id).error().code() == ErrorCode::not_ready);
  CHECK(listen(owned).ok());  // over what a former one left
}

TEST_CASE("a supervisor that accepts nobody does not hold up its callers") {
  TemporaryState state;
  const Record record = new_record();
  OwnedDirectory owned = make(state, record);
  auto listener = listen(owned);
  REQUIRE(listener);
  std::vector<base::UniqueFd> waiting;
  auto began = base::Deadline::Clock::now();
  while (waiting.size() < 1000) {
    began = base::Deadline::Clock::now();
    auto client = connect(state.sandboxes(), record.id);
    REQUIRE(client);
    if (!*client) break;
    waiting.push_back(std::move(**client));
  }
  CHECK(base::Deadline::Clock::now() - began < std::chrono::milliseconds(500));  // the one that found no room
  CHECK(waiting.size() >= 128);
  CHECK(waiting.size() < 1000);
}

TEST_CASE("a supervisor that hangs is killed by who holds its lock file open; nobody else is") {
  TemporaryState state;
  const Record record = new_record();
  Signal ready;
  // As supervisor, bystander of that name, holder of another name.
  auto holder = [&](const char* name, bool holds) {
    return [&, name, holds] {
      ::prctl(PR_SET_NAME, name);
      auto lock = holds ? std::optional(OwnedDirectory::create(state.sandboxes(), record)) : std::nullopt;
      auto looking = base::open_at(AT_FDCWD, state.sandboxes() + "/" + record.id + "/lock", O_RDONLY);
      ready.send();
      ::raise(SIGSTOP);
      ::pause();
    };
  };
  SUBCASE("the supervisor") {
    Process supervisor(holder("orkestr-supervisor", true));
    ready.wait();
    Process bystander(holder("orkestr-supervisor", false));
    ready.wait();
    auto lock = base::open_at(AT_FDCWD, state.sandboxes() + "/" + record.id + "/lock", O_RDONLY);
    REQUIRE(lock);
    auto killed = kill_supervisor(lock->get(), record.id);
    CHECK_MESSAGE(killed, (killed ? "" : killed.error().message()));
    const int status = supervisor.wait();
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGKILL);
    CHECK(bystander.alive());
    CHECK_FALSE(kill_supervisor(lock->get(), record.id).ok());
    CHECK(bystander.alive());
  }
  SUBCASE("a process that is none") {
    Process other(holder("something-else", true));
    ready.wait();
    auto lock = base::open_at(AT_FDCWD, state.sandboxes() + "/" + record.id + "/lock", O_RDONLY);
    REQUIRE(lock);
    auto killed = kill_supervisor(lock->get(), record.id);
    REQUIRE_FALSE(killed);
    CHECK(killed.error().message().find(record.id) != std::string::npos);
    CHECK(other.alive());
  }
}

TEST_CASE("events are appended, read back, and survive a torn line") {
  TemporaryState state;
  OwnedDirectory owned = make(state, new_record());
  CHECK(read_events(owned.dir_fd())->empty());
  {
    auto log = EventLog::open(owned.dir_fd());
    REQUIRE(log);
    CHECK(log->append("created").ok());
    CHECK(log->append("exec", {{"command", "echo \"x\"\n"}, {"exit_code", std::int64_t{3}}, {"oom", false}}).ok());
    CHECK(log->append("large", {{"text", std::string(kMaxEventBytes, 'x')}}).error().code() ==
          ErrorCode::invalid_argument);
  }
  CHECK(mode_of(owned.path() + "/events.jsonl") == 0600);
  std::ofstream(owned.path() + "/events.jsonl", std::ios::app) << "{\"time\":\"2026-11-21T0";  // a crash
  auto events = read_events(owned.dir_fd());
  REQUIRE(events);
  REQUIRE(events->size() == 2);
  CHECK((*events)[1].kind == "exec");
  CHECK((*events)[1].fields.string_or("command", "") == "echo \"x\"\n");
  CHECK((*events)[1].fields.integer_or("exit_code", 0) == 3);
  CHECK((*events)[1].time.size() == 24);

  auto log = EventLog::open(owned.dir_fd());
  REQUIRE(log);
  CHECK(log->append("after").ok());
  events = read_events(owned.dir_fd());
  REQUIRE(events);
  REQUIRE(events->size() == 3);
  CHECK(events->back().kind == "after");
  CHECK(read_events(owned.dir_fd(), 1)->front().kind == "after");
  CHECK(read_events(owned.dir_fd(), 10, events->back().time)->back().kind == "after");
  CHECK(read_events(owned.dir_fd(), 10, events->front().time)->size() == 3);
  CHECK(read_events(owned.dir_fd(), 10, "9999-12-31T23:59:59.999Z")->empty());
}

TEST_CASE("a log that is full loses its older half, nothing else") {
  TemporaryState state;
  OwnedDirectory owned = make(state, new_record());
  auto log = EventLog::open(owned.dir_fd(), 64U << 10U);
  REQUIRE(log);
  for (std::int64_t i = 0; i < 5000; ++i) {
    REQUIRE(log->append("n", {{"i", i}}).ok());
    struct stat info {};
    REQUIRE(::stat((owned.path() + "/events.jsonl").c_str(), &info) == 0);
    REQUIRE(info.st_size <= 64 << 10);
  }
  auto events = read_events(owned.dir_fd());
  REQUIRE(events);
  CHECK(events->size() > 400);
  for (std::size_t i = 0; i < events->size(); ++i) {
    CHECK((*events)[i].fields.integer_or("i", -1) == static_cast<std::int64_t>(5000 - events->size() + i));
  }
}
