// A state directory of the test's own, with the machine's template cache; and the promise that nothing is left in it.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace orkestr::testing {

// Sets ORKESTR_HOME to a new temporary directory. Made once, before the first use of the library, and where a test
// needs one of its own; the destructor ends what still runs there (by its lock files), removes the directory and sets
// ORKESTR_HOME back.
class World {
 public:
  enum class Cache {
    shared,         // the caller's real one
    own_snapshots,  // its templates, but none of its snapshots: they can be damaged
    copy,           // a copy of one template: all of it can be damaged
  };
  // `below` an existing directory, else the one for temporary files.
  explicit World(Cache cache = Cache::shared, const std::string& below = "");
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  const std::string& home() const { return home_; }
  std::string sandboxes_dir() const { return home_ + "/state/sandboxes"; }
  std::string pool_dir() const { return home_ + "/state/pool"; }
  std::string cache_dir() const { return home_ + "/cache"; }
  // Names in a sandbox's directory.
  std::vector<std::string> files_of(const std::string& sandbox_id) const;
  // What a test run may leave: nothing but records of ended sandboxes, and of members of the pool that failed. Each
  // entry is one violation, in words.
  std::vector<std::string> leftovers() const;

 private:
  std::string home_;
  std::string home_before_;
};

// An environment variable, and the supervisors that are started meanwhile inherit it.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const std::string& value);
  ~ScopedVariable();
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

// ORKESTR_TEST_SCALE: 1 in `./dev test`, 10 in `./dev soak`.
int test_scale();
// ORKESTR_TEST_SEED or a new random one, printed so that a failure can be repeated.
unsigned test_seed();

}  // namespace orkestr::testing
