// Paused sandboxes as the registry sees them: by what is on disk and who holds which byte of the lock.
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "base/deadline.hpp"
#include "registry/pause.hpp"
#include "registry_support.hpp"

using namespace orkestr;
using namespace orkestr::registry;
using namespace orkestr::registry::testing;

namespace {

using namespace std::chrono_literals;

OwnedDirectory make(const TemporaryState& state, const Record& record) {
  auto made = OwnedDirectory::create(state.sandboxes(), record);
  REQUIRE_MESSAGE(made.ok(), (made ? "" : made.error().message()));
  return std::move(*made);
}

Result<OwnedDirectory> adopt(const TemporaryState& state, const Record& record,
                             std::chrono::milliseconds within = 0ms) {
  return OwnedDirectory::adopt(state.sandboxes(), record.id, base::Deadline::after(within));
}

PauseManifest manifest_of(const Record& record) {
  PauseManifest m;
  m.id = record.id;
  m.qemu_version = "7.2.22";
  m.accelerator = "tcg";
  m.processor = "p";
  m.machine_revision = 1;
  m.vcpus = 1;
  m.memory_mb = 1024;
  m.devices_checksum = m.pages_checksum = m.disk_checksum = std::string(32, 'a');
  m.shared = {{"base.erofs", {100, 5}}, {"memory", {1 << 30, 6}}};
  m.env = {{"A", "b=c"}, {"EMPTY", ""}};
  m.paused_at_ms = 7;
  return m;
}

void write_pause(const std::string& directory, const Record& record) {
  const std::string pause = directory + "/" + kPauseDirectory;
  REQUIRE(base::make_directories(pause));
  REQUIRE(base::write_file_atomic(pause + "/pages", "pages"));
  REQUIRE(base::write_file_atomic(pause + "/" + kPauseManifestFile, manifest_of(record).to_json()));
}

// As its supervisor leaves one: nobody holds it, everything is in place.
Record paused_sandbox(const TemporaryState& state, std::int64_t expires_at_ms = 0) {
  Record record = new_record();
  auto owned = make(state, record);
  record.status = "running";
  REQUIRE(owned.write_record(record));
  REQUIRE(owned.end_transition());
  write_pause(owned.path(), record);
  record.status = "paused";
  record.paused_expires_at_ms = expires_at_ms;
  REQUIRE(owned.leave_paused(record));
  return record;
}

std::string status_of(const TemporaryState& state, const Record& record) {
  auto entry = inspect(state.sandboxes(), record.id);
  REQUIRE_MESSAGE(entry, (entry ? "" : entry.error().message()));
  return entry->record.status;
}

using Names = std::vector<std::string>;
const Names kHistory = {"record.json"};

}  // namespace

TEST_CASE("a pause's manifest survives a round trip, and what it cannot do without is asked for") {
  const Record record = new_record();
  const PauseManifest m = manifest_of(record);
  const auto again = PauseManifest::from_json(m.to_json());
  REQUIRE(again);
  CHECK(again->to_json() == m.to_json());
  CHECK(again->env == m.env);
  CHECK(again->shared == m.shared);
  CHECK(again->has("memory"));
  CHECK_FALSE(again->has("layer.qcow2"));

  const auto refused = [&](const std::string& from, const std::string& to, const std::string& says) {
    std::string json = m.to_json();
    const auto at = json.find(from);
    REQUIRE_MESSAGE(at != std::string::npos, from);
    json.replace(at, from.size(), to);
    const auto got = PauseManifest::from_json(json);
    REQUIRE_FALSE(got);
    CHECK(got.error().code() == ErrorCode::snapshot_incompatible);
    CHECK_MESSAGE(got.error().message().find(says) != std::string::npos, got.error().message());
  };
  refused("\"format\":1", "\"format\":2", "format 2, this build reads format 1");
  refused("\"vcpus\":1", "\"vcpus\":0", "no such machine");
  refused("\"vcpus\":1", "\"vcpus\":1025", "no such machine");
  refused("\"memory_mb\":1024", "\"memory_mb\":-1", "no such machine");
  refused("\"7.2.22\"", "\"\"", "a field is missing");
  refused("\"pages_checksum\"", "\"other\"", "a field is missing");
  refused("[\"A\",\"b=c\"]", "[\"A\"]", "no pair");
  for (const char* text : {"", "{", "[]", "{}"}) {
    const auto got = PauseManifest::from_json(text);
    REQUIRE_FALSE(got);
    CHECK(got.error().code() == ErrorCode::snapshot_incompatible);
  }
}

