#include "rows.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>

#include "base/child.hpp"
#include "base/file.hpp"
#include "base/json.hpp"
#include "base/places.hpp"
#include "base/sha256.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "binding_rows.hpp"
#include "capi_rows.hpp"
#include "image/store.hpp"
#include "life_rows.hpp"
#include "orkestr/orkestr.hpp"
#include "pool_rows.hpp"
#include "support/processes.hpp"

namespace orkestr::bench {

namespace {

using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;
constexpr std::size_t kPayloadBytes = 256U << 20U;
constexpr const char* kScript = "print(sum(range(1_000_000)))";
constexpr const char* kAnswer = "499999500000\n";

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Error wrong(std::string text) { return Error(ErrorCode::internal, "benchmark: " + std::move(text)); }

void say(const std::string& text) { fmt::print(stderr, "{}\n", text); }

// A bare QEMU from its start to the QMP greeting: what no create can be faster than without a pool.
Result<double> one_floor() {
  ORKESTR_TRY(auto pair, base::socket_pair(SOCK_STREAM));
  base::ChildOptions options;
  options.argv = {"qemu-system-x86_64",
                  "-M",
                  "microvm",
                  "-nodefaults",
                  "-no-user-config",
                  "-display",
                  "none",
                  "-S",
                  "-chardev",
                  "socket,id=q,fd=3",
                  "-mon",
                  "chardev=q,mode=control"};
  options.fds = {{pair.second.get(), 3}};
  auto start = Clock::now();
  ORKESTR_TRY(auto child, base::Child::start(options));
  pair.second.reset();
  pollfd poll_fd{pair.first.get(), POLLIN, 0};
  char byte = 0;
  if (poll(&poll_fd, 1, 10'000) != 1 || read(pair.first.get(), &byte, 1) != 1)
    return wrong("QEMU gave no QMP greeting within 10 s");
  double took = ms_since(start);
  child.kill(9);
  ORKESTR_TRY(auto ended, child.wait(base::Deadline::after(std::chrono::seconds(10))));
  if (!ended) return wrong("QEMU did not end");
  return took;
}

class Bench {
 public:
  explicit Bench(const Plan& plan) : plan_(plan) {}

  Result<Report> run() {
    ORKESTR_CHECK(floor());
    const std::function<Result<void>()> another_floor = [this]() -> Result<void> {
      ORKESTR_TRY(const double sample, one_floor());
      report_.rows.front().samples.push_back(sample);
      return {};
    };
    ORKESTR_CHECK(measure_life(plan_, report_, another_floor));
    ORKESTR_CHECK(measure_pool(plan_, report_, another_floor));
    report_.floor_ms = median(report_.rows.front().samples);
    ORKESTR_CHECK(idle_memory());
    if (wants_any({"exec_argv", "exec", "quickstart_exec", "python_start", "upload", "download", "stdout", "capi_exec",
                   "capi_upload", "capi_download", "capi_stdout", "capi_stdout_memory"}) ||
        wants_bindings(plan_)) {
      CreateOptions options;
      options.template_name = plan_.template_name;
      options.timeout = std::chrono::seconds(3600);
      ORKESTR_TRY(auto sandbox, Sandbox::create(options));
      report_.accelerator = sandbox.info().accelerator;
      auto outcome = in_sandbox(sandbox);
      if (outcome) outcome = measure_capi(plan_, sandbox, report_);
      if (outcome) outcome = measure_bindings(plan_, sandbox, report_);
      ORKESTR_CHECK(sandbox.terminate());
      ORKESTR_CHECK(outcome);
    }
    ORKESTR_CHECK(quickstart_native());
    ORKESTR_CHECK(node_start());
    ORKESTR_CHECK(image_bytes());
    set_bars();
    for (const auto measure_rows : {template_build_rows, fresh_clone_rows}) {
      ORKESTR_TRY(auto rows, measure_rows(plan_));
      for (Row& row : rows) report_.rows.push_back(std::move(row));
    }
    return report_;
  }

 private:
  bool wants_any(std::initializer_list<const char*> keys) const {
    for (const char* key : keys) {
      if (plan_.wants(key)) return true;
    }
    return false;
  }

  // Runs `sample` and keeps its number.
  Result<void> row(const char* key, const char* unit, Better better, int runs,
                   const std::function<Result<double>()>& sample) {
    if (!plan_.wants(key) && std::string_view(key) != "qemu_floor") return {};
    say(fmt::format("{} ({} runs)", key, runs));
    Row row{key, unit, better, {}, {}, {}};
    for (int i = 0; i < runs; ++i) {
      ORKESTR_TRY(double value, sample());
      row.samples.push_back(value);
    }
    report_.rows.push_back(std::move(row));
    return {};
  }

  Result<void> floor() {
    ORKESTR_CHECK(row("qemu_floor", "ms", Better::neither, plan_.latency_runs, one_floor));
    report_.floor_ms = median(report_.rows.back().samples);
    return {};
  }

  Result<void> idle_memory() {
    return row("idle_memory", "MiB", Better::lower, 1, [&]() -> Result<double> {
      CreateOptions options;
      options.template_name = plan_.template_name;
      // Beside another one, or QEMU's program and the template's memory, which all share, would count as private.
      ORKESTR_TRY(auto other, Sandbox::create(options));
      ORKESTR_TRY(auto sandbox, Sandbox::create(options));
      for (const Sandbox& each : {other, sandbox}) {
        ORKESTR_TRY(auto result, each.exec("true"));
        if (result.exit_code != 0) return wrong("true failed");
      }
      usleep(10'000'000);
      auto processes = testing::processes_of(sandbox.id());
      if (processes.size() < 2)
        return wrong(fmt::format("{} processes of the sandbox were found, 2 are expected", processes.size()));
      double total = 0;
      for (const auto& process : processes) {
        // (This process has the lock file open, too.)
        if (process.pid != getpid()) total += testing::private_mb(process.pid);
      }
      ORKESTR_CHECK(other.terminate());
      ORKESTR_CHECK(sandbox.terminate());
      return total;
    });
  }

  Result<void> in_sandbox(const Sandbox& sandbox) {
    ORKESTR_CHECK(sandbox.files().write("/workspace/main.py", kScript));
    for (int i = 0; i < 5; ++i) {
      ORKESTR_TRY(auto warm, sandbox.exec("true; python3 main.py"));
      if (warm.stdout_data != kAnswer) return wrong("the quickstart printed " + warm.stdout_data + warm.stderr_data);
    }
    ORKESTR_CHECK(row("exec_argv", "ms", Better::lower, plan_.latency_runs, [&]() -> Result<double> {
      auto start = Clock::now();
      ORKESTR_TRY(auto result, sandbox.run({"/bin/true"}));
      return result.exit_code == 0 ? Result<double>(ms_since(start)) : wrong("/bin/true failed");
    }));
    ORKESTR_CHECK(row("exec", "ms", Better::lower, plan_.latency_runs, [&]() -> Result<double> {
      auto start = Clock::now();
      ORKESTR_TRY(auto result, sandbox.exec("true"));
      return result.exit_code == 0 ? Result<double>(ms_since(start)) : wrong("true failed");
    }));
    ORKESTR_CHECK(row("quickstart_exec", "ms", Better::lower, plan_.latency_runs, [&]() -> Result<double> {
      auto start = Clock::now();
      ORKESTR_TRY(auto result, sandbox.exec("python3 main.py"));
      return result.stdout_data == kAnswer ? Result<double>(ms_since(start))
                                           : wrong("the quickstart printed " + result.stdout_data);
    }));
    ORKESTR_CHECK(row("python_start", "ms", Better::neither, plan_.latency_runs, [&]() -> Result<double> {
      auto start = Clock::now();
      ORKESTR_TRY(auto result, sandbox.run({"python3", "-c", "pass"}));
      return result.exit_code == 0 ? Result<double>(ms_since(start)) : wrong("python3 -c pass failed");
    }));
    return throughput(sandbox);
  }

  Result<void> node_start() {
    if (!plan_.wants("node_start")) return {};
    CreateOptions options;
    options.template_name = "node-22";
    ORKESTR_TRY(auto sandbox, Sandbox::create(options));
    auto once = [&]() -> Result<double> {
      auto start = Clock::now();
      ORKESTR_TRY(auto result, sandbox.run({"node", "-e", "0"}));
      return result.exit_code == 0 ? Result<double>(ms_since(start)) : wrong("node -e 0 failed");
    };
    ORKESTR_TRY([[maybe_unused]] const double cold, once());
    auto outcome = row("node_start", "ms", Better::neither, plan_.latency_runs, once);
    ORKESTR_CHECK(sandbox.terminate());
    return outcome;
  }

  // One row for each template that is built: the size of its root file system's image.
  Result<void> image_bytes() {
    if (!plan_.wants("image_bytes")) return {};
    ORKESTR_TRY(const auto all, Template::list());
    for (const auto& info : all) {
      if (!info.built) continue;
      report_.rows.push_back(
          {"image_bytes/" + info.name, "MiB", Better::neither, {static_cast<double>(info.bytes) / 1048576.0}, {}, {}});
    }
    return {};
  }

  // Random data, checked by a second command's hash. The download and stdout rows read what upload wrote.
  Result<void> throughput(const Sandbox& sandbox) {
    if (!wants_any({"upload", "download", "stdout"})) return {};
    std::string payload = base::random_bytes(kPayloadBytes);
    std::string digest = base::sha256_hex(payload);
    auto mb_per_s = [](Clock::time_point start) { return kPayloadBytes / 1048576.0 / (ms_since(start) / 1000); };
    auto upload = [&]() -> Result<double> {
      auto start = Clock::now();
      ORKESTR_TRY(auto writer, sandbox.files().write_stream("/workspace/blob"));
      for (std::size_t at = 0; at < payload.size(); at += 1U << 20U) {
        ORKESTR_CHECK(writer.write(std::string_view(payload).substr(at, 1U << 20U)));
      }
      ORKESTR_CHECK(writer.finish());
      double rate = mb_per_s(start);
      ORKESTR_TRY(auto check, sandbox.exec("sha256sum /workspace/blob", ExecOptions{}));
      if (check.stdout_data.substr(0, 64) != digest)
        return wrong("the uploaded file's hash differs: " + check.stdout_data + check.stderr_data);
      return rate;
    };
    if (plan_.wants("upload")) {
      ORKESTR_CHECK(row("upload", "MiB/s", Better::higher, plan_.throughput_runs, upload));
    } else {
      ORKESTR_TRY(double unused, upload());
      static_cast<void>(unused);
    }
    std::string back;
    back.reserve(kPayloadBytes);
    ORKESTR_CHECK(row("download", "MiB/s", Better::higher, plan_.throughput_runs, [&]() -> Result<double> {
      back.clear();
      auto start = Clock::now();
      ORKESTR_TRY(auto reader, sandbox.files().read_stream("/workspace/blob"));
      while (true) {
        ORKESTR_TRY(std::string piece, reader.read());
        if (piece.empty()) break;
        back += piece;
      }
      double rate = mb_per_s(start);
      if (base::sha256_hex(back) != digest) return wrong(fmt::format("the downloaded {} bytes differ", back.size()));
      return rate;
    }));
    return row("stdout", "MiB/s", Better::higher, plan_.throughput_runs, [&]() -> Result<double> {
      back.clear();
      auto start = Clock::now();
      ORKESTR_TRY(auto stream, sandbox.exec_stream("cat /workspace/blob"));
      while (true) {
        ORKESTR_TRY(auto chunk, stream.next());
        if (!chunk) break;
        back += chunk->data;
      }
      double rate = mb_per_s(start);
      if (base::sha256_hex(back) != digest) return wrong(fmt::format("the {} bytes of output differ", back.size()));
      return rate;
    });
  }

  // The same script with the template's own CPython on the host, unpacked from the template's image.
  Result<void> quickstart_native() {
    if (!plan_.wants("quickstart_native")) return {};
    ORKESTR_TRY(auto places, base::find_places());
    ORKESTR_TRY(auto files, image::open_template(places.cache_search, plan_.template_name, "", places.cache_dir));
    std::string root = fs::temp_directory_path() / fmt::format("orkestr-bench-{}", getpid());
    base::ChildOptions unpack;
    unpack.argv = {"fsck.erofs", "--extract=" + root, files.base_image};
    ORKESTR_TRY(auto unpacked, base::run_child(unpack, base::Deadline::after(std::chrono::minutes(5))));
    if (!unpacked.status.success()) return wrong("fsck.erofs --extract: " + unpacked.output);
    base::ChildOptions python;
    python.argv = {root + "/usr/local/bin/python3.12", "-c", kScript};
    python.env = {"LD_LIBRARY_PATH=" + root + "/usr/local/lib", "PYTHONHOME=" + root + "/usr/local"};
    auto outcome = row("quickstart_native", "ms", Better::neither, plan_.latency_runs, [&]() -> Result<double> {
      auto start = Clock::now();
      ORKESTR_TRY(auto result, base::run_child(python, base::Deadline::after(std::chrono::seconds(60))));
      double took = ms_since(start);
      return result.output == kAnswer ? Result<double>(took) : wrong("the host's CPython printed " + result.output);
    });
    ORKESTR_CHECK(base::remove_tree(root));
    return outcome;
  }

  void set_bars() {
    double f = report_.floor_ms;
    std::optional<double> native;
    for (const Row& row : report_.rows) {
      if (row.key == "quickstart_native") native = median(row.samples);
    }
    for (Row& row : report_.rows) {
      auto set = [&](double bar, double aim) {
        row.bar = bar;
        row.aim = aim;
      };
      if (row.key == "cold_boot") set(3000, 1500);
      if (row.key == "create") set(4 * f, 2.5 * f);
      if (row.key == "create_first_exec") set(6 * f, 4 * f);
      if (row.key == "pool_create") set(0.5 * f, 0.2 * f);
      if (row.key == "pool_first_exec") set(2 * f, 1 * f);
      if (row.key == "create_python") set(25 * f, 12 * f);
      if (row.key == "burst32") set(32 * 2.5 * f, 32 * 1.6 * f);
      if (row.key == "pause") set(3 * f, 1.5 * f);
      if (row.key == "resume") set(4 * f, 2.5 * f);
      if (row.key == "pause_per_mb" || row.key == "resume_per_mb") set(1.5, 0.7);
      if (row.key == "pause_bytes") set(1.2, 1.05);
      if (row.key == "idle_memory") set(40, 26);
      if (row.key == "exec_argv") set(0.6 * f, 0.3 * f);
      if (row.key == "exec") set(1.0 * f, 0.7 * f);
      if (row.key == "quickstart_exec" && native) set(10 * *native, 6 * *native);
      if (row.key == "upload") set(150, 250);
      if (row.key == "download") set(200, 400);
      if (row.key == "stdout") set(100, 300);
    }
  }

  const Plan& plan_;
  Report report_;
};

}  // namespace

Result<Report> measure(const Plan& plan) { return Bench(plan).run(); }

}  // namespace orkestr::bench
