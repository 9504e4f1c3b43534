// Runs code that a model wrote: it may be wrong, loop for ever, or be hostile. Each outcome is an ordinary value.
//
// expect: ok: 4950
// expect: failed with exit code 1: ZeroDivisionError: division by zero
// expect: stopped after 2 s; until then it printed: thinking
#include <cstdio>
#include <orkestr/orkestr.hpp>
#include <string>
#include <utility>

static std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

static std::string run(const orkestr::Sandbox& sandbox, const std::string& code) {
  sandbox.files().write("/workspace/generated.py", code).value();
  orkestr::ExecOptions options;
  options.timeout = std::chrono::seconds(2);
  auto result = sandbox.exec("python3 generated.py", options);
  if (!result) {
    if (result.error().code() != orkestr::ErrorCode::exec_timeout) return result.error().message();
    return "stopped after 2 s; until then it printed: " + last_line(result.error().details().stdout_data);
  }
  if (result->exit_code != 0) {
    return "failed with exit code " + std::to_string(result->exit_code) + ": " + last_line(result->stderr_data);
  }
  return "ok: " + last_line(result->stdout_data);
}

int main() try {
  const std::pair<const char*, const char*> generated[] = {
      {"a sum", "print(sum(range(100)))"},
      {"a mistake", "print(1 / 0)"},
      {"an endless loop", "print('thinking', flush=True)\nwhile True: pass"},
  };
  auto sandbox = orkestr::Sandbox::create({"python-3.12-bare"}).value();
  for (const auto& [name, code] : generated) std::printf("%s: %s\n", name, run(sandbox, code).c_str());
  sandbox.terminate().value();
  return 0;
} catch (const orkestr::OrkestrError& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
