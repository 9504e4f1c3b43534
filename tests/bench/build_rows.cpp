#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <filesystem>

#include "base/child.hpp"
#include "base/file.hpp"
#include "base/try.hpp"
#include "image/user_namespace.hpp"
#include "orkestr/orkestr.hpp"
#include "rows.hpp"

namespace orkestr::bench {

namespace {

using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void say(const std::string& text) { fmt::print(stderr, "{}\n", text); }

// A directory of its own, removed at the end.
class Place {
 public:
  Place() : path_(fs::temp_directory_path() / fmt::format("orkestr-bench-build-{}", getpid())) {}
  ~Place() { (void)base::remove_tree(path_); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

// The same as ORKESTR_HOME while it lives.
class EmptyHome {
 public:
  EmptyHome() {
    if (const char* before = getenv("ORKESTR_HOME")) before_ = before;
    setenv("ORKESTR_HOME", place_.path().c_str(), 1);
  }
  ~EmptyHome() { before_.empty() ? unsetenv("ORKESTR_HOME") : setenv("ORKESTR_HOME", before_.c_str(), 1); }
  EmptyHome(const EmptyHome&) = delete;
  EmptyHome& operator=(const EmptyHome&) = delete;

 private:
  Place place_;
  std::string before_;
};

enum class How { anew, if_needed };

Result<Row> build_once(std::string key, const std::string& name, How how, double bar, double aim) {
  say(key + " (1 run)");
  TemplateBuildOptions options;
  options.force = how == How::anew;  // also where the machine's own cache has it
  const auto start = Clock::now();
  ORKESTR_CHECK(Template::build(name, options));
  return Row{std::move(key), "s", Better::lower, {seconds_since(start)}, bar, aim};
}

}  // namespace

Result<std::vector<Row>> template_build_rows(const Plan& plan) {
  std::vector<Row> rows;
  if (!plan.wants("template_build")) return rows;
  if (const auto obstacle = image::obstacle_to_root()) {
    say(fmt::format("template_build left out: {}", obstacle->what));
    return rows;
  }
  for (const char* name : {"python-3.12-bare", "node-22", "debian-12"}) {
    const EmptyHome home;
    ORKESTR_TRY(Row row, build_once(fmt::format("template_build/{}", name), name, How::anew, 120, 120));
    rows.push_back(std::move(row));
  }
  const EmptyHome home;
  ORKESTR_TRY(Row first, build_once("template_build", "python-3.12", How::anew, 180, 120));
  ORKESTR_TRY(Row again, build_once("template_rebuild", "python-3.12", How::if_needed, 2, 2));
  rows.push_back(std::move(first));
  rows.push_back(std::move(again));
  return rows;
}

Result<std::vector<Row>> fresh_clone_rows(const Plan& plan) {
  std::vector<Row> rows;
  if (!plan.wants("fresh_clone")) return rows;
  if (plan.checkout.empty() || geteuid() != 0) {
    say("fresh_clone needs --checkout and root: left out");
    return rows;
  }
  say("fresh_clone (1 run)");
  const Place place;
  const std::string clone = place.path() + "/clone", home = place.path() + "/home";
  ORKESTR_CHECK(base::make_directories(home));
  base::ChildOptions child;
  // The machine's own templates are found first, whatever ORKESTR_HOME says: an empty directory lies over them.
  child.argv = {"unshare",
                "--mount",
                "/bin/sh",
                "-ec",
                "git clone --quiet \"$1\" \"$2\"; mkdir -p /var/lib/orkestr; mount --bind \"$3\" /var/lib/orkestr; "
                "exec \"$2/dev\" quickstart",
                "sh",
                plan.checkout,
                clone,
                home};
  child.env = {"CCACHE_DISABLE=1", "ORKESTR_HOME="};
  const auto start = Clock::now();
  ORKESTR_TRY(auto ran, base::run_child(child, base::Deadline::after(std::chrono::minutes(60))));
  if (!ran.status.success()) {
    return Error(ErrorCode::internal, fmt::format("benchmark: a fresh clone's ./dev quickstart ended with {}:\n{}",
                                                  ran.status.to_string(), ran.output));
  }
  rows.push_back({"fresh_clone", "s", Better::lower, {seconds_since(start)}, 480, 480});
  // Written by `./dev quickstart`: lines "PART SECONDS".
  ORKESTR_TRY(const std::string parts, base::read_file(clone + "/build/logs/quickstart-parts"));
  for (std::size_t at = 0; at < parts.size();) {
    const std::size_t end = std::min(parts.find('\n', at), parts.size());
    const std::string_view line = std::string_view(parts).substr(at, end - at);
    at = end + 1;
    const std::size_t blank = line.find(' ');
    double value = 0;
    if (blank == line.npos ||
        std::from_chars(line.data() + blank + 1, line.data() + line.size(), value).ec != std::errc())
      return Error(ErrorCode::internal, fmt::format("benchmark: `./dev quickstart` wrote of its parts: {}", line));
    rows.push_back({fmt::format("fresh_clone/{}", line.substr(0, blank)), "s", Better::neither, {value}, {}, {}});
  }
  return rows;
}

}  // namespace orkestr::bench
