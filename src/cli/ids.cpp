#include "cli/ids.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "base/id.hpp"
#include "base/try.hpp"
#include "cli/terminal.hpp"

namespace orkestr::cli {
namespace {

constexpr std::string_view kPrefix = "sbx_";
constexpr std::size_t kMostShown = 8;

// The part behind "sbx_", in the alphabet of ids.
std::string canonical(std::string_view text) {
  if (text.substr(0, kPrefix.size()) == kPrefix) text.remove_prefix(kPrefix.size());
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::toupper(c); });
  return std::string(kPrefix) + out;
}

std::string listed(const std::vector<const SandboxInfo*>& infos) {
  std::string out;
  for (std::size_t i = 0; i < infos.size() && i < kMostShown; ++i) {
    out += fmt::format("\n  {}  {}  {}", infos[i]->id, to_string(infos[i]->status), infos[i]->template_name);
  }
  if (infos.size() > kMostShown) out += fmt::format("\n  and {} more", infos.size() - kMostShown);
  return out;
}

}  // namespace

bool has_ended(const SandboxInfo& info) { return info.status == Status::terminated || info.status == Status::failed; }

Result<std::string> resolve_id_among(std::string_view text, const std::vector<SandboxInfo>& known) {
  const std::string wanted = canonical(text);
  std::vector<const SandboxInfo*> matches, running;
  for (const auto& info : known) {
    if (!text.empty() && info.id.starts_with(wanted)) matches.push_back(&info);
    if (info.status == Status::running) running.push_back(&info);
  }
  // Those of the last 24 hours must not make every beginning ambiguous.
  const auto ended = [](const auto* info) { return has_ended(*info); };
  if (!std::all_of(matches.begin(), matches.end(), ended)) std::erase_if(matches, ended);
  if (matches.size() == 1) return matches.front()->id;
  if (matches.empty()) {
    return Error(ErrorCode::not_found,
                 fmt::format("there is no sandbox whose id begins with '{}'; {}", printable(text.substr(0, 64)),
                             running.empty() ? "none is running, `orkestr ls -a` shows those of the last 24 hours"
                                             : "these are running:" + listed(running)));
  }
  return Error(ErrorCode::invalid_argument,
               fmt::format("{} sandboxes have an id that begins with '{}'; give more of it:{}", matches.size(), text,
                           listed(matches)));
}

Result<std::string> resolve_id(std::string_view text) {
  if (base::is_sandbox_id(text)) return std::string(text);
  ORKESTR_TRY(const auto all, Sandbox::list());
  return resolve_id_among(text, all);
}

Result<Sandbox> find_sandbox(std::string_view text) {
  ORKESTR_TRY(const std::string id, resolve_id(text));
  return Sandbox::get(id);
}

Result<std::map<std::string, std::string>> parse_pairs(std::string_view option, const std::vector<std::string>& pairs) {
  std::map<std::string, std::string> out;
  for (const auto& pair : pairs) {
    const auto equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Error(ErrorCode::invalid_argument,
                   fmt::format("{} is '{}'; it must be NAME=VALUE", option, printable(pair.substr(0, 64))));
    }
    out[pair.substr(0, equals)] = pair.substr(equals + 1);
  }
  return out;
}

}  // namespace orkestr::cli
