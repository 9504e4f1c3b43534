#include "binding_rows.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <chrono>

#include "base/child.hpp"
#include "base/file.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::bench {

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kExecsOfASample = 15;
constexpr int kMostMsOfASample = 600'000;
constexpr std::size_t kMostOfAnAnswer = 64U << 10U;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Error wrong(std::string text) { return Error(ErrorCode::internal, "benchmark: " + std::move(text)); }

// A program that takes samples in another language: for a line with a sample's name it answers one with its number, or
// with what went wrong. So this side decides how often and in which turn.
class Sampler {
 public:
  static Result<Sampler> start(const Plan& plan, const std::string& language, const std::string& script,
                               const std::string& sandbox_id) {
    ORKESTR_TRY(auto pair, base::socket_pair(SOCK_STREAM));
    base::ChildOptions options;
    options.argv = {plan.checkout + "/dev", language, plan.checkout + "/tests/bench/" + script, sandbox_id};
    options.env = {"CI="};  // with which `dev` gives its programs no input
    options.fds = {{pair.second.get(), 0}, {pair.second.get(), 1}, {2, 2}};
    options.new_process_group = true;
    Sampler sampler;
    sampler.language_ = language;
    ORKESTR_TRY(sampler.child_, base::Child::start(options));
    sampler.ours_ = std::move(pair.first);
    return sampler;
  }

  Result<double> sample(const std::string& name) {
    ORKESTR_CHECK(base::write_all(ours_.get(), name + "\n"));
    ORKESTR_TRY(const std::string answer, line());
    double value = 0;
    const auto [end, error] = std::from_chars(answer.data(), answer.data() + answer.size(), value);
    if (error != std::errc() || end != answer.data() + answer.size())
      return wrong(fmt::format("{}: {}: {}", language_, name, answer));
    return value;
  }

 private:
  Result<std::string> line() {
    std::string answer;
    while (answer.size() < kMostOfAnAnswer) {
      pollfd readable{ours_.get(), POLLIN, 0};
      if (poll(&readable, 1, kMostMsOfASample) != 1) return wrong(language_ + ": no answer within 10 minutes");
      char byte = 0;
      if (read(ours_.get(), &byte, 1) != 1) return wrong(language_ + ": its program ended: " + answer);
      if (byte == '\n') return answer;
      answer += byte;
    }
    return wrong(language_ + ": its answer has no end: " + answer);
  }

  std::string language_;
  base::UniqueFd ours_;
  base::Child child_;
};

struct Kind {
  std::string name, unit;
  Better better;
  int runs;
  std::optional<double> bar, aim;
};

// What is measured in each language; memory first, before the process has held anything large.
std::vector<Kind> kinds(const Plan& plan, double exec_bar, double exec_aim) {
  const int few = plan.throughput_runs;
  return {{"stdout_memory", "MiB", Better::lower, 1, 32, 8},
          {"exec", "x C++", Better::lower, plan.latency_runs, exec_bar, exec_aim},
          {"streams_500", "ms", Better::lower, few, {}, {}},
          {"upload", "MiB/s", Better::higher, few, 150, 250},
          {"download", "MiB/s", Better::higher, few, 200, 400},
          {"stdout", "MiB/s", Better::higher, few, 100, 300}};
}

struct Language {
  const char* name;
  const char* script;
  double exec_bar, exec_aim;
};
constexpr Language kLanguages[] = {{"python", "python_rows.py", 1.3, 1.1}, {"node", "node_rows.mjs", 1.5, 1.2}};

std::string key_of(const Language& language, const Kind& kind) {
  return fmt::format("{}_{}", language.name, kind.name);
}

bool wants(const Plan& plan, const Language& language) {
  for (const Kind& kind : kinds(plan, 0, 0)) {
    if (plan.wants(key_of(language, kind))) return true;
  }
  return false;
}

