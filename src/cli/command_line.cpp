#include "cli/command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/commands.hpp"
#include "cli/terminal.hpp"
#include "cli/words.hpp"
#include "image/recipe.hpp"
#include "orkestr/version.hpp"

namespace orkestr::cli {
namespace {

constexpr const char* kId = "the sandbox: its id, or a beginning of it that no other one has that lives";

// The usage of commands that take one for the guest.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    std::string usage = CLI::Formatter::make_usage(app, std::move(name));
    if (app->get_name() == "run" || app->get_name() == "exec") {
      while (!usage.empty() && usage.back() == '\n') usage.pop_back();
      usage += " -- COMMAND [ARGUMENT]...\n";
    }
    return usage;
  }
};

CLI::App* add(CLI::App& app, const char* name, const char* summary, const std::string& example) {
  CLI::App* command = app.add_subcommand(name, summary);
  command->footer("\nExample:\n  " + example);
  return command;
}

// One value each time it is named, so that a positional argument may follow.
CLI::Option* add_repeated(CLI::App* app, const char* name, std::vector<std::string>& values, const char* help) {
  return app->add_option(name, values, help)->allow_extra_args(false)->type_name("NAME=VALUE");
}

void add_machine(CLI::App* app, MachineOptions& machine) {
  app->add_option("template", machine.template_name, "what it starts from; `orkestr template list` shows them")
      ->required();
  app->add_option("--size", machine.size, "small (1 CPU, 1024 MB), medium (2, 4096) or large (4, 8192)")
      ->capture_default_str();
  app->add_option("--cpu", machine.cpu, "CPUs, 0.25 to 16, instead of the size's");
  app->add_option("--memory-mb", machine.memory_mb, "memory in MiB, 256 to 65536, instead of the size's");
  app->add_option("--disk-mb", machine.disk_mb, "disk in MiB, 8192 to 131072; what is not written takes no space");
  app->add_option("--network", machine.network, "off, restricted or open; this version has off")->capture_default_str();
  add_repeated(app, "--metadata", machine.metadata, "yours, for `ls --metadata`; may be repeated");
}

void add_command(CLI::App* app, CommandOptions& command) {
  add_repeated(app, "-e,--env", command.env, "a variable of the command's environment; may be repeated");
  app->add_option("-w,--cwd", command.cwd, "its working directory")->capture_default_str();
  app->add_option("-u,--user", command.user, "a user of the guest, by name or number (root)");
  CLI::Option* interactive =
      app->add_flag("-i,--interactive", command.interactive, "pass standard input although it is a terminal");
  app->add_flag("-n,--no-stdin", command.no_stdin,
                "do not read standard input, which else is the command's: for `while read …` loops")
      ->excludes(interactive);
  app->add_flag("-t,--tty", command.tty, "give it a terminal; what is typed goes through raw, Ctrl-C too");
}

// The guest's command behind "--", or a sentence about where it belongs.
std::vector<std::string> guest_command(const Invocation& invocation) {
  if (invocation.has_dashes && !invocation.behind_dashes.empty()) return invocation.behind_dashes;
  throw CLI::ValidationError("the command is missing; it stands behind two dashes: -- COMMAND [ARGUMENT]...");
}

