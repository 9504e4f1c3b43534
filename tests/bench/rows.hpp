// What is measured. Every function gives rows or says why it cannot.
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
  std::string checkout;  // a git repository with `dev`, for the rows of a fresh clone; empty: without them
  bool wants(const std::string& key) const { return only.empty() || only.count(key) > 0; }
};

struct Report {
  std::vector<Row> rows;
  double floor_ms = 0;
  std::string accelerator;
};

// Each template from nothing, downloads included, in a place of its own; and one of them asked for once more. Need
// root: left out, with a word, without it.
Result<std::vector<Row>> template_build_rows(const Plan& plan);
// A clone of the checkout (of what is committed) to the quickstart's output, in all and by part, without the compiler's
// cache and with no template. What apt has to install is only there on a machine where it is not installed yet.
Result<std::vector<Row>> fresh_clone_rows(const Plan& plan);

// Runs the plan, telling progress on stderr. The floor is always measured: ratios need it from the same run.
Result<Report> measure(const Plan& plan);

}  // namespace orkestr::bench
