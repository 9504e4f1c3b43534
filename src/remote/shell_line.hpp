// An argv as a shell command line, for a service that knows only these.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace orkestr::remote {

// In single quotes: nothing in it means anything to a POSIX shell.
std::string shell_quoted(std::string_view word);

struct ShellLine {
  std::string line;
  // What the line writes to its standard error, alone, before it ends with 127, when the program is not there: so that
  // this can be told from a program that ends with 127 itself. Random; empty for a line that was one already.
  std::string not_found_mark;
};

// {"/bin/bash", "-c", LINE} is LINE itself: a service runs its command lines so. Everything else becomes
// `exec 'PROGRAM' 'ARGUMENT'…`, so that the shell is gone when the program runs and its signals and exit code are the
// program's own.
ShellLine shell_line(const std::vector<std::string>& argv);

}  // namespace orkestr::remote
