// Where QEMU is, and which.
#pragma once

#include <string>
#include <string_view>

#include "orkestr/error.hpp"

namespace orkestr::vm {

// ORKESTR_QEMU (a path), else qemu-system-x86_64 on PATH, as an absolute path. vm_failed with the command that installs
// it.
Result<std::string> find_qemu();

struct QemuBuild {
  std::string path;
  std::string version;   // "7.2.22", as it says itself
  std::string identity;  // of the file: changes with every upgrade

  // "7.2": saved states of one are understood by the other when these agree.
  std::string series() const;
  // memory-backend-file has rom=off, since 8.2.
  bool maps_read_only() const;
};

// find_qemu(), and its answer to --version, which takes a process: remembered in `cache_file` (empty: not) for as long
// as the file is the same. vm_failed when it answers something else.
Result<QemuBuild> identify_qemu(const std::string& cache_file);
// "7.2.22" from "QEMU emulator version 7.2.22 (Debian …)"; empty for anything else. Pure.
std::string parse_qemu_version(std::string_view text);

}  // namespace orkestr::vm