// Options live as long as the tree: its callbacks hold them.
void add_running(CLI::App& app, Invocation& invocation) {
  auto machine = std::make_shared<MachineOptions>();
  auto command = std::make_shared<CommandOptions>();
  auto keep = std::make_shared<bool>(false);
  auto life_s = std::make_shared<double>(600);
  auto run_s = std::make_shared<double>(600);
  auto id = std::make_shared<std::string>();
  auto in_background = std::make_shared<bool>(false);
  auto as_json = std::make_shared<bool>(false);

  CLI::App* run_app = add(app, "run", "run a command in a new sandbox, which ends with it",
                          "orkestr run python-3.12-bare -- python3 -c 'print(6 * 7)'");
  add_machine(run_app, *machine);
  add_command(run_app, *command);
  takes_duration(run_app->add_option("--timeout", *run_s,
                                     "seconds (or 5m, 2h) the command may take; then it ends and the exit code is 124"))
      ->capture_default_str();
  run_app->add_flag("--keep", *keep, "leave the sandbox; its id goes to stderr, and it lives for 10 minutes more");
  run_app->callback([=, &invocation] {
    command->argv = guest_command(invocation);
    command->timeout_s = *run_s;
    invocation.code = run(*machine, *command, *keep);
  });

  CLI::App* create_app = add(app, "create", "start a sandbox and print its id; it lives on",
                             "id=$(orkestr create python-3.12-bare --timeout 3600)");
  add_machine(create_app, *machine);
  add_repeated(create_app, "-e,--env", command->env, "a variable for all of its commands; may be repeated");
  takes_duration(create_app->add_option("--timeout", *life_s, "seconds (or 5m, 2h) it lives, 10 to 86400"))
      ->capture_default_str();
  create_app->add_option("--on-timeout", machine->on_timeout, "then: kill, or pause")->capture_default_str();
  create_app->add_flag("--auto-resume", machine->auto_resume, "what is asked of it while it is paused resumes it");
  takes_duration(create_app->add_option("--paused-ttl", machine->paused_ttl_s,
                                        "seconds (or 5m, 2h) it is kept when paused; for ever unless given"));
  create_app->callback([=, &invocation] { invocation.code = create(*machine, command->env, *life_s); });

  CLI::App* exec_app = add(app, "exec", "run a command in a sandbox; Ctrl-C ends the command, not the sandbox",
                           "orkestr exec $id -- ls -l /workspace");
  exec_app->add_option("id", *id, kId)->required();
  add_command(exec_app, *command);
  CLI::Option* timeout = takes_duration(exec_app->add_option("--timeout", command->timeout_s,
                                                             "seconds (or 5m, 2h) it may take; then it ends and the "
                                                             "exit code is 124"))
                             ->capture_default_str();
  CLI::Option* background = exec_app->add_flag(
      "--background", *in_background, "leave it running and print its id, for `orkestr logs` and `orkestr kill`");
  exec_app->add_flag("--json", *as_json, "with --background, for machines: an object")->needs(background);
  exec_app->callback([=, &invocation] {
    command->argv = guest_command(invocation);
    if (*in_background && timeout->count() > 0) {
      throw CLI::ValidationError(
          "--background goes without --timeout: the command runs until it ends, `orkestr kill` or the sandbox's end");
    }
    invocation.code = *in_background ? exec_background(*id, *command, *as_json) : exec(*id, *command);
  });

  CLI::App* shell_app = add(app, "shell", "an interactive bash in a sandbox", "orkestr shell $id");
  shell_app->add_option("id", *id, kId)->required();
  add_repeated(shell_app, "-e,--env", command->env, "a variable of its environment; may be repeated");
  shell_app->add_option("-w,--cwd", command->cwd, "its working directory")->capture_default_str();
  shell_app->add_option("-u,--user", command->user, "a user of the guest, by name or number (root)");
  shell_app->callback([=, &invocation] {
    command->argv = {"/bin/bash"};
    command->tty = true;
    invocation.code = shell(*id, *command);
  });
}

