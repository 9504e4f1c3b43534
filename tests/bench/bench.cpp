// `./dev bench [--only KEY,…] [--json FILE]`
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/file.hpp"
#include "rows.hpp"

int main(int argc, char** argv) {
  namespace bench = orkestr::bench;
  bench::Plan plan;
  std::vector<std::string> only;
  std::string json_file, commit = "unknown";
  CLI::App app{"Measures orkestr against a bare QEMU start on this machine."};
  app.add_option("--only", only, "rows to measure")->delimiter(',');
  app.add_option("--json", json_file, "also write JSON to this file");
  app.add_option("--runs", plan.latency_runs, "runs of each latency row")->check(CLI::Range(1, 1000));
  app.add_option("--commit", commit, "named in the JSON")->take_last();
  app.add_option("--checkout", plan.checkout, "the repository that the rows of a fresh clone are of")->take_last();
  app.add_option("--template", plan.template_name, "template to boot");
  CLI11_PARSE(app, argc, argv);
  plan.only.insert(only.begin(), only.end());

  auto report = bench::measure(plan);
  if (!report) {
    fmt::print(stderr, "bench: {}\n", report.error().message());
    return 1;
  }
  fmt::print("{}", bench::table(report->rows, report->floor_ms));
  if (!json_file.empty()) {
    auto saved = orkestr::base::write_file_atomic(
        json_file, bench::json(report->rows, report->floor_ms, report->accelerator, commit) + "\n", 0644);
    if (!saved) {
      fmt::print(stderr, "bench: {}\n", saved.error().message());
      return 1;
    }
  }
  return 0;
}
