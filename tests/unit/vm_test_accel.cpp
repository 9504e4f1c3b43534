#include <time.h>
#include <x86intrin.h>

#include "base/json.hpp"
#include "vm/accel.hpp"
#include "vm/kvm_access.hpp"
#include "vm_test_support.hpp"

using namespace orkestr;
using namespace orkestr::vm;
using State = KvmProbe::State;

TEST_CASE("the accelerator is chosen by presence and speed, and the reason says which") {
  struct Row {
    const char* forced;
    KvmProbe probe;
    const char* name;  // "" where an error is expected
    const char* isolation;
    const char* says;  // in the reason, or in the error's message
  };
  const Row rows[] = {
      {"", {State::ran, "", 1e9}, "kvm", "hardware", "1000.0 M iterations/s"},
      {"", {State::ran, "", 50e6}, "kvm", "hardware", "kvm: 50.0 M"},
      {"", {State::ran, "", 49.9e6}, "tcg", "emulated", "kvm-slow: /dev/kvm runs 49.9 M iterations/s, 50 M are needed"},
      {"", {State::ran, "", 1.4e6}, "tcg", "emulated", "kvm-slow: /dev/kvm runs 1.4 M"},
      {"", {State::absent, "/dev/kvm: No such file", 0}, "tcg", "emulated", "kvm-absent: /dev/kvm: No such file"},
      {"", {State::refused, "usermod", 0}, "tcg", "emulated", "kvm-refused: usermod"},
      {"", {State::broken, "KVM_RUN failed (5)", 0}, "tcg", "emulated", "kvm-broken: KVM_RUN failed (5)"},
      {"tcg", {State::ran, "", 1e9}, "tcg", "emulated", "forced by ORKESTR_ACCEL=tcg"},
      {"kvm", {State::ran, "", 1e9}, "kvm", "hardware", "forced by ORKESTR_ACCEL=kvm"},
      {"kvm", {State::ran, "", 1e6}, "kvm", "hardware", "although kvm-slow: /dev/kvm runs 1.0 M"},
      {"kvm", {State::absent, "gone", 0}, "", "", "kvm-absent: gone"},
      {"kvm", {State::refused, "usermod", 0}, "", "", "kvm-refused: usermod"},
      {"kvm", {State::broken, "ioctl", 0}, "", "", "kvm-broken: ioctl"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.forced);
    CAPTURE(row.says);
    const auto got = decide_accelerator(row.forced, row.probe);
    if (*row.name == '\0') {
      REQUIRE(!got);
      CHECK(got.error().code() == ErrorCode::vm_failed);
      CHECK(got.error().details().stage == "accelerator");
      CHECK(got.error().message().find(row.says) != std::string::npos);
      continue;
    }
    REQUIRE(got);
    CHECK(got->name == row.name);
    CHECK((got->kind == Accelerator::Kind::kvm) == (got->name == "kvm"));
    CHECK(got->isolation == row.isolation);
    CHECK(got->reason.find(row.says) != std::string::npos);
    CHECK(got->iterations_per_s == row.probe.iterations_per_s);
  }
}

TEST_CASE("an unknown accelerator is refused by name") {
  for (const char* forced : {"hvf", "KVM", "kvm ", "tcg,thread=multi"}) {
    const auto got = decide_accelerator(forced, {State::ran, "", 1e9});
    REQUIRE(!got);
    CHECK(got.error().code() == ErrorCode::invalid_argument);
    CHECK(got.error().message().find(forced) != std::string::npos);
    CHECK(got.error().message().find("\"kvm\" and \"tcg\"") != std::string::npos);
  }
}

TEST_CASE("QEMU's own uid reaches /dev/kvm by the device's group, never by group 0") {
  CHECK(kvm_groups_for(020666, 0)->empty());
  CHECK(*kvm_groups_for(020660, 104) == std::vector<gid_t>{104});
  for (const auto& [mode, group] : {std::pair<mode_t, gid_t>{020600, 0}, {020660, 0}, {020640, 104}, {020600, 104}}) {
    const auto got = kvm_groups_for(mode, group);
    REQUIRE(!got);
    CHECK(got.error().message().find("chmod 0660 /dev/kvm") != std::string::npos);
  }
}

TEST_CASE("the probe ends soon, whatever /dev/kvm is") {
  const auto start = base::Deadline::Clock::now();
  const auto probe = probe_kvm();
  CHECK(base::Deadline::Clock::now() - start < std::chrono::milliseconds(1500));
  if (probe.state == State::ran)
    CHECK(probe.iterations_per_s > 1000);
  else
    CHECK(!probe.detail.empty());
}

TEST_CASE("the TSC's frequency is what a longer measurement finds") {
  const auto khz = measure_tsc_khz();
  if (khz == 0) return;  // no invariant TSC
  const auto now = [] {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
  };
  const double ms = now();
  const auto tsc = __rdtsc();
  const timespec pause{0, 100'000'000};
  ::nanosleep(&pause, nullptr);
  const auto ticks = static_cast<double>(__rdtsc() - tsc);
  CHECK(static_cast<double>(khz) == doctest::Approx(ticks / (now() - ms)).epsilon(0.01));
}

TEST_CASE("measurements are remembered for this boot and this /dev/kvm only") {
  test::TemporaryDirectory dir;
  const std::string cache = dir.path + "/accelerator.json";
  REQUIRE(choose_accelerator("", cache));
  auto json = base::JsonValue::parse(*base::read_file(cache));
  REQUIRE(json);
  const auto write = [&](const std::string& key, const char* kvm, int tsc_khz) {
    base::JsonWriter w;
    w.begin_object().field("key", key).field("kvm", kvm).field("detail", "").field("iterations_per_s", 777'000'000);
    w.field("tsc_khz", tsc_khz).end_object();
    REQUIRE(base::write_file_atomic(cache, w.take()));
  };
  const std::string key = json->string_or("key", "");

  write(key, "ran", 4242);
  auto got = choose_accelerator("", cache);
  REQUIRE(got);
  CHECK(got->name == "kvm");
  CHECK(got->tsc_khz == 4242);
  CHECK(got->iterations_per_s == 777e6);

  write("another boot", "ran", 4242);
  got = choose_accelerator("", cache);
  REQUIRE(got);
  CHECK(got->tsc_khz != 4242);

  write(key, "no such state", 4242);
  CHECK(choose_accelerator("", cache)->tsc_khz != 4242);
  REQUIRE(base::write_file_atomic(cache, "{\"key\":"));
  CHECK(choose_accelerator("", cache));
  CHECK(choose_accelerator("", "/nonexistent/directory/cache"));
}
