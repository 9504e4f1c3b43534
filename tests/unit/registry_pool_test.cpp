// The warm pool's configuration, its slots and who may be claimed. No process is started here.
#include <doctest/doctest.h>

#include <set>

#include "registry/pool.hpp"
#include "registry_support.hpp"

namespace orkestr::registry::testing {
namespace {

PoolEntry entry(const std::string& name, int count) {
  PoolEntry e;
  e.template_name = name;
  e.count = count;
  return e;
}

// An entry, and what is not as it should be.
std::string with(const std::string& cpu, const std::string& count, const std::string& more = "") {
  return R"({"format":1,"pools":[{"template":"a","memory_mb":1024,"cpu":)" + cpu + R"(,"count":)" + count + more +
         "}]}";
}

}  // namespace

TEST_CASE("pool: what is written is read back, and a missing file is an empty configuration") {
  TemporaryState state;
  const std::string directory = state.root() + "/state";
  REQUIRE(read_pool(directory).ok());
  CHECK(read_pool(directory)->empty());
  auto special = entry("node-22", 3);
  special.cpu = 0.5;
  special.memory_mb = 512;
  special.disk_mb = 16384;
  special.idle_seconds = 60;
  special.min_available_mb = 0;
  const std::vector<PoolEntry> wanted = {entry("python-3.12", 4), special};
  REQUIRE(change_pool(directory, [&](auto& entries) { entries = wanted; }).ok());
  CHECK(*read_pool(directory) == wanted);
  REQUIRE(change_pool(directory, [&](auto& entries) { entries.pop_back(); }).ok());
  CHECK(read_pool(directory)->size() == 1);
}

TEST_CASE("pool: a configuration that is none is refused, and replaced when it is set anew") {
  CHECK(pool_from_json(with("1", "1")).ok());
  for (const std::string& bad :
       {std::string(), std::string("[]"), std::string("{}"), std::string(R"({"format":2,"pools":[]})"),
        std::string(R"({"format":1,"pools":[{"count":1}]})"), std::string(R"({"format":1,"pools":[7]})"),
        with("1", "0"), with("1", "65"), with("1", "\"1\""), with("-1", "1"), with("1e9", "1"),
        with("1", "1", R"(,"idle_seconds":0)"), with("1", "1", R"(,"disk_mb":-1)"),
        with("1", "1", R"(,"min_available_mb":-1)")}) {
    CAPTURE(bad);
    CHECK_FALSE(pool_from_json(bad).ok());
  }
  TemporaryState state;
  const std::string directory = state.root() + "/state";
  REQUIRE(base::write_file_atomic(directory + "/pool.json", "{", 0600).ok());
  CHECK_FALSE(read_pool(directory).ok());
  REQUIRE(change_pool(directory, [](auto& entries) { entries.push_back(entry("a", 1)); }).ok());
  CHECK(read_pool(directory)->size() == 1);
}

TEST_CASE("pool: there are no more slots than members, each key has its own, and a dead holder's is free") {
  TemporaryState state;
  const auto made = prepare_pool_directory(state.root() + "/state");
  REQUIRE(made.ok());
  const std::string& pool = *made;
  CHECK(*free_pool_slots(pool, "a", 2) == 2);
  auto first = take_pool_slot(pool, "a", 2);
  auto second = take_pool_slot(pool, "a", 2);
  REQUIRE((first.ok() && *first && second.ok() && *second));
  CHECK(std::set<int>{(*first)->number, (*second)->number} == std::set<int>{0, 1});
  CHECK_FALSE(take_pool_slot(pool, "a", 2)->has_value());
  CHECK(*free_pool_slots(pool, "a", 2) == 0);
  CHECK(*free_pool_slots(pool, "a", 3) == 1);
  CHECK(*free_pool_slots(pool, "b", 2) == 2);
  first->reset();
  CHECK(*free_pool_slots(pool, "a", 2) == 1);
  CHECK((*take_pool_slot(pool, "a", 2))->number == 0);
}

TEST_CASE(
    "pool: ready is who lives and is in no transition; the dead are reported and swept, the failed kept a while") {
  TemporaryState state;
  const auto made = prepare_pool_directory(state.root() + "/state");
  REQUIRE(made.ok());
  const std::string& pool = *made;
  const auto record_of = [](const std::string& status) {
    Record record;
    record.id = base::make_sandbox_id();
    record.status = status;
    record.created_at_ms = base::wall_clock_ms();
    return record;
  };
  bool dead = true;
  CHECK(live_pool_members(pool, &dead).empty());
  CHECK_FALSE(dead);
  Record record = record_of("starting");
  {
    auto owned = OwnedDirectory::create(pool, record);
    REQUIRE(owned.ok());
    REQUIRE(live_pool_members(pool).size() == 1);
    CHECK_FALSE(live_pool_members(pool).front().ready);
    record.status = "running";
    REQUIRE(owned->write_record(record).ok());
    CHECK_FALSE(live_pool_members(pool).front().ready);
    REQUIRE(owned->end_transition().ok());
    CHECK(live_pool_members(pool).front().ready);
    CHECK(sweep_pool(pool)->empty());
  }
  CHECK(live_pool_members(pool, &dead).empty());
  CHECK(dead);
  const auto failed = sweep_pool(pool);
  REQUIRE(failed.ok());
  REQUIRE(failed->size() == 1);
  CHECK(failed->front().status == "failed");
  CHECK(live_pool_members(pool, &dead).empty());
  CHECK_FALSE(dead);

  Record ended = record_of("running");
  {
    auto owned = OwnedDirectory::create(pool, ended);
    REQUIRE(owned.ok());
    ended.status = "terminated";
    ended.ended_at_ms = base::wall_clock_ms();
    REQUIRE(owned->finish(ended).ok());
  }
  REQUIRE(sweep_pool(pool).ok());
  CHECK_FALSE(base::exists(pool + "/" + ended.id));
  CHECK(base::exists(pool + "/" + record.id));
}

TEST_CASE("pool: an entry is for one template and machine") {
  const auto e = entry("a", 1);
  Record record;
  record.template_name = "a";
  CHECK(e.is_for(record));
  record.memory_mb = 2048;
  CHECK_FALSE(e.is_for(record));
  record.memory_mb = 1024;
  record.cpu = 0.5;
  CHECK_FALSE(e.is_for(record));
  record.cpu = 1;
  record.template_name = "b";
  CHECK_FALSE(e.is_for(record));
}

}  // namespace orkestr::registry::testing
