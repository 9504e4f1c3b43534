#include "vm/accel.hpp"

#include <cpuid.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/file.hpp"
#include "base/json.hpp"
#include "base/system.hpp"
#include "vm/vm_error.hpp"

namespace orkestr::vm {
namespace {

constexpr std::string_view kIsolationNote = "QEMU gives no security guarantee for emulation";

std::string millions(double per_s) { return fmt::format("{:.1f} M", per_s / 1e6); }

Accelerator tcg_because(std::string reason) {
  Accelerator a;
  a.reason = std::move(reason);
  return a;
}

Accelerator kvm_because(std::string reason, double speed) {
  Accelerator a;
  a.kind = Accelerator::Kind::kvm;
  a.name = "kvm";
  a.isolation = "hardware";
  a.reason = std::move(reason);
  a.iterations_per_s = speed;
  return a;
}

std::string why_not_kvm(const KvmProbe& probe) {
  switch (probe.state) {
    case KvmProbe::State::absent:
      return "kvm-absent: " + probe.detail;
    case KvmProbe::State::refused:
      return "kvm-refused: " + probe.detail;
    case KvmProbe::State::broken:
      return "kvm-broken: " + probe.detail;
    case KvmProbe::State::ran:
      break;
  }
  return fmt::format("kvm-slow: /dev/kvm runs {} iterations/s, {:.0f} M are needed", millions(probe.iterations_per_s),
                     kFastKvmIterationsPerS / 1e6);
}

std::int64_t nanoseconds_now() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC_RAW, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

struct TscReading {
  std::uint64_t tsc = 0;
  std::int64_t ns = 0;
};

// The clock and the TSC at the same instant: of several readings the one that was interrupted least.
TscReading read_tsc() {
  TscReading best;
  std::uint64_t best_width = std::numeric_limits<std::uint64_t>::max();
  for (int i = 0; i < 20; ++i) {
    const std::uint64_t before = __rdtsc();
    const std::int64_t ns = nanoseconds_now();
    const std::uint64_t after = __rdtsc();
    if (after - before >= best_width) continue;
    best_width = after - before;
    best = {before + (after - before) / 2, ns};
  }
  return best;
}

bool tsc_is_invariant() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(0x80000007U, &a, &b, &c, &d) != 0 && (d & (1U << 8U)) != 0;
}

// What the processor or the hypervisor says; 0 when neither does.
std::int64_t advertised_tsc_khz() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(0x15U, &a, &b, &c, &d) != 0 && a != 0 && b != 0 && c != 0) {
    return static_cast<std::int64_t>(std::uint64_t{c} * b / a / 1000);
  }
  __cpuid(1, a, b, c, d);
  if ((c & (1U << 31U)) == 0) return 0;
  __cpuid(0x40000000U, a, b, c, d);
  if (a < 0x40000010U) return 0;
  __cpuid(0x40000010U, a, b, c, d);
  return a;
}

struct Measurements {
  KvmProbe probe;
  std::int64_t tsc_khz = 0;
};

constexpr std::array<std::string_view, 4> kStateNames = {"absent", "refused", "broken", "ran"};

// Whatever may change the outcome without a reboot: the device node, its mode, who we are.
std::string cache_key() {
  struct stat s {};
  const bool there = ::stat("/dev/kvm", &s) == 0;
  return fmt::format("1 {} {} {:x} {} {:o} {} {} {} {}", base::boot_id(), there, s.st_rdev, s.st_ino, s.st_mode,
                     s.st_uid, s.st_gid, ::geteuid(), ::access("/dev/kvm", R_OK | W_OK) == 0);
}

