// A state directory of the test's own, with the machine's template cache; and the promise that nothing is left in it.
#pragma once

#include <string>
#include <vector>

namespace orkestr::testing {

// Sets ORKESTR_HOME to a new temporary directory whose cache is the caller's real one. Made once, before the first use
// of the library; the destructor ends what still runs there (by its lock files) and removes the directory.
class World {
 public:
  World();
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  const std::string& home() const { return home_; }
  std::string sandboxes_dir() const { return home_ + "/state/sandboxes"; }
  std::string pool_dir() const { return home_ + "/state/pool"; }
  // Names in a sandbox's directory.
  std::vector<std::string> files_of(const std::string& sandbox_id) const;
  // What a test run may leave: nothing but records of ended sandboxes, and of members of the pool that failed. Each
  // entry is one violation, in words.
  std::vector<std::string> leftovers() const;

 private:
  std::string home_;
};

// ORKESTR_TEST_SCALE: 1 in `./dev test`, 10 in `./dev soak`.
int test_scale();
// ORKESTR_TEST_SEED or a new random one, printed so that a failure can be repeated.
unsigned test_seed();

}  // namespace orkestr::testing
