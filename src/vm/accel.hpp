// What runs the guest's instructions: KVM where it is present *and fast*, else QEMU's translator (TCG).
//
// A /dev/kvm that opens is no proof: on nested or emulated hosts it may interpret every instruction, and then a kernel
// takes minutes where TCG takes seconds. So a tiny 64-bit guest loop is timed, and what counts is its speed.
//
// Single-threaded callers. The probe forks a helper that it kills after at most a fraction of a second.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "orkestr/error.hpp"

namespace orkestr::vm {

// Loop iterations a second from which KVM is taken for real. Measured: 1 000 M on hardware, 1–2 M where it is
// interpreted.
constexpr double kFastKvmIterationsPerS = 50e6;

struct Accelerator {
  enum class Kind { kvm, tcg };
  Kind kind = Kind::tcg;
  std::string name = "tcg";            // "kvm", "tcg"
  std::string reason;                  // for a person: "kvm-slow: /dev/kvm runs 1.4 M iterations/s, 50 M are needed"
  std::string isolation = "emulated";  // "hardware" or "emulated"
  double iterations_per_s = 0;         // of the probe; 0: it did not run
  std::int64_t tsc_khz =
      0;  // of the host; the guest's kernel is told, because measuring it hangs under load. 0: unknown
};

// What the probe found.
struct KvmProbe {
  enum class State {
    absent,   // no /dev/kvm
    refused,  // it is there, and we (or QEMU under its own uid) may not open it; `detail` says what to do
    broken,   // an ioctl failed or the guest died; `detail` says which
    ran,
  };
  State state = State::absent;
  std::string detail;
  double iterations_per_s = 0;  // of the loop, where it ran
};

// Runs the loop, for 15 ms at most. Never fails: what goes wrong is the result.
KvmProbe probe_kvm();

// The rule, as a pure function. `forced` is "", "kvm" or "tcg" (ORKESTR_ACCEL), anything else is invalid_argument.
// A forced KVM that cannot be used is vm_failed; one that is only slow is used, and `reason` says so.
Result<Accelerator> decide_accelerator(std::string_view forced, const KvmProbe& probe);

// The host's TSC frequency: cpuid where it agrees with a measurement of ~10 ms, else the measurement. 0 when the TSC
// does not run evenly.
std::int64_t measure_tsc_khz();

// Probe and rule together. `cache_file` remembers the measurements for this boot of the host and this /dev/kvm
// (identity, mode, our uid); empty or unwritable: measured anew each time.
Result<Accelerator> choose_accelerator(std::string_view forced, const std::string& cache_file);

}  // namespace orkestr::vm
