// Golden files: one argument a line. ORKESTR_UPDATE_GOLDEN=1 rewrites them; read the diff before you commit it.
#include <algorithm>
#include <cstdlib>

#include "vm/qemu_args.hpp"
#include "vm_test_support.hpp"

using namespace orkestr;
using namespace orkestr::vm;

namespace {

MachineConfig machine(Accelerator::Kind accelerator) {
  MachineConfig m;
  m.qemu = "/usr/bin/qemu-system-x86_64";
  m.sandbox_id = "sbx_01J9Z3K5V7W8X9Y0Z1A2B3C4D5";
  m.accelerator = accelerator;
  m.tsc_khz = 2596114;
  return m;
}

std::string lines(const std::vector<std::string>& args) {
  std::string out;
  for (const auto& a : args) out += a + "\n";
  return out;
}

void check_golden(const std::string& name, const MachineConfig& m) {
  const std::string path = std::string(ORKESTR_TESTS_DIR) + "/golden/qemu_args/" + name + ".txt";
  const std::string now = lines(qemu_args(m));
  if (std::getenv("ORKESTR_UPDATE_GOLDEN") != nullptr) REQUIRE(base::write_file_atomic(path, now, 0644));
  const auto golden = base::read_file(path);
  REQUIRE(golden);
  CHECK_MESSAGE(*golden == now, path << " differs; ORKESTR_UPDATE_GOLDEN=1 rewrites it");
}

}  // namespace

TEST_CASE("golden command lines") {
  check_golden("tcg", machine(Accelerator::Kind::tcg));
  check_golden("kvm", machine(Accelerator::Kind::kvm));
  auto large = machine(Accelerator::Kind::tcg);
  large.vcpus = 4;
  large.memory_mb = 8192;
  large.extra_kernel_args = "orkestr.debug=1";
  check_golden("tcg_large", large);
  auto unknown_tsc = machine(Accelerator::Kind::tcg);
  unknown_tsc.tsc_khz = 0;
  check_golden("tcg_unknown_tsc", unknown_tsc);
  auto restored = machine(Accelerator::Kind::tcg);
  restored.start_from = StartFrom::saved_state;
  check_golden("tcg_restored", restored);
  restored.layered = true;
  check_golden("tcg_restored_layered", restored);
  auto newer = machine(Accelerator::Kind::kvm);
  newer.start_from = StartFrom::saved_state;
  newer.read_only_memory = true;
  check_golden("kvm_restored_qemu_8_2", newer);
}

TEST_CASE("memory comes in steps of 128 MiB") {
  for (const auto& [asked, given] : {std::pair{1, 128}, {128, 128}, {129, 256}, {1000, 1024}, {1024, 1024}}) {
    CHECK(round_memory_mb(asked) == given);
  }
  auto m = machine(Accelerator::Kind::tcg);
  m.memory_mb = 1000;
  const auto text = lines(qemu_args(m));
  CHECK(text.find("-m\n1024\n") != std::string::npos);
  CHECK(text.find("size=1024M") != std::string::npos);
}

TEST_CASE("what must hold of every command line") {
  for (auto kind : {Accelerator::Kind::tcg, Accelerator::Kind::kvm}) {
    const auto m = machine(kind);
    const auto args = qemu_args(m);
    const auto text = lines(args);
    // No network, no probing of formats, nothing that may be named but descriptors.
    for (const char* never :
         {"-nic", "-netdev", "-net\n", "virtio-net", "format=", "/tmp", "/var", "invtsc", "balloon"}) {
      CAPTURE(never);
      CHECK(text.find(never) == std::string::npos);
    }
    CHECK(text.find("-sandbox\non,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny\n") !=
          std::string::npos);
    // The id is on the command line, and not in what the guest sees.
    CHECK(std::count(args.begin(), args.end(), m.sandbox_id) == 1);
    CHECK(kernel_args(m).find(m.sandbox_id) == std::string::npos);
    // Exactly one file may be written: the overlay.
    std::size_t writable = 0;
    for (const auto& a : args) {
      if (a.find("driver=file") == std::string::npos || a.find(",read-only=off") == std::string::npos) continue;
      ++writable;
      CHECK(a.find("node-name=top-f,filename=/dev/fdset/3,") != std::string::npos);
    }
    CHECK(writable == 1);
  }
}

TEST_CASE("what tunes translation stays out of a machine that has hardware") {
  const auto kvm = kernel_args(machine(Accelerator::Kind::kvm));
  for (const char* only_tcg : {"norandmaps", "mitigations=off", "tsc_early_khz", "hardened_usercopy=off", "no5lvl"}) {
    CHECK(kvm.find(only_tcg) == std::string::npos);
    CHECK(kernel_args(machine(Accelerator::Kind::tcg)).find(only_tcg) != std::string::npos);
  }
}
