#include "image/apt_sources.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <iterator>

#include "base/file.hpp"
#include "base/try.hpp"
#include "image/tool.hpp"

namespace orkestr::image {
namespace {

constexpr std::string_view kStage = "base system";
constexpr std::string_view kSpace = " \t\r";

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(kSpace);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string_view take_line(std::string_view& rest) {
  const std::string_view line = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  return line;
}

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  while (!(text = trim(text)).empty()) {
    const auto word = text.substr(0, text.find_first_of(" \t\r\n"));
    out.emplace_back(word);
    text.remove_prefix(word.size());
    while (!text.empty() && text.front() == '\n') text.remove_prefix(1);
  }
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// The deb822 names of the options of one-line entries.
std::string deb822_name(std::string_view option) {
  if (option == "signed-by") return "Signed-By";
  if (option == "trusted") return "Trusted";
  if (option == "check-valid-until") return "Check-Valid-Until";
  if (option == "check-date") return "Check-Date";
  return {};
}

void add_field(AptSource& source, std::string_view name, std::string value, bool& enabled) {
  const std::string key = lower(name);
  if (key == "types") {
    source.types = value;
  } else if (key == "uris") {
    source.uris = words(value);
  } else if (key == "suites") {
    source.suites = words(value);
  } else if (key == "components") {
    source.components = words(value);
  } else if (key == "enabled") {
    enabled = lower(trim(value)) != "no";
  } else if (const std::string known = deb822_name(key); !known.empty()) {
    source.options.emplace_back(known, std::move(value));
  }
}

}  // namespace

std::vector<AptSource> parse_source_list(std::string_view text) {
  std::vector<AptSource> out;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    line = trim(line.substr(0, line.find('#')));
    if (line.substr(0, 3) != "deb" || line.size() < 4 || kSpace.find(line[3]) == kSpace.npos) continue;
    line = trim(line.substr(4));
    AptSource source;
    if (!line.empty() && line.front() == '[') {
      const auto close = line.find(']');
      if (close == line.npos) continue;
      for (const auto& option : words(line.substr(1, close - 1))) {
        const auto equals = option.find('=');
        if (equals == option.npos) continue;
        if (auto name = deb822_name(lower(option.substr(0, equals))); !name.empty()) {
          source.options.emplace_back(std::move(name), option.substr(equals + 1));
        }
      }
      line = trim(line.substr(close + 1));
    }
    const auto fields = words(line);
    if (fields.size() < 3) continue;
    source.uris = {fields[0]};
    source.suites = {fields[1]};
    source.components.assign(fields.begin() + 2, fields.end());
    out.push_back(std::move(source));
  }
  return out;
}

std::vector<AptSource> parse_deb822(std::string_view text) {
  std::vector<AptSource> out;
  while (!text.empty()) {
    AptSource source;
    bool enabled = true;
    std::string name;
    std::string value;
    auto flush = [&] {
      if (!name.empty()) add_field(source, name, std::move(value), enabled);
      name.clear();
      value.clear();
    };
    while (!text.empty()) {
      const std::string_view line = take_line(text);
      if (trim(line).empty()) break;
      if (line.front() == '#') continue;
      if (kSpace.find(line.front()) != kSpace.npos) {
        value += "\n" + std::string(line);
        continue;
      }
      flush();
      const auto colon = line.find(':');
      if (colon == line.npos) continue;
      name = std::string(line.substr(0, colon));
      value = std::string(trim(line.substr(colon + 1)));
    }
    flush();
    if (enabled && !source.uris.empty() && !source.suites.empty()) out.push_back(std::move(source));
  }
  return out;
}

