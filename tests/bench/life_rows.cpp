#include "life_rows.hpp"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <chrono>
#include <map>
#include <thread>

#include "base/file.hpp"
#include "base/places.hpp"
#include "base/try.hpp"
#include "orkestr/orkestr.hpp"
#include "support/processes.hpp"

namespace orkestr::bench {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Error wrong(std::string text) { return Error(ErrorCode::internal, "benchmark: " + std::move(text)); }

class Life {
 public:
  Life(const Plan& plan, Report& report, const std::function<Result<void>()>& floor)
      : plan_(plan), report_(report), floor_(floor) {}

  Result<void> run() {
    ORKESTR_CHECK(cold_boot());
    if (wants_any({"create", "create_first_exec", "create_python", "create_cycles", "create_sizes", "burst32", "pause",
                   "resume", "pause_sizes", "pause_bytes"})) {
      // The snapshot is made, and whatever else is remembered from now on.
      ORKESTR_TRY(const auto first, Sandbox::create(options()));
      ORKESTR_CHECK(first.terminate());
    }
    ORKESTR_CHECK(creates());
    ORKESTR_CHECK(sizes());
    ORKESTR_CHECK(cycles());
    ORKESTR_CHECK(burst());
    return pauses();
  }

 private:
  bool wants_any(std::initializer_list<const char*> keys) const {
    for (const char* key : keys) {
      if (plan_.wants(key)) return true;
    }
    return false;
  }
  CreateOptions options() const {
    CreateOptions create;
    create.template_name = plan_.template_name;
    return create;
  }
  void add(const std::string& key, std::vector<double> samples, const char* unit = "ms",
           Better better = Better::lower) {
    report_.rows.push_back({key, unit, better, std::move(samples), {}, {}});
  }
  void say(const std::string& what) const { fmt::print(stderr, "{}\n", what); }

  // What every create would cost without snapshots.
  Result<void> cold_boot() {
    if (!plan_.wants("cold_boot")) return {};
    say("cold_boot");
    ::setenv("ORKESTR_SNAPSHOTS", "off", 1);
    std::vector<double> samples;
    for (int i = 0; i < plan_.latency_runs; ++i) {
      const auto start = Clock::now();
      auto sandbox = Sandbox::create(options());
      if (!sandbox) return sandbox.error();
      samples.push_back(ms_since(start));
      report_.accelerator = sandbox->info().accelerator;
      ORKESTR_CHECK(sandbox->terminate());
    }
    ::unsetenv("ORKESTR_SNAPSHOTS");
    add("cold_boot", std::move(samples));
    return {};
  }

  // Three kinds of creates in turn, each beside a sample of the floor.
  Result<void> creates() {
    if (!wants_any({"create", "create_first_exec", "create_python"})) return {};
    say("create, create_first_exec, create_python");
    std::map<std::string, std::vector<double>> samples;
    for (int i = 0; i < plan_.latency_runs; ++i) {
      for (const char* kind : {"create", "create_first_exec", "create_python"}) {
        ORKESTR_CHECK(floor_());
        const auto start = Clock::now();
        ORKESTR_TRY(auto sandbox, Sandbox::create(options()));
        if (kind == std::string_view("create_first_exec")) {
          ORKESTR_TRY(const auto result, sandbox.exec("echo hello"));
          if (result.stdout_data != "hello\n") return wrong("echo printed " + result.stdout_data);
        } else if (kind == std::string_view("create_python")) {
          ORKESTR_TRY(const auto result, sandbox.run({"python3", "-c", "print(1)"}));
          if (result.stdout_data != "1\n") return wrong("python printed " + result.stdout_data + result.stderr_data);
        }
        samples[kind].push_back(ms_since(start));
        report_.accelerator = sandbox.info().accelerator;
        ORKESTR_CHECK(sandbox.terminate());
      }
    }
    for (auto& [kind, values] : samples) add(kind, std::move(values));
    return {};
  }

