// The tree of commands: names, options, help texts. What a command does is in commands.hpp.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace orkestr::cli {

// Whether a command line is parsed to be run, and what its command answered.
struct Invocation {
  std::vector<std::string> behind_dashes;  // the guest's command: all behind the first "--"
  bool has_dashes = false;
  int code = 0;  // what the command returned
};

// `invocation` outlives the tree; parsing runs the command that was named. (CLI11's own handling of "--" takes "[a,b]"
// apart, so what is behind it never goes through there.)
std::unique_ptr<CLI::App> make_command_line(Invocation& invocation);
void add_template_commands(CLI::App& app, Invocation& invocation);
// `orkestr pool …`
void add_pool_commands(CLI::App& app, Invocation& invocation);

// Lets its value be "5m" instead of 300. Returns its argument.
CLI::Option* takes_duration(CLI::Option* option);

// Candidates for the last of `words`, which stand behind "orkestr" on a command line: one a line, a tab and what it is
// behind it. Options and commands come from the tree, templates and ids from this machine.
std::vector<std::string> complete(const std::vector<std::string>& words);
// The script for a shell ("bash", "zsh", "fish"), which asks `orkestr __complete` for everything; empty for another
// one.
std::string completion_script(const std::string& shell);

// What to say beside CLI11's message about words that it did not expect: the commands or options that are like them.
std::string did_you_mean(const CLI::App& app, const std::vector<std::string>& words);
// The line with the two dashes that `run` and `exec` lack in `words`, in a sentence; empty where that is not what is
// wrong.
std::string forgotten_dashes(const CLI::App& app, std::vector<std::string> words);

}  // namespace orkestr::cli
