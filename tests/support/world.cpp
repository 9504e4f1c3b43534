#include "support/world.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <random>

#include "base/file.hpp"
#include "base/places.hpp"
#include "support/processes.hpp"

namespace orkestr::testing {

namespace fs = std::filesystem;

World::World() {
  auto places = base::find_places();
  std::string cache = places.value().cache_dir;
  std::string pattern = fs::temp_directory_path() / "orkestr-test-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
  home_ = pattern;
  fs::create_directory_symlink(cache, home_ + "/cache");
  setenv("ORKESTR_HOME", home_.c_str(), 1);
}

World::~World() {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(sandboxes_dir(), ignored)) {
    for (const Process& process : processes_of(entry.path().filename())) kill(process.pid, SIGKILL);
  }
  for (const auto& entry : fs::directory_iterator(pool_dir(), ignored)) {
    for (const Process& process : processes_of(entry.path().filename())) kill(process.pid, SIGKILL);
  }
  fs::remove_all(home_, ignored);
}

std::vector<std::string> World::files_of(const std::string& sandbox_id) const {
  auto names = base::list_directory(sandboxes_dir() + "/" + sandbox_id);
  return names ? *names : std::vector<std::string>{};
}

std::vector<std::string> World::leftovers() const {
  std::vector<std::string> bad;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(sandboxes_dir(), ignored)) {
    std::string id = entry.path().filename();
    for (const Process& process : processes_of(id))
      bad.push_back(fmt::format("{}: process {} ({})", id, process.pid, process.command));
    for (const std::string& name : files_of(id)) {
      if (name != "record.json" && name != "events.jsonl") bad.push_back(id + "/" + name);
    }
  }
  for (const auto& entry : fs::directory_iterator(pool_dir(), ignored)) {
    if (!entry.is_directory()) continue;
    std::string id = entry.path().filename();
    for (const Process& process : processes_of(id))
      bad.push_back(fmt::format("pool/{}: process {} ({})", id, process.pid, process.command));
    if (fs::exists(entry.path() / "lock")) bad.push_back(fmt::format("pool/{}/lock", id));
  }
  return bad;
}

int test_scale() {
  const char* text = getenv("ORKESTR_TEST_SCALE");
  int scale = text != nullptr ? atoi(text) : 1;
  return scale > 0 ? scale : 1;
}

unsigned test_seed() {
  const char* text = getenv("ORKESTR_TEST_SEED");
  unsigned seed = text != nullptr ? static_cast<unsigned>(strtoul(text, nullptr, 10)) : std::random_device()();
  fmt::print(stderr, "ORKESTR_TEST_SEED={}\n", seed);
  return seed;
}

}  // namespace orkestr::testing
