// Runs untrusted code in a throwaway Linux computer of its own.
//
// expect: 499999500000
#include <chrono>
#include <cstdio>
#include <orkestr/orkestr.hpp>

using Clock = std::chrono::steady_clock;

static double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

int main() try {
  const auto t0 = Clock::now();
  auto sandbox = orkestr::Sandbox::create({"python-3.12-bare"}).value();
  const double create_ms = ms_since(t0);

  sandbox.files().write("/workspace/main.py", "print(sum(range(1_000_000)))\n").value();

  const auto t1 = Clock::now();
  auto result = sandbox.exec("python3 main.py").value();
  const double exec_ms = ms_since(t1);

  const auto t2 = Clock::now();
  sandbox.terminate().value();
  const double terminate_ms = ms_since(t2);

  const auto info = sandbox.info();
  std::printf("stdout       %s", result.stdout_data.c_str());
  std::printf("duration_ms  %lld\n", static_cast<long long>(result.duration.count() / 1000));
  std::printf("accelerator %s, isolation %s, create %.0f ms, exec %.0f ms, terminate %.0f ms\n",
              info.accelerator.c_str(), info.isolation.c_str(), create_ms, exec_ms, terminate_ms);
  return 0;
} catch (const orkestr::OrkestrError& error) {
  std::fprintf(stderr, "%s: %s\n", std::string(orkestr::to_string(error.code())).c_str(), error.what());
  return 1;
}