void add_looking(CLI::App& app, Invocation& invocation) {
  auto list_command = std::make_shared<ListCommand>();
  CLI::App* ls = add(app, "ls", "list sandboxes, newest first", "orkestr ls --metadata job=42 --json");
  ls->add_flag("-a,--all", list_command->all, "also those that ended in the last 24 hours");
  ls->add_option("--status", list_command->status, "only those: starting, running, terminated, failed…");
  add_repeated(ls, "--metadata", list_command->metadata, "only those that have it; may be repeated");
  ls->add_flag("--json", list_command->as_json, "for machines: an array");
  ls->callback([=, &invocation] { invocation.code = list(*list_command); });

  auto id = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  CLI::App* inspect_app = add(app, "inspect", "all that is known about a sandbox", "orkestr inspect $id --json");
  inspect_app->add_option("id", *id, kId)->required();
  inspect_app->add_flag("--json", *as_json, "for machines: an object");
  inspect_app->callback([=, &invocation] { invocation.code = inspect(*id, *as_json); });

  auto events_command = std::make_shared<EventsCommand>();
  CLI::App* events_app = add(app, "events", "what happened to a sandbox and in it, oldest first",
                             "orkestr events $id --follow --since 5m");
  events_app->add_option("id", events_command->id, kId)->required();
  events_app->add_flag("-f,--follow", events_command->follow, "go on until the sandbox ends");
  events_app->add_option("--since", events_command->since,
                         "from 2026-11-21T06:14:07Z (UTC) on, or 90s, 5m, 2h, 1d ago");
  events_app->add_flag("--json", events_command->as_json, "for machines: one object a line");
  events_app->callback([=, &invocation] { invocation.code = events(*events_command); });

  auto ids = std::make_shared<std::vector<std::string>>();
  auto all = std::make_shared<bool>(false);
  auto yes = std::make_shared<bool>(false);
  CLI::App* rm = add(app, "rm", "end sandboxes and all that is in them", "orkestr rm $id");
  CLI::Option* rm_ids = rm->add_option("id", *ids, kId);
  rm->add_flag("--all", *all, "every sandbox of this user")->excludes(rm_ids);
  rm->add_flag("-y,--yes", *yes, "do not ask");
  rm->callback([=, &invocation] {
    if (ids->empty() && !*all) throw CLI::RequiredError("an id, or --all,");
    invocation.code = remove(*ids, *all, *yes);
  });

  auto source = std::make_shared<std::string>();
  auto destination = std::make_shared<std::string>();
  CLI::App* cp =
      add(app, "cp", "copy files and directories into a sandbox, or out of it", "orkestr cp ./project $id:/workspace");
  cp->add_option("source", *source, "a path here, ID:/path in a sandbox, or - for standard input")->required();
  cp->add_option("destination", *destination, "the same, or - for standard output; into it when it is a directory")
      ->required();
  cp->footer(
      "\nIn a directory a link to a file is copied as that file. Links to directories, links that lead nowhere,\n"
      "pipes, sockets and devices are left out, which is said on stderr.\n" +
      cp->get_footer());
  cp->callback([=, &invocation] { invocation.code = copy(*source, *destination); });
}

void add_background(CLI::App& app, Invocation& invocation) {
  constexpr const char* kCommand = "the command: its id, or a beginning of it that no other one has";
  auto logs_command = std::make_shared<LogsCommand>();
  CLI::App* logs_app = add(app, "logs", "the output of a command that was started with `exec --background`",
                           "orkestr logs $id $cmd --follow");
  logs_app->add_option("id", logs_command->id, kId)->required();
  logs_app->add_option("command", logs_command->command_id, kCommand)->required();
  logs_app->add_flag("-f,--follow", logs_command->follow, "go on until it ends; Ctrl-C leaves it alone");
  logs_app->add_option("--offset", logs_command->offset, "of the first byte wanted; the newest 4 MiB are kept");
  logs_app->add_flag("--json", logs_command->as_json,
                     "for machines: an object, at most 1 MiB; with --follow one for each piece, then the command");
  logs_app->callback([=, &invocation] { invocation.code = logs(*logs_command); });

  auto id = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  CLI::App* list_app =
      add(app, "commands", "the background commands of a sandbox, oldest first", "orkestr commands $id --json");
  list_app->add_option("id", *id, kId)->required();
  list_app->add_flag("--json", *as_json, "for machines: an array");
  list_app->callback([=, &invocation] { invocation.code = commands(*id, *as_json); });

  auto command_ids = std::make_shared<std::vector<std::string>>();
  CLI::App* kill_app = add(app, "kill", "end background commands with all that they started", "orkestr kill $id $cmd");
  kill_app->add_option("id", *id, kId)->required();
  kill_app->add_option("command", *command_ids, kCommand)->required();
  kill_app->callback([=, &invocation] { invocation.code = kill_commands(*id, *command_ids); });
}

