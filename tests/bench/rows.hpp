// What is measured. Every function appends samples of one row or says why it cannot.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "orkestr/error.hpp"
#include "report.hpp"

namespace orkestr::bench {

struct Plan {
  std::string template_name = "python-3.12-bare";
  std::set<std::string> only;  // empty: all
  int latency_runs = 20;
  int throughput_runs = 5;
  bool wants(const std::string& key) const { return only.empty() || only.count(key) > 0; }
};

struct Report {
  std::vector<Row> rows;
  double floor_ms = 0;
  std::string accelerator;
};

// Runs the plan, telling progress on stderr. The floor is always measured: ratios need it from the same run.
Result<Report> measure(const Plan& plan);

}  // namespace orkestr::bench
