#include "report.hpp"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "base/file.hpp"
#include "base/json.hpp"

namespace orkestr::bench {

namespace {

std::string cpu_model() {
  auto info = base::read_file("/proc/cpuinfo", 4U << 20U);
  if (!info) return "unknown";
  auto at = info->find("model name");
  if (at == std::string::npos) return "unknown";
  auto colon = info->find(": ", at);
  auto end = info->find('\n', at);
  return colon < end ? info->substr(colon + 2, end - colon - 2) : "unknown";
}

std::string verdict(const Row& row) {
  if (!row.bar) return "";
  double m = median(row.samples);
  auto reaches = [&](double limit) { return row.better == Better::lower ? m <= limit : m >= limit; };
  if (row.aim && reaches(*row.aim)) return "aim";
  return reaches(*row.bar) ? "bar" : "MISSED";
}

std::string number(std::optional<double> value) { return value ? fmt::format("{:.5g}", *value) : ""; }

}  // namespace

double percentile(std::vector<double> samples, double percent) {
  std::sort(samples.begin(), samples.end());
  auto rank = static_cast<std::size_t>(std::ceil(percent / 100.0 * static_cast<double>(samples.size())));
  return samples[std::clamp<std::size_t>(rank, 1, samples.size()) - 1];
}

std::string table(const std::vector<Row>& rows, double floor_ms) {
  std::string out = fmt::format("{:<20} {:>10} {:>10} {:>3} {:<6} {:>8} {:>9} {:>9}  {}\n", "key", "median", "p95", "n",
                                "unit", "x floor", "bar", "aim", "reached");
  for (const Row& row : rows) {
    double m = median(row.samples);
    double tail = percentile(row.samples, row.better == Better::higher ? 5 : 95);
    std::string ratio = row.unit == "ms" && floor_ms > 0 ? fmt::format("{:.2f}", m / floor_ms) : "";
    out += fmt::format("{:<20} {:>10.2f} {:>10.2f} {:>3} {:<6} {:>8} {:>9} {:>9}  {}\n", row.key, m, tail,
                       row.samples.size(), row.unit, ratio, number(row.bar), number(row.aim), verdict(row));
  }
  return out;
}

std::string json(const std::vector<Row>& rows, double floor_ms, const std::string& accelerator,
                 const std::string& commit) {
  utsname host{};
  uname(&host);
  base::JsonWriter out;
  out.begin_object().key("machine").begin_object();
  out.field("kernel", host.release).field("cpu", cpu_model());
  out.field("cores", static_cast<std::int64_t>(std::thread::hardware_concurrency())).end_object();
  out.field("accel", accelerator).field("commit", commit).key("rows").begin_array();
  for (const Row& row : rows) {
    double m = median(row.samples);
    out.begin_object().field("key", row.key).field("median", m);
    out.field("p95", percentile(row.samples, row.better == Better::higher ? 5 : 95));
    if (row.samples.size() >= 100) out.field("p99", percentile(row.samples, row.better == Better::higher ? 1 : 99));
    out.field("n", static_cast<std::int64_t>(row.samples.size())).field("unit", row.unit).key("ratio_to_floor");
    if (row.unit == "ms" && floor_ms > 0) {
      out.value(m / floor_ms);
    } else {
      out.null();
    }
    out.end_object();
  }
  out.end_array().end_object();
  return out.take();
}

}  // namespace orkestr::bench