TEST_CASE("paused, pausing, resuming: what the locks say") {
  TemporaryState state;
  Record record = new_record();
  auto owned = make(state, record);
  record.status = "running";
  REQUIRE(owned.write_record(record));
  REQUIRE(owned.end_transition());
  CHECK(status_of(state, record) == "running");
  auto begun = owned.begin_transition();
  REQUIRE(begun);
  CHECK(*begun);
  CHECK(status_of(state, record) == "pausing");
  auto lock = base::open_at(AT_FDCWD, owned.path() + "/" + kLockFile, O_RDWR);
  REQUIRE(lock);
  CHECK_FALSE(*base::try_lock_byte(lock->get(), kTransitionByte, base::LockKind::write));
  write_pause(owned.path(), record);
  CHECK(status_of(state, record) == "paused");  // named: from here on it is, whatever happens
  record.status = "paused";
  REQUIRE(owned.write_record(record));
  CHECK(status_of(state, record) == "paused");  // though its supervisor has not gone yet
  REQUIRE(owned.leave_paused(record));
  CHECK(status_of(state, record) == "paused");
  { auto gone = std::move(owned); }
  auto entry = inspect(state.sandboxes(), record.id);
  REQUIRE(entry);
  CHECK(entry->record.status == "paused");
  CHECK_FALSE(entry->alive);

  auto resumer = adopt(state, record);
  REQUIRE(resumer);
  entry = inspect(state.sandboxes(), record.id);
  REQUIRE(entry);
  CHECK(entry->record.status == "resuming");
  CHECK(entry->alive);
  record.status = "running";
  REQUIRE(resumer->write_record(record));
  REQUIRE(base::remove_tree(resumer->path() + "/" + kPauseDirectory));
  REQUIRE(resumer->end_transition());
  CHECK(status_of(state, record) == "running");
}

TEST_CASE("a paused sandbox is never reaped, whatever else looks") {
  TemporaryState state;
  const Record record = paused_sandbox(state);
  const Names all = {"lock", "pause", "record.json"};
  for (int i = 0; i < 3; ++i) {
    CHECK(status_of(state, record) == "paused");
    auto scanned = scan(state.sandboxes());
    REQUIRE(scanned);
    REQUIRE(scanned->size() == 1);
    CHECK(scanned->front().record.status == "paused");
    CHECK(find_dead(state.sandboxes())->empty());
    CHECK(forget_old(state.sandboxes(), base::wall_clock_ms() + 1'000'000'000)->empty());
    CHECK(state.names(record.id) == all);
  }
  CHECK(count_paused(state.sandboxes()) == 1);
  CHECK(*count_alive(state.sandboxes()) == 0);
  paused_sandbox(state);
  CHECK(count_paused(state.sandboxes()) == 2);
  // A manifest that cannot be read is no reason to lose what is beside it.
  std::ofstream(state.sandboxes() + "/" + record.id + "/pause/" + kPauseManifestFile) << "{";
  CHECK(status_of(state, record) == "paused");
  const auto refused = adopt(state, record);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::snapshot_incompatible);
  CHECK(state.names(record.id) == all);
}

TEST_CASE("a record that says running is paused when its pause has its name") {
  // Killed between the rename and the record.
  TemporaryState state;
  Record record = new_record();
  {
    auto owned = make(state, record);
    record.status = "running";
    REQUIRE(owned.write_record(record));
    write_pause(owned.path(), record);
  }
  CHECK(status_of(state, record) == "paused");
  CHECK(adopt(state, record).ok());
}

TEST_CASE("what is left of a pause that was not finished counts for nothing") {
  TemporaryState state;
  Record record = new_record();
  {
    auto owned = make(state, record);
    record.status = "running";
    REQUIRE(owned.write_record(record));
    write_pause(owned.path(), record);
    REQUIRE(::rename((owned.path() + "/pause").c_str(), (owned.path() + "/" + kPauseDraftDirectory).c_str()) == 0);
  }
  CHECK(count_paused(state.sandboxes()) == 0);
  CHECK(find_dead(state.sandboxes())->size() == 1);
  const auto refused = adopt(state, record);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::not_ready);
  CHECK(status_of(state, record) == "failed");
  CHECK(state.names(record.id) == kHistory);
  // Nor does a pause whose manifest is gone: whoever resumed it got that far.
  record = paused_sandbox(state);
  REQUIRE(base::remove_tree(state.sandboxes() + "/" + record.id + "/pause/" + kPauseManifestFile));
  CHECK(status_of(state, record) == "failed");
  CHECK(state.names(record.id) == kHistory);
}

TEST_CASE("a paused sandbox whose time is over is ended by whoever looks") {
  TemporaryState state;
  const std::int64_t now = base::wall_clock_ms();
  const Record kept = paused_sandbox(state, now + 1'000'000);
  const Record expired = paused_sandbox(state, now - 1);
  CHECK(*find_dead(state.sandboxes()) == Names{expired.id});
  CHECK(status_of(state, kept) == "paused");
  auto entry = inspect(state.sandboxes(), expired.id);
  REQUIRE(entry);
  CHECK(entry->record.status == "terminated");
  CHECK(entry->record.end_reason.find("kept paused") != std::string::npos);
  CHECK(entry->record.ended_at_ms >= now);
  CHECK(state.names(expired.id) == kHistory);
  CHECK(count_paused(state.sandboxes()) == 1);
  // Not while somebody resumes it.
  const Record late = paused_sandbox(state, now - 1);
  auto resumer = adopt(state, late);
  REQUIRE(resumer);
  CHECK(status_of(state, late) == "resuming");
  CHECK(find_dead(state.sandboxes())->empty());
}

