// `orkestr-supervisor --check-host`: what a supervisor would find on this machine, for orkestr::doctor(). It is a
// process of its own because both answers need fork(): the accelerator's speed, and which containment the kernel
// grants.
#pragma once

#include <string>

namespace orkestr::supervisor {

// One JSON object:
//   stamp                                      base::kBuildStamp
//   qemu          {path} or {error}
//   accelerator   {name, reason, isolation, iterations_per_s} or {error}
//   jail          {steps: [{name, applied, detail}]} or {error}: of a program that does nothing, started as QEMU would
//   be
// Takes 50 ms or so. Main thread only.
std::string check_host();

// Prints it on stdout; returns the exit code.
int print_host_check();

}  // namespace orkestr::supervisor