void add_life(CLI::App& app, Invocation& invocation) {
  auto id = std::make_shared<std::string>();
  auto timeout_s = std::make_shared<double>(0);
  auto as_json = std::make_shared<bool>(false);
  const auto add_one = [&](const char* name, const char* summary, const std::string& example) {
    CLI::App* made = add(app, name, summary, example);
    made->add_option("id", *id, kId)->required();
    made->add_flag("--json", *as_json, "for machines: an object");
    return made;
  };
  add_one("pause", "freeze a sandbox to disk; its timeout stands still", "orkestr pause $id")
      ->callback([=, &invocation] { invocation.code = pause(*id, *as_json); });
  add_one("resume", "bring a paused sandbox back", "orkestr resume $id")->callback([=, &invocation] {
    invocation.code = resume(*id, *as_json);
  });
  CLI::App* timeout_app =
      add_one("timeout", "give a sandbox a new life span, from now; prints when it ends", "orkestr timeout $id 3600");
  takes_duration(timeout_app->add_option("seconds", *timeout_s, "10 to 86400, or 5m, 2h"))->required();
  timeout_app->callback([=, &invocation] { invocation.code = set_timeout(*id, *timeout_s, *as_json); });
  add_one("metrics", "the CPU and memory that a sandbox uses", "orkestr metrics $id --json")
      ->callback([=, &invocation] { invocation.code = metrics(*id, *as_json); });
}

void add_host(CLI::App& app, Invocation& invocation) {
  auto as_json = std::make_shared<bool>(false);
  auto fix = std::make_shared<bool>(false);
  CLI::App* gc_app = add(app, "gc", "remove what nothing needs any more: dead sandboxes, old records, unused cache",
                         "orkestr gc --json");
  gc_app->add_flag("--json", *as_json, "for machines: an object");
  gc_app->callback([=, &invocation] { invocation.code = collect_garbage(*as_json); });

  CLI::App* doctor_app =
      add(app, "doctor", "is this machine fit for sandboxes, and what would mend it (exit code 1: it is not)",
          "orkestr doctor --fix");
  doctor_app->add_flag("--fix", *fix, "mend what is safe: our directories and their modes, leftovers");
  doctor_app->add_flag("--json", *as_json, "for machines: an object");
  doctor_app->callback([=, &invocation] { invocation.code = doctor(*fix, *as_json); });

  CLI::App* version_app =
      add(app, "version", "the version, and the build that library and helpers share", "orkestr version --json");
  version_app->add_flag("--json", *as_json, "for machines: an object");
  version_app->callback([=, &invocation] { invocation.code = version(*as_json); });

  auto shell_name = std::make_shared<std::string>();
  CLI::App* completion =
      add(app, "completion", "print the completion script of a shell", "source <(orkestr completion bash)");
  completion->add_option("shell", *shell_name, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback([=] { fmt::print("{}", completion_script(*shell_name)); });
}

}  // namespace

CLI::Option* takes_duration(CLI::Option* option) {
  return option->type_name("TIME")->transform(CLI::Validator(
      [](std::string& text) -> std::string {
        const auto seconds = parse_seconds(text);
        if (!seconds) {
          return fmt::format("'{}' is no length of time; write seconds, or 90s, 5m, 2h, 1d",
                             printable(text.substr(0, 64)));
        }
        text = fmt::format("{:.12g}", *seconds);
        return {};
      },
      ""));
}

