// The test program in C, in a state directory of its own; and nothing may be left in it.
#include <cstdio>
#include <cstring>

#include "support/world.hpp"

extern "C" int run_all(void);
extern "C" int progress_of_create(void);

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "progress-of-create") == 0) return progress_of_create() == 0 ? 0 : 1;
  const orkestr::testing::World world;
  int failed = run_all();
  for (const auto& violation : world.leftovers()) {
    std::printf("FAILED: left behind: %s\n", violation.c_str());
    ++failed;
  }
  return failed == 0 ? 0 : 1;
}
