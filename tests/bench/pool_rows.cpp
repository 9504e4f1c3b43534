#include "pool_rows.hpp"

#include <fmt/format.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "base/file.hpp"
#include "base/json.hpp"
#include "base/places.hpp"
#include "base/try.hpp"
#include "orkestr/host.hpp"
#include "orkestr/orkestr.hpp"

namespace orkestr::bench {
namespace {

using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;
constexpr int kMembers = 2;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Error wrong(std::string text) { return Error(ErrorCode::internal, "benchmark: " + std::move(text)); }

// A state directory of its own: the caller's pool is not touched.
class OwnState {
 public:
  OwnState() {
    if (const char* home = ::getenv("ORKESTR_HOME")) before_ = home;
    std::string pattern = fs::temp_directory_path() / "orkestr-bench-XXXXXX";
    if (const auto places = base::find_places(); places && ::mkdtemp(pattern.data()) != nullptr) {
      home_ = pattern;
      fs::create_directory_symlink(places->cache_dir, home_ + "/cache");
      ::setenv("ORKESTR_HOME", home_.c_str(), 1);
    }
  }
  ~OwnState() {
    (void)pool_clear();
    before_.empty() ? ::unsetenv("ORKESTR_HOME") : ::setenv("ORKESTR_HOME", before_.c_str(), 1);
    if (!home_.empty()) (void)base::remove_tree(home_);
  }
  OwnState(const OwnState&) = delete;
  OwnState& operator=(const OwnState&) = delete;
  bool ok() const { return !home_.empty(); }
  const std::string& home() const { return home_; }

 private:
  std::string before_;
  std::string home_;
};

// All members ready, and what made them at rest.
Result<void> await_members() {
  const auto end = Clock::now() + std::chrono::seconds(180);
  while (true) {
    ORKESTR_TRY(const auto pools, pool_list());
    if (!pools.empty() && pools.front().ready() == kMembers) break;
    if (Clock::now() > end) return wrong("the pool does not fill: " + (pools.empty() ? "" : pools.front().problem));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  return {};
}

Result<std::string> started_from(const std::string& home, const std::string& id) {
  ORKESTR_TRY(const auto text, base::read_file(fmt::format("{}/state/sandboxes/{}/record.json", home, id)));
  ORKESTR_TRY(const auto json, base::JsonValue::parse(text));
  return json.string_or("started_from", "");
}

}  // namespace

Result<void> measure_pool(const Plan& plan, Report& report, const std::function<Result<void>()>& floor) {
  if (!plan.wants("pool_create") && !plan.wants("pool_first_exec")) return {};
  fmt::print(stderr, "pool_create, pool_first_exec\n");
  const OwnState state;
  if (!state.ok()) return wrong("no directory for its own state");
  PoolOptions pool;
  pool.template_name = plan.template_name;
  pool.count = kMembers;
  ORKESTR_TRY(const auto filled, pool_set(pool));
  if (filled.ready() != kMembers) return wrong("the pool does not fill: " + filled.problem);
  CreateOptions create;
  create.template_name = plan.template_name;
  std::vector<double> creates, first_execs;
  for (int i = 0; i < plan.latency_runs; ++i) {
    for (auto* samples : {&creates, &first_execs}) {
      ORKESTR_CHECK(await_members());
      ORKESTR_CHECK(floor());
      const auto start = Clock::now();
      ORKESTR_TRY(auto sandbox, Sandbox::create(create));
      if (samples == &first_execs) {
        ORKESTR_TRY(const auto result, sandbox.exec("echo hello"));
        if (result.stdout_data != "hello\n") return wrong("echo printed " + result.stdout_data);
      }
      samples->push_back(ms_since(start));
      report.accelerator = sandbox.info().accelerator;
      ORKESTR_TRY(const auto from, started_from(state.home(), sandbox.id()));
      if (from != "pool") return wrong("a create was not from the pool but from " + from);
      ORKESTR_CHECK(sandbox.terminate());
    }
  }
  report.rows.push_back({"pool_create", "ms", Better::lower, std::move(creates), {}, {}});
  report.rows.push_back({"pool_first_exec", "ms", Better::lower, std::move(first_execs), {}, {}});
  return {};
}

}  // namespace orkestr::bench
