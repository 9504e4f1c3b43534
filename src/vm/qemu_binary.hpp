// Where QEMU is.
#pragma once

#include <string>

#include "orkestr/error.hpp"

namespace orkestr::vm {

// ORKESTR_QEMU (a path), else qemu-system-x86_64 on PATH, as an absolute path. vm_failed with the command that installs
// it.
Result<std::string> find_qemu();

}  // namespace orkestr::vm
