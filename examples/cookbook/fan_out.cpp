// Many sandboxes at once: each operation has an asynchronous form, so no threads are needed. Each sandbox is its own
// machine; none can see another.
//
// expect: primes below 1000: 168
// expect: primes below 2000: 303
// expect: primes below 3000: 430
#include <cstdio>
#include <orkestr/orkestr.hpp>
#include <string>
#include <vector>

static const char* const kCode =
    "import sys\n"
    "limit = int(sys.argv[1])\n"
    "print(sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, limit)))\n";

int main() try {
  const int limits[] = {1000, 2000, 3000};
  std::vector<orkestr::Operation<orkestr::Sandbox>> starting;
  for (int limit : limits) {
    orkestr::CreateOptions options;
    options.template_name = "python-3.12-bare";
    options.metadata["task"] = "primes-" + std::to_string(limit);
    starting.push_back(orkestr::Sandbox::create_async(options));
  }
  std::vector<orkestr::Sandbox> sandboxes;
  for (auto& operation : starting) sandboxes.push_back(operation.get().value());

  std::vector<orkestr::Operation<orkestr::ExecResult>> running;
  for (std::size_t i = 0; i < sandboxes.size(); ++i) {
    sandboxes[i].files().write("/workspace/primes.py", kCode).value();
    running.push_back(sandboxes[i].run_async({"python3", "primes.py", std::to_string(limits[i])}));
  }
  for (std::size_t i = 0; i < running.size(); ++i) {
    std::printf("primes below %d: %s", limits[i], running[i].get().value().stdout_data.c_str());
  }
  for (auto& sandbox : sandboxes) sandbox.terminate().value();
  return 0;
} catch (const orkestr::OrkestrError& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