  Result<void> sizes() {
    if (!plan_.wants("create_sizes")) return {};
    const auto one = [&](const std::string& key, int memory_mb, double cpu) -> Result<void> {
      say(key);
      auto create = options();
      create.memory_mb = memory_mb;
      create.cpu = cpu;
      std::vector<double> samples;
      for (int i = -1; i < plan_.throughput_runs; ++i) {  // the first one makes the snapshot
        const auto start = Clock::now();
        ORKESTR_TRY(auto sandbox, Sandbox::create(create));
        if (i >= 0) samples.push_back(ms_since(start));
        ORKESTR_CHECK(sandbox.terminate());
      }
      add(key, std::move(samples), "ms", Better::neither);
      return {};
    };
    for (const int memory : {512, 1024, 4096}) ORKESTR_CHECK(one(fmt::format("create/{}MB", memory), memory, 1));
    for (const int cpus : {2, 4}) ORKESTR_CHECK(one(fmt::format("create/{}vcpu", cpus), 1024, cpus));
    return {};
  }

  Result<void> cycles() {
    if (!plan_.wants("create_cycles")) return {};
    say("create_cycles (100)");
    std::vector<double> samples;
    for (int i = 0; i < 100; ++i) {
      const auto start = Clock::now();
      ORKESTR_TRY(auto sandbox, Sandbox::create(options()));
      ORKESTR_CHECK(sandbox.terminate());
      samples.push_back(ms_since(start));
    }
    add("create_cycles", std::move(samples), "ms", Better::neither);
    return {};
  }

  Result<void> burst() {
    if (!plan_.wants("burst32")) return {};
    say("burst32");
    std::vector<double> samples;
    for (int i = 0; i < plan_.throughput_runs; ++i) {
      const auto start = Clock::now();
      std::vector<Operation<Sandbox>> pending;
      for (int n = 0; n < 32; ++n) pending.push_back(Sandbox::create_async(options()));
      std::vector<Sandbox> sandboxes;
      for (auto& operation : pending) {
        ORKESTR_TRY(auto sandbox, operation.get());
        sandboxes.push_back(std::move(sandbox));
      }
      samples.push_back(ms_since(start));
      for (const auto& sandbox : sandboxes) ORKESTR_CHECK(sandbox.terminate());
    }
    add("burst32", std::move(samples));
    return {};
  }

  // Bytes that the pause of a sandbox takes on disk, without what it shares with its template.
  static Result<double> paused_bytes(const std::string& id) {
    ORKESTR_TRY(const auto places, base::name_places());
    const std::string directory = fmt::format("{}/sandboxes/{}/pause", places.state_dir, id);
    ORKESTR_TRY(const auto names, base::list_directory(directory));
    double bytes = 0;
    for (const auto& name : names) {
      struct stat s {};
      if (::stat((directory + "/" + name).c_str(), &s) == 0 && s.st_nlink == 1) {
        bytes += static_cast<double>(s.st_blocks) * 512;
      }
    }
    return bytes;
  }

  // Anonymous pages of guest memory and allocated bytes of the overlay: what there was to save.
  static Result<double> dirty_bytes(const std::string& id) {
    const int pid = testing::pid_of(id, "qemu");
    if (pid == 0) return wrong("no QEMU of sandbox " + id);
    ORKESTR_TRY(const std::string smaps, base::read_file(fmt::format("/proc/{}/smaps", pid)));
    // Guest memory is the largest mapping there is.
    double largest = 0, dirty_kb = 0;
    for (std::size_t at = smaps.find("\nSize:"); at != std::string::npos; at = smaps.find("\nSize:", at + 1)) {
      const double size = std::stod(smaps.substr(at + 6, 32));
      const auto anonymous = smaps.find("\nAnonymous:", at);
      if (size <= largest || anonymous == std::string::npos) continue;
      largest = size;
      dirty_kb = std::stod(smaps.substr(anonymous + 11, 32));
    }
    double overlay = 0;
    for (int fd = 3; fd < 64; ++fd) {
      struct stat s {};
      const std::string path = fmt::format("/proc/{}/fd/{}", pid, fd);
      if (::stat(path.c_str(), &s) != 0 || !S_ISREG(s.st_mode) || s.st_nlink != 0) continue;
      if (s.st_size < largest * 1024) overlay += static_cast<double>(s.st_blocks) * 512;
    }
    return dirty_kb * 1024 + overlay;
  }