TEST_CASE("terminating a paused sandbox leaves its history; not one that runs, resumes or has ended") {
  TemporaryState state;
  const Record record = paused_sandbox(state);
  {
    auto resumer = adopt(state, record);
    REQUIRE(resumer);
    CHECK_FALSE(*end_paused(state.sandboxes(), record.id, "terminated"));
  }
  CHECK(status_of(state, record) == "paused");
  auto over = end_paused(state.sandboxes(), record.id, "terminated");
  REQUIRE(over);
  CHECK(*over);
  CHECK(state.names(record.id) == kHistory);
  CHECK(status_of(state, record) == "terminated");
  CHECK_FALSE(*end_paused(state.sandboxes(), record.id, "terminated"));
  CHECK(end_paused(state.sandboxes(), base::make_sandbox_id(), "x").error().code() == ErrorCode::not_found);
  CHECK(end_paused(state.sandboxes(), "../x", "x").error().code() == ErrorCode::not_found);
  const Record running = new_record();
  auto owned = make(state, running);
  REQUIRE(owned.end_transition());
  CHECK_FALSE(*end_paused(state.sandboxes(), running.id, "terminated"));
}

TEST_CASE("adopting: not what runs, has ended or is not there; waits for the last of a pause to go") {
  TemporaryState state;
  const auto refused = [&](const Record& record, ErrorCode code) {
    const auto got = adopt(state, record);
    REQUIRE_FALSE(got);
    CHECK_MESSAGE(got.error().code() == code, got.error().message());
  };
  refused(new_record(), ErrorCode::not_found);
  Record running = new_record();
  auto owned = make(state, running);
  refused(running, ErrorCode::not_ready);  // in transition
  running.status = "running";
  REQUIRE(owned.write_record(running));
  REQUIRE(owned.end_transition());
  refused(running, ErrorCode::not_ready);
  running.status = "terminated";
  REQUIRE(owned.finish(running));
  refused(running, ErrorCode::not_ready);

  // A QEMU that takes its time to die.
  const Record record = paused_sandbox(state);
  Signal ready;
  Process qemu([&] {
    auto lock = base::open_at(AT_FDCWD, state.sandboxes() + "/" + record.id + "/" + kLockFile, O_RDONLY);
    if (lock && *base::try_lock_byte(lock->get(), kQemuByte, base::LockKind::read)) ready.send();
    ::pause();
  });
  ready.wait();
  refused(record, ErrorCode::not_ready);
  std::thread killer([&] {
    std::this_thread::sleep_for(50ms);
    qemu.kill_and_wait();
  });
  CHECK(adopt(state, record, 20s).ok());
  killer.join();
}

TEST_CASE("of many processes that adopt one paused sandbox at once, one gets it") {
  TemporaryState state;
  for (int round = 0; round < 10; ++round) {
    const Record record = paused_sandbox(state);
    auto gate = base::make_pipe();
    REQUIRE(gate);
    std::vector<std::unique_ptr<Process>> racers;
    for (int i = 0; i < 8; ++i) {
      racers.push_back(std::make_unique<Process>([&] {
        gate->second.reset();
        char c = 0;
        (void)!::read(gate->first.get(), &c, 1);  // until all are there
        auto got = adopt(state, record);
        if (!got) ::_exit(got.error().code() == ErrorCode::not_ready ? 2 : 3);
        // The next one must find it taken, and then running.
        Record now = record;
        now.status = "running";
        const bool done = got->write_record(now).ok() && base::remove_tree(got->path() + "/pause").ok();
        std::this_thread::sleep_for(20ms);
        ::_exit(done ? 0 : 4);
      }));
    }
    gate->second.reset();
    int won = 0, lost = 0;
    for (auto& racer : racers) {
      const int status = racer->wait();
      REQUIRE(WIFEXITED(status));
      won += WEXITSTATUS(status) == 0;
      lost += WEXITSTATUS(status) == 2;
    }
    CHECK(won == 1);
    CHECK(lost == 7);
  }
}

TEST_CASE("a resume that dies leaves the sandbox as paused as before") {
  TemporaryState state;
  const Record record = paused_sandbox(state);
  Signal ready;
  Process resumer([&] {
    auto got = adopt(state, record);
    if (got && listen(*got)) ready.send();
    ::pause();
  });
  ready.wait();
  CHECK(status_of(state, record) == "resuming");
  resumer.kill_and_wait();
  CHECK(status_of(state, record) == "paused");
  CHECK(adopt(state, record).ok());
}
