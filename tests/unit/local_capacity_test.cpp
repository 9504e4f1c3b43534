// How many sandboxes a machine takes: rules of numbers.
#include <doctest/doctest.h>

#include <cstdlib>
#include <optional>
#include <string>

#include "local/capacity.hpp"

using namespace orkestr;
using namespace orkestr::local;

namespace {

class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    if (value != nullptr) {
      ::setenv(name, value, 1);
    } else {
      ::unsetenv(name);
    }
  }
  ~Variable() {
    if (old_) {
      ::setenv(name_, old_->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

}  // namespace

TEST_CASE("capacity: what the kernel says of its memory") {
  const auto host = parse_meminfo(
      "MemTotal:       24689088 kB\nMemFree:          204800 kB\nMemAvailable:   20480000 kB\nBuffers:  1 kB\n", 2);
  CHECK(host.memory_mb == 24110);
  CHECK(host.available_mb == 20000);
  CHECK(host.cores == 2);
  CHECK(parse_meminfo("", 0).cores == 1);
  CHECK(parse_meminfo("", 4).memory_mb == 0);
  CHECK(parse_meminfo("MemTotal:", 4).memory_mb == 0);
  CHECK(parse_meminfo("MemTotal: many kB\n", 4).memory_mb == 0);
  CHECK(read_host_figures().memory_mb > 0);
  CHECK(read_host_figures().available_mb > 0);
}

TEST_CASE("capacity: the variables, and what they refuse") {
  Variable sandboxes("ORKESTR_MAX_SANDBOXES", nullptr);
  Variable snapshots("ORKESTR_MAX_SNAPSHOTS", nullptr);
  CHECK(read_capacity_settings()->max_sandboxes == 0);
  CHECK(read_capacity_settings()->max_snapshots == 100);
  {
    Variable two("ORKESTR_MAX_SANDBOXES", "2");
    Variable one("ORKESTR_MAX_SNAPSHOTS", "1");
    CHECK(read_capacity_settings()->max_sandboxes == 2);
    CHECK(read_capacity_settings()->max_snapshots == 1);
  }
  {
    Variable empty("ORKESTR_MAX_SANDBOXES", "");
    CHECK(read_capacity_settings()->max_sandboxes == 0);
  }
  for (const char* name : {"ORKESTR_MAX_SANDBOXES", "ORKESTR_MAX_SNAPSHOTS"}) {
    for (const char* value : {"0", "-1", "many", "3x", " 3", "100001", "99999999999999999999"}) {
      Variable wrong(name, value);
      const auto got = read_capacity_settings();
      REQUIRE_FALSE(got);
      CHECK(got.error().code() == ErrorCode::invalid_argument);
      CHECK(got.error().message().find(std::string(name) + " is '" + value + "'") != std::string::npos);
      CHECK(got.error().message().find("1 to 100000") != std::string::npos);
    }
  }
}

TEST_CASE("capacity: how many run at once") {
  struct Row {
    int configured;
    HostFigures host;
    int most;
  };
  const Row rows[] = {
      {0, {2, 24'110, 20'000}, 128},  // 64 a core
      {0, {2, 8'000, 1'000}, 50},     // 160 MB each
      {0, {64, 16'000, 1'000}, 100},
      {0, {1, 100, 50}, 1},  // never none
      {0, {1, 0, 0}, 1},     // a host that does not say
      {7, {2, 24'110, 20'000}, 7},
      {1'000, {1, 100, 50}, 1'000},
  };
  for (const Row& row : rows) {
    CapacitySettings settings;
    settings.max_sandboxes = row.configured;
    CHECK(max_concurrent(settings, row.host) == row.most);
    CHECK(local_limits(settings, row.host).max_concurrent == row.most);
  }
}

TEST_CASE("capacity: refused before anything is started") {
  CapacitySettings settings;
  settings.max_sandboxes = 2;
  const HostFigures host{2, 24'000, 8'704};
  CHECK(check_capacity(0, 8'192, settings, host).ok());
  CHECK(check_capacity(1, 8'192, settings, host).ok());
  const auto plan = check_capacity(2, 1, settings, host);
  REQUIRE_FALSE(plan);
  CHECK(plan.error().code() == ErrorCode::plan_limit);
  CHECK(plan.error().message().find("2 sandboxes run on this machine") != std::string::npos);
  CHECK(plan.error().message().find("ORKESTR_MAX_SANDBOXES") != std::string::npos);
  const auto full = check_capacity(0, 8'193, settings, host);
  REQUIRE_FALSE(full);
  CHECK(full.error().code() == ErrorCode::fleet_full_retry);
  CHECK(full.error().message().find("memory_mb=8193") != std::string::npos);
  CHECK(full.error().details().retry_after > 0);
  // What never fits is no matter of waiting.
  CHECK(check_capacity(0, 23'488, settings, {2, 24'000, 24'000}).ok());
  const auto never = check_capacity(0, 23'489, settings, {2, 24'000, 24'000});
  REQUIRE_FALSE(never);
  CHECK(never.error().code() == ErrorCode::plan_limit);
  CHECK(never.error().message().find("24000 MB of memory in all") != std::string::npos);
  // A host that does not say what it has is asked for nothing.
  CHECK(check_capacity(0, 65'536, settings, {2, 0, 0}).ok());
}

TEST_CASE("capacity: limits tell the sizes that fit this machine") {
  const Limits small = local_limits({}, {2, 4'700, 4'000});
  CHECK(small.plan == "local");
  CHECK(small.max_snapshots == 100);
  REQUIRE(small.sizes.size() == 3);
  CHECK(small.allowed_sizes == std::vector<std::string>{"small", "medium"});
  CHECK(small.sizes[0].memory_mb == 1024);
  CHECK(small.sizes[1].cpu == 2);
  CHECK_FALSE(small.sizes[2].allowed);
  CHECK(local_limits({}, {2, 24'000, 100}).allowed_sizes.size() == 3);
  CHECK(local_limits({}, {2, 0, 0}).allowed_sizes.size() == 3);
}
