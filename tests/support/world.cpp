#include "support/world.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <random>

#include "base/child.hpp"
#include "base/file.hpp"
#include "base/places.hpp"
#include "support/processes.hpp"

namespace orkestr::testing {

namespace fs = std::filesystem;

namespace {

// Not ourselves: a handle holds the lock file of its sandbox open.
std::vector<Process> others_of(const std::string& part_of_path) {
  auto found = processes_of(part_of_path);
  std::erase_if(found, [](const Process& process) { return process.pid == getpid(); });
  return found;
}

// Only what sandboxes of one template need.
void copy_cache(const std::string& from, const std::string& to) {
  fs::create_directories(to + "/templates");
  for (const std::string& what : {std::string("templates/python-3.12-bare"), std::string("kernels")}) {
    const auto made = base::run_child({.argv = {"cp", "-a", "--reflink=auto", "--sparse=always", from + "/" + what,
                                                (fs::path(to) / what).parent_path().string() + "/"},
                                       .env = {},
                                       .cwd = "",
                                       .fds = {}},
                                      base::Deadline::after(std::chrono::minutes(5)));
    if (!made || !made->status.success()) throw std::runtime_error("cp -a of " + what);
  }
}

}  // namespace

World::World(Cache cache, const std::string& below) {
  const std::string real = base::find_places().value().cache_dir;
  if (const char* before = getenv("ORKESTR_HOME")) home_before_ = before;
  std::string pattern = (below.empty() ? fs::temp_directory_path() : fs::path(below)) / "orkestr-test-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
  home_ = pattern;
  if (cache == Cache::shared) {
    fs::create_directory_symlink(real, cache_dir());
  } else {
    fs::create_directory(cache_dir());
    fs::copy_file(real + "/version", cache_dir() + "/version");
    if (cache == Cache::copy) {
      copy_cache(real, cache_dir());
    } else {
      for (const char* name : {"/templates", "/kernels"}) fs::create_directory_symlink(real + name, cache_dir() + name);
    }
  }
  setenv("ORKESTR_HOME", home_.c_str(), 1);
}

World::~World() {
  // By this world's own path: a bare name in it, as "lock", is part of the name of files that anybody holds open.
  for (const Process& process : others_of(home_ + "/state")) kill(process.pid, SIGKILL);
  std::error_code ignored;
  fs::remove_all(home_, ignored);
  if (home_before_.empty()) {
    unsetenv("ORKESTR_HOME");
  } else {
    setenv("ORKESTR_HOME", home_before_.c_str(), 1);
  }
}

ScopedVariable::ScopedVariable(const char* name, const std::string& value) : name_(name) {
  if (const char* before = getenv(name)) before_ = before;
  setenv(name, value.c_str(), 1);
}

ScopedVariable::~ScopedVariable() {
  if (before_) {
    setenv(name_, before_->c_str(), 1);
  } else {
    unsetenv(name_);
  }
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
    for (const Process& process : others_of(id))
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
