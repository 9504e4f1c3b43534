// A program of somebody else's, built against what was installed.
#include <cstdio>
#include <orkestr/orkestr.hpp>

int main() try {
  orkestr::CreateOptions options;
  options.template_name = "python-3.12-bare";
  auto sandbox = orkestr::Sandbox::create(options).value();
  std::fputs(sandbox.exec("python3 -c 'print(6 * 7)'").value().stdout_data.c_str(), stdout);
  sandbox.terminate().value();
} catch (const orkestr::OrkestrError& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