std::string select_sources(const std::vector<AptSource>& sources, std::string_view suite) {
  const std::vector<std::string> wanted = {std::string(suite), fmt::format("{}-updates", suite),
                                           fmt::format("{}-security", suite)};
  std::string out;
  bool has_suite = false;
  for (const AptSource& source : sources) {
    const auto types = words(source.types);
    if (std::find(types.begin(), types.end(), "deb") == types.end()) continue;
    if (std::find(source.components.begin(), source.components.end(), "main") == source.components.end()) continue;
    std::vector<std::string> suites;
    for (const auto& one : source.suites) {
      if (std::find(wanted.begin(), wanted.end(), one) != wanted.end()) suites.push_back(one);
      has_suite = has_suite || one == suite;
    }
    if (suites.empty()) continue;
    out += fmt::format("Types: deb\nURIs: {}\nSuites: {}\nComponents: main\n", fmt::join(source.uris, " "),
                       fmt::join(suites, " "));
    for (const auto& [name, value] : source.options) out += fmt::format("{}: {}\n", name, value);
    out += "\n";
  }
  return has_suite ? out : std::string();
}

Result<std::string> host_sources(std::string_view suite) {
  std::vector<AptSource> sources;
  auto add = [&](std::vector<AptSource> more) { std::move(more.begin(), more.end(), std::back_inserter(sources)); };
  if (auto text = base::read_file("/etc/apt/sources.list")) add(parse_source_list(*text));
  if (auto names = base::list_directory("/etc/apt/sources.list.d")) {
    for (const auto& name : *names) {
      const std::string path = "/etc/apt/sources.list.d/" + name;
      if (!name.ends_with(".list") && !name.ends_with(".sources")) continue;
      ORKESTR_TRY(const std::string text, base::read_file(path));
      add(name.ends_with(".list") ? parse_source_list(text) : parse_deb822(text));
    }
  }
  std::string selected = select_sources(sources, suite);
  if (!selected.empty()) return selected;
  return build_error(
      kStage, fmt::format("apt on this machine has no source for '{}' (main). Add one in /etc/apt/sources.list.d, "
                          "with the keyring of package debian-archive-keyring, and run apt-get update.",
                          suite));
}

std::string without_credentials(std::string_view url) {
  const auto host = url.find("://");
  if (host == url.npos) return std::string(url);
  const std::string_view authority = url.substr(host + 3, url.find('/', host + 3) - host - 3);
  const auto at = authority.rfind('@');
  if (at == authority.npos) return std::string(url);
  return fmt::format("{}://{}", url.substr(0, host), url.substr(host + 3 + at + 1));
}

std::vector<std::string> source_addresses(std::string_view deb822) {
  std::vector<std::string> out;
  for (const AptSource& source : parse_deb822(deb822)) {
    for (const auto& uri : source.uris) {
      for (const auto& suite : source.suites) out.push_back(fmt::format("{} {}", without_credentials(uri), suite));
    }
  }
  return out;
}

Result<std::string> host_apt_options(const ToolContext& tools) {
  ORKESTR_TRY(const std::string apt_config, find_tool(kStage, "apt-config", "apt"));
  ORKESTR_TRY(const std::string dump,
              run_tool({std::string(kStage), {apt_config, "dump"}, {}, {}, {}}, {tools.deadline, {}, tools.stop}));
  // The build directory is private to root; apt's own download user could not read it.
  std::string out = "APT::Sandbox::User \"root\";\n";
  std::string_view rest = dump;
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    for (const std::string_view wanted :
         {"Acquire::http:", "Acquire::https:", "Acquire::http ", "Acquire::https ", "Acquire::Check-Valid-Until ",
          "Acquire::Check-Date ", "Acquire::Retries ", "Acquire::ForceIPv4 ", "Acquire::ForceIPv6 "}) {
      if (line.substr(0, wanted.size()) == wanted && line.find(" \"\";") == line.npos) out += fmt::format("{}\n", line);
    }
  }
  if (base::exists("/etc/apt/auth.conf")) out += "Dir::Etc::netrc \"/etc/apt/auth.conf\";\n";
  if (base::exists("/etc/apt/auth.conf.d")) out += "Dir::Etc::netrcparts \"/etc/apt/auth.conf.d/\";\n";
  return out;
}

}  // namespace orkestr::image