std::unique_ptr<CLI::App> make_command_line(Invocation& invocation) {
  auto app = std::make_unique<CLI::App>("Throwaway Linux microVMs for AI agents.", "orkestr");
  app->formatter(std::make_shared<HelpFormatter>());
  app->require_subcommand(1);
  app->set_version_flag("--version", ORKESTR_VERSION);
  // Taken out of the words before they are parsed (main.cpp); here for the help.
  app->add_flag("--remote")->description("before the command: sandboxes of a service; the key is ORKESTR_API_KEY");
  app->add_option("--base-url", "before the command: the service, instead of ORKESTR_BASE_URL; implies --remote")
      ->type_name("URL");
  app->footer(
      "\nExit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong command line or unknown name.\n"
      "run, exec and shell: the command's own; 124 when it took longer than --timeout, 125 when orkestr itself "
      "failed,\n"
      "126 and 127 when the guest cannot run or find the command, 128 + n for signal n.\n"
      "\nExample:\n  orkestr run python-3.12-bare -- python3 -c 'print(6 * 7)'");
  add_running(*app, invocation);
  add_background(*app, invocation);
  add_looking(*app, invocation);
  add_life(*app, invocation);
  add_template_commands(*app, invocation);
  add_pool_commands(*app, invocation);
  add_host(*app, invocation);
  return app;
}

std::string did_you_mean(const CLI::App& root, const std::vector<std::string>& words) {
  const auto sentence = [](const std::string& what, const std::string& word, const std::vector<std::string>& known) {
    const auto similar = image::similar_names(word, known);
    return fmt::format("there is no {} '{}'{}", what, word,
                       similar.empty() ? "." : fmt::format("; did you mean {}?", fmt::join(similar, ", ")));
  };
  const CLI::App* app = &root;
  bool value_follows = false;
  for (const auto& word : words) {
    if (std::exchange(value_follows, false)) continue;
    if (word.size() > 1 && word.front() == '-') {
      const std::string name = word.substr(0, word.find('='));
      const CLI::Option* option = app->get_option_no_throw(name);
      if (option != nullptr) {
        value_follows = option->get_items_expected_max() > 0 && name.size() == word.size();
      } else if (name.starts_with("--")) {
        std::vector<std::string> known;
        for (const auto* one : app->get_options()) {
          for (const auto& long_name : one->get_lnames()) known.push_back("--" + long_name);
        }
        return sentence("option", name, known);
      }
      continue;
    }
    const auto commands = app->get_subcommands([](const CLI::App*) { return true; });
    if (commands.empty()) continue;
    const auto found =
        std::find_if(commands.begin(), commands.end(), [&](const auto* one) { return one->get_name() == word; });
    if (found == commands.end()) {
      std::vector<std::string> known;
      for (const auto* one : commands) known.push_back(one->get_name());
      return sentence("command", word, known);
    }
    app = *found;
  }
  return {};
}

std::string forgotten_dashes(const CLI::App& root, std::vector<std::string> words) {
  const CLI::App* app = root.get_subcommand(words.front());
  int places = 0;
  bool value_follows = false;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (std::exchange(value_follows, false)) continue;
    if (words[i].size() > 1 && words[i].front() == '-') {
      const std::string name = words[i].substr(0, words[i].find('='));
      const CLI::Option* option = app->get_option_no_throw(name);
      if (option == nullptr && name.starts_with("--")) return {};  // whether a value follows is not known
      value_follows = option != nullptr && option->get_items_expected_max() > 0 && name.size() == words[i].size();
    } else if (++places == 2) {
      words.insert(words.begin() + static_cast<std::ptrdiff_t>(i), "--");
      return fmt::format("{}: the command stands behind two dashes: orkestr {}", words.front(),
                         printable(shell_line(words)));
    }
  }
  return {};
}

}  // namespace orkestr::cli
