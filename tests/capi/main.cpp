// The test program in C, in a state directory of its own; and nothing may be left in it.
#include <cstdio>

#include "support/world.hpp"

extern "C" int run_all(void);

int main() {
  const orkestr::testing::World world;
  int failed = run_all();
  for (const auto& violation : world.leftovers()) {
    std::printf("FAILED: left behind: %s\n", violation.c_str());
    ++failed;
  }
  return failed == 0 ? 0 : 1;
}
