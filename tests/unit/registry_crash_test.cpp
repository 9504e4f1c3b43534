// Processes that are killed at any moment, collectors that race with makers: whatever happens, the next call reads
// something true.
#include <chrono>
#include <random>
#include <thread>

#include "registry_support.hpp"

using namespace orkestr;
using namespace orkestr::registry;
using namespace orkestr::registry::testing;

namespace {

using Names = std::vector<std::string>;

// What a list leaves: records, and history.
void check_clean(const TemporaryState& state) {
  for (const std::string& name : state.names()) {
    CAPTURE(name);
    CHECK(base::is_sandbox_id(name));
    CHECK(state.names(name) == Names{"record.json"});
    auto seen = inspect(state.sandboxes(), name);
    REQUIRE_MESSAGE(seen.ok(), (seen ? "" : seen.error().message()));
    CHECK(seen->record.ended());
  }
}

// A whole life, as fast as it goes.
void live_and_die(const std::string& sandboxes) {
  Record record = new_record();
  auto owned = OwnedDirectory::create(sandboxes, record);
  if (!owned) ::_exit(3);
  auto listener = listen(*owned);
  auto qemu = owned->lock_for_qemu();
  record.status = "running";
  if (!listener || !qemu || !owned->write_record(record) || !owned->end_transition()) ::_exit(4);
  qemu->reset();
  record.status = "terminated";
  record.ended_at_ms = base::wall_clock_ms();
  if (!owned->finish(record)) ::_exit(5);
}

}  // namespace

TEST_CASE("a supervisor killed at a random moment leaves what the next list can read and clean") {
  const unsigned seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937 random(seed);
  int interrupted = 0;
  for (int round = 0; round < 150; ++round) {
    TemporaryState state;
    Process supervisor([&] {
      for (int i = 0; i < 20; ++i) live_and_die(state.sandboxes());
    });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    supervisor.kill_and_wait();
    for (const std::string& name : state.names()) interrupted += base::exists(state.sandboxes() + "/" + name + "/lock");
    auto all = scan(state.sandboxes());
    REQUIRE(all);
    for (const Entry& entry : *all) CHECK(entry.record.ended());
    check_clean(state);
  }
  CHECK(interrupted > 10);  // the kills hit what they should
}

TEST_CASE("a reaper killed at a random moment leaves the rest to the next") {
  std::mt19937 random(7);
  for (int round = 0; round < 25; ++round) {
    TemporaryState state;
    for (int i = 0; i < 5; ++i) {
      Record record = new_record();
      record.status = "running";
      auto owned = OwnedDirectory::create(state.sandboxes(), record);
      REQUIRE(owned);
      REQUIRE(listen(*owned).ok());
    }
    Process reaper([&] { (void)scan(state.sandboxes()).ok(); });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    reaper.kill_and_wait();
    auto all = scan(state.sandboxes());
    REQUIRE(all);
    CHECK(all->size() == 5);
    check_clean(state);
  }
}

TEST_CASE("reapers at once agree, and the record is written once") {
  for (int round = 0; round < 20; ++round) {
    TemporaryState state;
    Record record = new_record();
    record.status = "running";
    REQUIRE(OwnedDirectory::create(state.sandboxes(), record).ok());
    std::vector<std::string> answers(4);
    std::vector<std::thread> reapers;
    for (auto& answer : answers) {
      reapers.emplace_back([&state, &record, &answer] {
        auto seen = inspect(state.sandboxes(), record.id);
        answer = seen ? seen->record.to_json() : seen.error().message();
      });
    }
    for (auto& thread : reapers) thread.join();
    auto stored = inspect(state.sandboxes(), record.id);
    REQUIRE(stored);
    CHECK(stored->record.status == "failed");
    for (const auto& answer : answers) CHECK(answer == stored->record.to_json());
    check_clean(state);
  }
}

TEST_CASE("a maker gets its directory although collectors take it away again and again") {
  TemporaryState state;
  Signal ready;
  Process first([&] {
    ready.send();
    while (true) (void)scan(state.sandboxes()).ok();
  });
  Process second([&] {
    ready.send();
    while (true) (void)scan(state.sandboxes()).ok();
  });
  ready.wait();
  ready.wait();
  for (int i = 0; i < 2000; ++i) {
    const Record record = new_record();
    auto owned = OwnedDirectory::create(state.sandboxes(), record);
    REQUIRE_MESSAGE(owned.ok(), (owned ? "" : owned.error().message()));
    auto seen = inspect(state.sandboxes(), record.id);
    REQUIRE(seen);
    CHECK(seen->alive);
    CHECK(base::exists(owned->path() + "/lock"));
    Record last = record;
    last.status = "terminated";
    last.ended_at_ms = 1;
    REQUIRE(owned->finish(last).ok());
    REQUIRE(base::remove_tree(owned->path()).ok());  // an empty list is a quick one: the collectors come by more often
  }
}

TEST_CASE("what makers left half-made goes with the next list; what is being made stays") {
  TemporaryState state;
  auto half = [&state](bool lock, bool rest) {
    const std::string dir = state.sandboxes() + "/.new-" + base::make_sandbox_id();
    REQUIRE(base::make_directories(dir).ok());
    if (lock) REQUIRE(base::write_file_atomic(dir + "/lock", "").ok());
    if (rest) REQUIRE(base::write_file_atomic(dir + "/record.json", "{").ok());
    return dir;
  };
  half(false, false);
  half(true, false);
  half(true, true);
  const std::string held = half(true, true);
  auto lock = base::open_at(AT_FDCWD, held + "/lock", O_RDWR);
  REQUIRE(lock);
  REQUIRE(*base::try_lock_byte(lock->get(), kSupervisorByte, base::LockKind::write));
  REQUIRE(base::make_directories(state.sandboxes() + "/.new-something else").ok());

  auto all = scan(state.sandboxes());
  REQUIRE(all);
  CHECK(all->empty());
  CHECK(state.names() == Names{held.substr(held.rfind('/') + 1), ".new-something else"});
}
