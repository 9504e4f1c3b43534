// Samples, their medians, and how they are shown.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace orkestr::bench {

enum class Better { lower, higher, neither };

struct Row {
  std::string key;
  std::string unit;  // "ms", "MiB/s", "MiB", "s"
  Better better = Better::lower;
  std::vector<double> samples;
  // The bar and aim of this row, in the row's unit, once the floor is known; nothing where there is none.
  std::optional<double> bar, aim;
};

// Nearest-rank percentile; `samples` must not be empty.
double percentile(std::vector<double> samples, double percent);
inline double median(const std::vector<double>& samples) { return percentile(samples, 50); }

std::string table(const std::vector<Row>& rows, double floor_ms);
std::string json(const std::vector<Row>& rows, double floor_ms, const std::string& accelerator,
                 const std::string& commit);

}  // namespace orkestr::bench