std::optional<Measurements> read_cache(const std::string& path, const std::string& key) {
  auto text = base::read_file(path, 64U << 10U);
  if (!text) return std::nullopt;
  auto json = base::JsonValue::parse(*text);
  if (!json || json->string_or("key", "") != key) return std::nullopt;
  Measurements m;
  const auto* state = std::find(kStateNames.begin(), kStateNames.end(), json->string_or("kvm", ""));
  if (state == kStateNames.end()) return std::nullopt;
  m.probe.state = static_cast<KvmProbe::State>(state - kStateNames.begin());
  m.probe.detail = json->string_or("detail", "");
  m.probe.iterations_per_s = static_cast<double>(json->integer_or("iterations_per_s", 0));
  m.tsc_khz = json->integer_or("tsc_khz", 0);
  return m;
}

void write_cache(const std::string& path, const std::string& key, const Measurements& m) {
  base::JsonWriter json;
  json.begin_object()
      .field("key", key)
      .field("kvm", kStateNames.at(static_cast<std::size_t>(m.probe.state)))
      .field("detail", m.probe.detail)
      .field("iterations_per_s", static_cast<std::int64_t>(m.probe.iterations_per_s))
      .field("tsc_khz", m.tsc_khz)
      .end_object();
  // A cache that cannot be written costs the next start 25 ms and nothing else.
  (void)base::write_file_atomic(path, json.take() + "\n", 0644).ok();
}

}  // namespace

std::int64_t measure_tsc_khz() {
  if (!tsc_is_invariant()) return 0;
  const TscReading start = read_tsc();
  const timespec pause{0, 10'000'000};
  ::nanosleep(&pause, nullptr);
  const TscReading end = read_tsc();
  if (end.ns <= start.ns || end.tsc <= start.tsc) return 0;
  const double khz = static_cast<double>(end.tsc - start.tsc) * 1e6 / static_cast<double>(end.ns - start.ns);
  const auto measured = static_cast<std::int64_t>(std::llround(khz));
  // Hypervisors are known to pass on the leaf of another machine; a millisecond clock drifts by what it is wrong.
  const std::int64_t advertised = advertised_tsc_khz();
  const bool agrees = advertised > 0 && std::abs(advertised - measured) < measured / 500;
  return agrees ? advertised : measured;
}

Result<Accelerator> decide_accelerator(std::string_view forced, const KvmProbe& probe) {
  const bool ran = probe.state == KvmProbe::State::ran;
  const bool fast = ran && probe.iterations_per_s >= kFastKvmIterationsPerS;
  Accelerator chosen;
  if (forced.empty()) {
    chosen = fast ? kvm_because(fmt::format("kvm: {} iterations/s", millions(probe.iterations_per_s)),
                                probe.iterations_per_s)
                  : tcg_because(why_not_kvm(probe));
  } else if (forced == "tcg") {
    chosen = tcg_because(fmt::format("forced by ORKESTR_ACCEL=tcg; {}", kIsolationNote));
  } else if (forced == "kvm") {
    if (!ran) {
      return vm_error(
          "accelerator",
          fmt::format("ORKESTR_ACCEL=kvm, but KVM cannot be used here ({}). Unset ORKESTR_ACCEL, or set it to "
                      "tcg, to run under emulation.",
                      why_not_kvm(probe)));
    }
    chosen =
        kvm_because(fast ? "forced by ORKESTR_ACCEL=kvm" : "forced by ORKESTR_ACCEL=kvm although " + why_not_kvm(probe),
                    probe.iterations_per_s);
  } else {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("ORKESTR_ACCEL is \"{}\"; allowed are \"kvm\" and \"tcg\", or nothing to choose by speed.",
                             forced));
  }
  chosen.iterations_per_s = probe.iterations_per_s;
  return chosen;
}

Result<Accelerator> choose_accelerator(std::string_view forced, const std::string& cache_file) {
  const std::string key = cache_key();
  std::optional<Measurements> m;
  if (!cache_file.empty()) m = read_cache(cache_file, key);
  if (!m) {
    m = Measurements{probe_kvm(), measure_tsc_khz()};
    if (!cache_file.empty()) write_cache(cache_file, key, *m);
  }
  auto chosen = decide_accelerator(forced, m->probe);
  if (chosen) chosen->tsc_khz = m->tsc_khz;
  return chosen;
}

}  // namespace orkestr::vm