Result<void> measure_language(const Plan& plan, const Language& language, const Sandbox& sandbox, Report& report) {
  ORKESTR_TRY(auto sampler, Sampler::start(plan, language.name, language.script, sandbox.id()));
  for (const Kind& kind : kinds(plan, language.exec_bar, language.exec_aim)) {
    if (!plan.wants(key_of(language, kind))) continue;
    fmt::print(stderr, "{} ({} runs)\n", key_of(language, kind), kind.runs);
    const auto once = [&] { return sampler.sample(kind.name); };
    Row row{key_of(language, kind), kind.unit, kind.better, {}, kind.bar, kind.aim};
    for (int i = 0; i < kind.runs; ++i) {
      ORKESTR_TRY(const double value, kind.name == "exec" ? exec_ratio(sandbox, once) : once());
      row.samples.push_back(value);
    }
    report.rows.push_back(std::move(row));
  }
  return {};
}

// VmHWM: the most that this process has had in memory since `forget_peak()`.
Result<void> forget_peak() {
  ORKESTR_TRY(const auto file, base::open_at(AT_FDCWD, "/proc/self/clear_refs", O_WRONLY));
  return base::write_all(file.get(), "5");
}
Result<double> peak_mb() {
  ORKESTR_TRY(const std::string status, base::read_file("/proc/self/status"));
  const auto at = status.find("VmHWM:");
  if (at == status.npos) return wrong("no VmHWM in /proc/self/status");
  return std::stod(status.substr(at + 6, 32)) / 1024;
}

Result<void> pour(const Sandbox& sandbox, std::size_t mib) {
  ExecOptions patient;
  patient.timeout = std::chrono::minutes(10);
  ORKESTR_TRY(auto stream, sandbox.exec_stream(fmt::format("head -c {}M /dev/zero", mib), patient));
  std::size_t size = 0;
  while (true) {
    ORKESTR_TRY(const auto chunk, stream.next());
    if (!chunk) break;
    size += chunk->data.size();
  }
  return size == mib << 20U ? Result<void>() : wrong(fmt::format("{} bytes of {} MiB came", size, mib));
}

Result<void> stdout_memory(const Plan& plan, const Sandbox& sandbox, Report& report) {
  if (!plan.wants("stdout_memory")) return {};
  fmt::print(stderr, "stdout_memory (1 run)\n");
  ORKESTR_TRY(const double growth, memory_growth([&](std::size_t mib) { return pour(sandbox, mib); }));
  report.rows.push_back({"stdout_memory", "MiB", Better::lower, {growth}, 32, 8});
  return {};
}

}  // namespace

Result<double> memory_growth(const std::function<Result<void>(std::size_t mib)>& pour) {
  ORKESTR_CHECK(pour(64));
  ORKESTR_CHECK(forget_peak());
  ORKESTR_TRY(const double before, peak_mb());
  ORKESTR_CHECK(pour(1024));
  ORKESTR_TRY(const double after, peak_mb());
  return after - before;
}

Result<double> exec_ratio(const Sandbox& sandbox, const std::function<Result<double>()>& elsewhere) {
  std::vector<double> there, here;
  for (int i = 0; i < kExecsOfASample; ++i) {
    ORKESTR_TRY(const double one, elsewhere());
    there.push_back(one);
    const auto start = Clock::now();
    ORKESTR_TRY(const auto result, sandbox.exec("true"));
    here.push_back(ms_since(start));
    if (result.exit_code != 0) return wrong("true failed");
  }
  return median(there) / median(here);
}

bool wants_bindings(const Plan& plan) {
  for (const Language& language : kLanguages) {
    if (wants(plan, language)) return true;
  }
  return plan.wants("stdout_memory");
}

Result<void> measure_bindings(const Plan& plan, const Sandbox& sandbox, Report& report) {
  ORKESTR_CHECK(stdout_memory(plan, sandbox, report));
  for (const Language& language : kLanguages) {
    if (!wants(plan, language)) continue;
    if (plan.checkout.empty()) {
      fmt::print(stderr, "the rows of {} need --checkout: left out\n", language.name);
      continue;
    }
    ORKESTR_CHECK(measure_language(plan, language, sandbox, report));
  }
  return {};
}

}  // namespace orkestr::bench