  struct Sample {
    double pause = 0, resume = 0, ratio = 0;
  };

  Result<Sample> pause_once(int dirty_mb) {
    auto create = options();
    create.memory_mb = 2048;
    ORKESTR_TRY(auto sandbox, Sandbox::create(create));
    if (dirty_mb > 0) {
      ExecOptions patient;
      patient.timeout = std::chrono::minutes(5);
      ORKESTR_TRY(const auto filled,
                  sandbox.exec(fmt::format("head -c {} /dev/urandom > /dev/shm/x", dirty_mb << 20), patient));
      if (filled.exit_code != 0) return wrong("filling memory: " + filled.stderr_data);
    }
    Sample sample;
    ORKESTR_TRY(const double dirty, dirty_bytes(sandbox.id()));
    auto start = Clock::now();
    ORKESTR_CHECK(sandbox.pause());
    sample.pause = ms_since(start);
    ORKESTR_TRY(const double stored, paused_bytes(sandbox.id()));
    sample.ratio = stored / dirty;
    // (This process holds the lock file open, too.)
    for (const char* process : {"qemu", "orkestr-supervi"}) {
      while (testing::pid_of(sandbox.id(), process) != 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    start = Clock::now();
    ORKESTR_TRY(auto again, Sandbox::resume(sandbox.id()));
    sample.resume = ms_since(start);
    ORKESTR_TRY(const auto result, again.exec("echo alive"));
    if (result.stdout_data != "alive\n") return wrong("after resume, echo printed " + result.stdout_data);
    ORKESTR_CHECK(again.terminate());
    return sample;
  }

  Result<void> pauses() {
    if (!wants_any({"pause", "resume", "pause_bytes", "pause_sizes"})) return {};
    std::map<int, std::pair<double, double>> medians;
    for (const int dirty_mb : {16, 0, 128, 512}) {
      if (dirty_mb != 16 && !plan_.wants("pause_sizes")) continue;
      say(fmt::format("pause and resume with {} MB of random memory", dirty_mb));
      std::vector<double> pause, resume, ratio;
      for (int i = 0; i < (dirty_mb == 16 ? plan_.latency_runs : plan_.throughput_runs); ++i) {
        if (dirty_mb == 16) ORKESTR_CHECK(floor_());
        ORKESTR_TRY(const auto sample, pause_once(dirty_mb));
        pause.push_back(sample.pause);
        resume.push_back(sample.resume);
        ratio.push_back(sample.ratio);
      }
      medians[dirty_mb] = {median(pause), median(resume)};
      const std::string suffix = dirty_mb == 16 ? "" : fmt::format("/{}MB", dirty_mb);
      add("pause" + suffix, std::move(pause));
      add("resume" + suffix, std::move(resume));
      if (dirty_mb == 16) add("pause_bytes", std::move(ratio), "x");
    }
    if (medians.count(512) != 0) {
      add("pause_per_mb", {(medians[512].first - medians[16].first) / 496}, "ms/MB");
      add("resume_per_mb", {(medians[512].second - medians[16].second) / 496}, "ms/MB");
    }
    return {};
  }

  const Plan& plan_;
  Report& report_;
  const std::function<Result<void>()>& floor_;
};

}  // namespace

Result<void> measure_life(const Plan& plan, Report& report, const std::function<Result<void>()>& floor) {
  return Life(plan, report, floor).run();
}

}  // namespace orkestr::bench
