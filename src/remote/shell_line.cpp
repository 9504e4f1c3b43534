#include "remote/shell_line.hpp"

#include <fmt/format.h>

#include <random>

namespace orkestr::remote {

std::string shell_quoted(std::string_view word) {
  std::string out = "'";
  for (const char c : word) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

ShellLine shell_line(const std::vector<std::string>& argv) {
  if (argv.size() == 3 && argv[0] == "/bin/bash" && argv[1] == "-c") return {argv[2], {}};
  std::random_device random;
  ShellLine line;
  line.not_found_mark = fmt::format("orkestr-{:08x}{:08x}\n", random(), random());
  const std::string_view dashes = argv[0][0] == '-' ? "-- " : "";
  const std::string program = shell_quoted(argv[0]);
  line.line = fmt::format("command -v {}{} >/dev/null 2>&1 || {{ echo {} >&2; exit 127; }}; exec {}{}", dashes, program,
                          line.not_found_mark.substr(0, line.not_found_mark.size() - 1), dashes, program);
  for (std::size_t i = 1; i < argv.size(); ++i) line.line += " " + shell_quoted(argv[i]);
  return line;
}

}  // namespace orkestr::remote
