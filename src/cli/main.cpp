// The command line. Results go to stdout, everything else to stderr; exit codes are in commands.hpp.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "cli/commands.hpp"
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

int run(int argc, char** argv) {
  CLI::App app("Throwaway Linux microVMs for AI agents.", "orkestr");
  app.require_subcommand(1);
  app.set_version_flag("--version", ORKESTR_VERSION);
  app.footer("Exit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong command line or unknown name.");

  int code = kExitOk;
  app.add_subcommand("version", "print the version")->callback([] { fmt::print("{}\n", ORKESTR_VERSION); });

  CLI::App* templates = app.add_subcommand("template", "the images that sandboxes start from");
  templates->require_subcommand(1);
  templates->add_subcommand("list", "list the known templates, built or not")->callback([&] {
    code = template_list();
  });
  std::string name;
  bool force = false;
  CLI::App* build = templates->add_subcommand("build", "build a template from its recipe (as root)");
  build->add_option("name", name, "the template, as `orkestr template list` shows it")->required();
  build->add_flag("--force", force, "build it again although it is there");
  build->callback([&] { code = template_build(name, force); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  return code;
}

}  // namespace
}  // namespace orkestr::cli

int main(int argc, char** argv) {
  try {
    return orkestr::cli::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "orkestr: {}\n", error.what());
    return orkestr::cli::kExitFailed;
  }
}
