#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

#include "cli/command_line.hpp"
#include "cli/ids.hpp"
#include "cli/terminal.hpp"
#include "orkestr/sandbox.hpp"
#include "orkestr/template.hpp"

namespace orkestr::cli {
namespace {

using Candidates = std::vector<std::pair<std::string, std::string>>;  // word, what it is

const std::map<std::string, std::vector<std::string>>& values_of_options() {
  static const std::map<std::string, std::vector<std::string>> values = {
      {"--size", {"small", "medium", "large"}},
      {"--network", {"off", "restricted", "open"}},
      {"--status", {"starting", "running", "paused", "terminated", "failed"}},
      {"shell", {"bash", "zsh", "fish"}},
  };
  return values;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

Candidates plain(const std::vector<std::string>& words) {
  Candidates out;
  for (const auto& word : words) out.emplace_back(word, "");
  return out;
}

Candidates templates() {
  Candidates out;
  if (auto all = Template::list()) {
    for (const auto& info : *all) out.emplace_back(info.name, info.description);
  }
  return out;
}

// `behind` is appended: a colon where a path follows.
Candidates sandboxes(bool ended_too, const std::string& behind) {
  Candidates out;
  if (auto all = Sandbox::list()) {
    for (const auto& info : *all) {
      if (!has_ended(info) || ended_too)
        out.emplace_back(info.id + behind, info.template_name + ", " + std::string(to_string(info.status)));
    }
  }
  return out;
}

Candidates options_of(const CLI::App& app) {
  Candidates out;
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) out.emplace_back("--" + name, first_line(option->get_description()));
    for (const auto& name : option->get_snames()) out.emplace_back("-" + name, first_line(option->get_description()));
  }
  return out;
}

Candidates commands_of(const std::string& sandbox_id) {
  Candidates out;
  const auto sandbox = find_sandbox(sandbox_id);
  if (!sandbox) return out;
  if (auto all = sandbox->commands()) {
    for (const auto& command : *all) {
      const CommandInfo info = command.info();
      out.emplace_back(info.id, std::string(to_string(info.status)) + ", " + printable(first_line(info.command)));
    }
  }
  return out;
}

// What fits the positional argument behind those that are there; the last one may be repeated.
Candidates positional(const CLI::App& app, const std::vector<std::string>& there) {
  const std::size_t index = there.size();
  std::vector<const CLI::Option*> places;
  for (const auto* option : app.get_options()) {
    if (option->get_positional()) places.push_back(option);
  }
  if (places.empty()) return {};
  const bool repeats = places.back()->get_items_expected_max() > 1;
  if (index >= places.size() && !repeats) return {};
  const std::string name = places[std::min(index, places.size() - 1)]->get_name(true);
  if (name == "id")
    return sandboxes(app.get_name() == "inspect" || app.get_name() == "events" || app.get_name() == "metrics", "");
  if (name == "command") return commands_of(there.front());
  if (name == "source" || name == "destination") return sandboxes(false, ":");
  if (name == "template" || (name == "name" && app.get_parent()->get_name() == "template")) return templates();
  const auto known = values_of_options().find(name);
  return known == values_of_options().end() ? Candidates() : plain(known->second);
}

Candidates candidates(const CLI::App& root, const std::vector<std::string>& before, const std::string& current) {
  const CLI::App* app = &root;
  const CLI::Option* waiting = nullptr;  // an option whose value comes next
  std::string waiting_name;
  std::vector<std::string> positionals;
  for (const auto& word : before) {
    if (word == "--") return {};  // the guest's own
    if (std::exchange(waiting, nullptr) != nullptr) continue;
    if (word.size() > 1 && word.front() == '-') {
      const auto* option = app->get_option_no_throw(word);
      if (option != nullptr && option->get_items_expected_max() > 0) waiting = option;
      waiting_name = word;
      continue;
    }
    const auto commands = app->get_subcommands([](const CLI::App*) { return true; });
    const auto found =
        std::find_if(commands.begin(), commands.end(), [&](const auto* one) { return one->get_name() == word; });
    if (found != commands.end()) {
      app = *found;
      positionals.clear();
    } else {
      positionals.push_back(word);
    }
  }
  if (waiting != nullptr) {
    const auto known = values_of_options().find(waiting_name);
    return known == values_of_options().end() ? Candidates() : plain(known->second);
  }
  if (current.starts_with('-')) return options_of(*app);
  const auto commands = app->get_subcommands([](const CLI::App*) { return true; });
  if (commands.empty()) return positional(*app, positionals);
  Candidates out;
  for (const auto* one : commands) out.emplace_back(one->get_name(), first_line(one->get_description()));
  return out;
}

constexpr const char* kBash = R"(# orkestr: completion for bash
_orkestr() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    COMPREPLY+=("${line%%$'\t'*}")
  done < <(orkestr __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o bashdefault -o default -F _orkestr orkestr
)";

constexpr const char* kZsh = R"(#compdef orkestr
_orkestr() {
  local line
  local -a found
  while IFS= read -r line; do
    found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done < <(orkestr __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( ${#found} )); then _describe orkestr found; else _files; fi
}
compdef _orkestr orkestr
)";

constexpr const char* kFish = R"(# orkestr: completion for fish
complete -c orkestr -a '(orkestr __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
)";

}  // namespace

std::vector<std::string> complete(const std::vector<std::string>& words) {
  Invocation unused;
  const auto app = make_command_line(unused);
  std::vector<std::string> before = words;
  std::string current;
  if (!before.empty()) {
    current = before.back();
    before.pop_back();
  }
  std::vector<std::string> lines;
  for (const auto& [word, meaning] : candidates(*app, before, current)) {
    if (word.starts_with(current)) lines.push_back(word + "\t" + meaning);
  }
  return lines;
}

std::string completion_script(const std::string& shell) {
  if (shell == "bash") return kBash;
  if (shell == "zsh") return kZsh;
  return shell == "fish" ? kFish : "";
}

}  // namespace orkestr::cli
