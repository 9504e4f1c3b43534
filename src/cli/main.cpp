// The command line. Results go to stdout, everything else to stderr; exit codes are in commands.hpp.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "cli/terminal.hpp"
#include "cli/words.hpp"
#include "orkestr/version.hpp"

namespace orkestr::cli {

int report(const Error& error) {
  fmt::print(stderr, "orkestr: {}\n", error.message());
  switch (error.code()) {
    case ErrorCode::invalid_argument:
    case ErrorCode::not_found:
    case ErrorCode::template_not_found:
      return kExitUsage;
    default:
      return kExitFailed;
  }
}

namespace {

// "orkestr __complete WORD…": for the scripts of `orkestr completion`. Hidden, and no part of the tree it reads.
int print_candidates(const std::vector<std::string>& words) {
  for (const auto& line : complete(words)) fmt::print("{}\n", line);
  return kExitOk;
}

bool takes_a_command(const std::string& name) { return name == "run" || name == "exec"; }

// CLI11's sentences as ours: which command, and what to look at.
int report_usage(const CLI::App& root, const CLI::ParseError& error) {
  std::string command;
  for (const CLI::App* at = &root; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    command += at->get_name() + " ";
  }
  std::string message = error.what();
  constexpr std::string_view kNoNumber = "Could not convert: ";
  if (const auto equals = message.find(" = "); message.starts_with(kNoNumber) && equals != std::string::npos) {
    message = fmt::format("{} is '{}'; a number is needed", message.substr(kNoNumber.size(), equals - kNoNumber.size()),
                          message.substr(equals + 3));
  } else if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    message = fmt::format("not expected: {}", shell_line(root.remaining(true)));  // (CLI11 lists them from the end)
  }
  message.front() = static_cast<char>(std::tolower(static_cast<unsigned char>(message.front())));
  const std::string which = command.empty() ? "" : command.substr(0, command.size() - 1) + ": ";
  fmt::print(stderr, "orkestr: {}{}; `orkestr {}--help` shows all\n", which, printable(message), command);
  return kExitUsage;
}

// "--remote" and "--base-url URL" stand before the command and are what the library reads from the environment. There
// is no such option for the key: a command line is seen by everybody on the machine.
bool take_backend(std::vector<std::string>& words) {
  while (!words.empty()) {
    if (words.front() == "--remote") {
      ::setenv("ORKESTR_BACKEND", "remote", 1);
      words.erase(words.begin());
    } else if (words.front() == "--base-url") {
      if (words.size() < 2) return false;
      ::setenv("ORKESTR_BACKEND", "remote", 1);
      ::setenv("ORKESTR_BASE_URL", words[1].c_str(), 1);
      words.erase(words.begin(), words.begin() + 2);
    } else {
      return true;
    }
  }
  return true;
}

int run_program(std::vector<std::string> words) {
  if (!take_backend(words)) {
    fmt::print(stderr, "orkestr: --base-url needs an address, for instance https://api.orkestr.eu\n");
    return kExitUsage;
  }
  if (!words.empty() && words.front() == "__complete") return print_candidates({words.begin() + 1, words.end()});
  Invocation invocation;
  const auto dashes = std::find(words.begin(), words.end(), "--");
  if (dashes != words.end() && takes_a_command(words.front())) {
    invocation.has_dashes = true;
    invocation.behind_dashes.assign(dashes + 1, words.end());
    words.erase(dashes, words.end());
  }
  const auto app = make_command_line(invocation);
  if (!invocation.has_dashes && !words.empty() && takes_a_command(words.front())) {
    const std::string forgotten = forgotten_dashes(*app, words);
    if (!forgotten.empty()) {
      fmt::print(stderr, "orkestr: {}\n", forgotten);
      return kExitUsage;
    }
  }
  const std::string unknown = did_you_mean(*app, words);
  if (!unknown.empty()) {
    fmt::print(stderr, "orkestr: {} `orkestr {}--help` shows all.\n", unknown,
               unknown.starts_with("there is no option") && words.front().front() != '-' ? words.front() + " " : "");
    return kExitUsage;
  }
  try {
    std::reverse(words.begin(), words.end());  // CLI11 takes them from the end
    app->parse(words);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return report_usage(*app, error);
    return app->exit(error);  // --help, --version
  }
  return invocation.code;
}

}  // namespace

void add_template_commands(CLI::App& app, Invocation& invocation) {
  constexpr const char* kName = "the template, as `orkestr template list` shows it";
  auto command = std::make_shared<TemplateCommand>();
  auto as_json = std::make_shared<bool>(false);
  auto names = std::make_shared<std::vector<std::string>>();
  const auto add = [](CLI::App* parent, const char* name, const char* summary, const std::string& example) {
    CLI::App* made = parent->add_subcommand(name, summary);
    made->footer("\nExample:\n  " + example);
    return made;
  };
  CLI::App* templates =
      add(&app, "template", "the images that sandboxes start from", "orkestr template build python-3.12");
  templates->require_subcommand(1);
  CLI::App* list = add(templates, "list", "list the known templates, built or not", "orkestr template list --json");
  list->add_flag("--json", *as_json, "for machines");
  list->callback([=, &invocation] { invocation.code = template_list(*as_json); });

  CLI::App* build = add(templates, "build", "build a template from its recipe: yours, or with sudo for every user",
                        "orkestr template build python-3.12");
  CLI::Option* build_name = build->add_option("name", command->name, kName);
  build->add_option("--recipe", command->recipe_file, "a recipe of your own, a JSON file that names its template")
      ->check(CLI::ExistingFile)
      ->excludes(build_name);
  build->add_flag("--force", command->force, "build it again although it is there");
  build->callback([=, &invocation] {
    if (command->name.empty() && command->recipe_file.empty()) throw CLI::RequiredError("name or --recipe");
    invocation.code = template_build(*command);
  });

  CLI::App* prepare = add(templates, "prepare",
                          "make ready what a first sandbox of it needs: build it, verify its files, make its snapshot",
                          "sudo orkestr template prepare node-22");
  prepare->add_option("name", command->name, kName)->required();
  prepare->add_option("--size", command->size, "whose snapshot is made: small, medium or large")->capture_default_str();
  prepare->add_option("--cpu", command->cpu, "CPUs, 0.25 to 16, instead of the size's");
  prepare->add_option("--memory-mb", command->memory_mb, "memory in MiB, 256 to 65536, instead of the size's");
  prepare->add_option("--disk-mb", command->disk_mb, "disk in MiB, 8192 to 131072");
  prepare->callback([=, &invocation] { invocation.code = template_prepare(*command); });

  CLI::App* inspect =
      add(templates, "inspect", "where every part of a template came from", "orkestr template inspect node-22 --json");
  inspect->add_option("name", command->name, kName)->required();
  inspect->add_flag("--json", *as_json, "for machines");
  inspect->callback([=, &invocation] { invocation.code = template_inspect(command->name, *as_json); });

  CLI::App* remove = add(templates, "remove", "remove built templates; running sandboxes live on",
                         "sudo orkestr template remove node-22");
  remove->add_option("name", *names, kName)->required();
  remove->callback([=, &invocation] { invocation.code = template_remove(*names); });
}

}  // namespace orkestr::cli

int main(int argc, char** argv) {
  try {
    return orkestr::cli::run_program({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "orkestr: {}\n", error.what());
    return orkestr::cli::kExitFailed;
  }
}
