// gc, doctor, version: the machine under the sandboxes.
#include "orkestr/host.hpp"

#include <fmt/format.h>

#include "base/build_stamp.hpp"
#include "base/json.hpp"
#include "cli/commands.hpp"
#include "cli/terminal.hpp"

namespace orkestr::cli {
namespace {

void write_strings(base::JsonWriter& json, std::string_view name, const std::vector<std::string>& values) {
  json.key(name).begin_array();
  for (const auto& value : values) json.value(value);
  json.end_array();
}

Style style_of(const Finding& finding) {
  switch (finding.level) {
    case FindingLevel::ok:
      return Style::green;
    case FindingLevel::warning:
      return Style::yellow;
    case FindingLevel::problem:
      break;
  }
  return Style::red;
}

std::string_view word_of(const Finding& finding) { return finding.fixed ? "fixed" : to_string(finding.level); }

// KB up to a megabyte, MB beyond.
std::string size_text(std::uint64_t bytes) {
  return bytes < (1U << 20U) ? fmt::format("{} KB", (bytes + 1023) >> 10U) : fmt::format("{} MB", bytes >> 20U);
}

}  // namespace

int collect_garbage(bool as_json) {
  const auto done = gc();
  if (!done) return report(done.error());
  if (as_json) {
    base::JsonWriter json;
    json.begin_object();
    write_strings(json, "reaped", done->reaped);
    write_strings(json, "forgotten", done->forgotten);
    write_strings(json, "removed", done->removed);
    json.field("bytes", done->bytes).field("skipped", done->skipped).end_object();
    fmt::print("{}\n", json.str());
    return kExitOk;
  }
  for (const auto& id : done->reaped) fmt::print("reaped     {}\n", id);
  for (const auto& id : done->forgotten) fmt::print("forgotten  {}\n", id);
  for (const auto& path : done->removed) fmt::print("removed    {}\n", path);
  const std::size_t count = done->reaped.size() + done->forgotten.size() + done->removed.size();
  fmt::print("{}\n", count == 0 ? "nothing to remove" : fmt::format("{} freed", size_text(done->bytes)));
  if (!done->skipped.empty()) fmt::print(stderr, "orkestr: {}\n", done->skipped);
  return kExitOk;
}

int doctor(bool fix, bool as_json) {
  const auto found = orkestr::doctor({fix});
  if (!found) return report(found.error());
  const FindingLevel worst = found->worst();
  const int code = worst == FindingLevel::problem ? kExitFailed : kExitOk;
  if (as_json) {
    base::JsonWriter json;
    json.begin_object().field("worst", to_string(worst)).key("findings").begin_array();
    for (const auto& finding : found->findings) {
      json.begin_object().field("check", finding.check).field("level", to_string(finding.level));
      json.field("message", finding.message).field("remedy", finding.remedy).field("fixed", finding.fixed).end_object();
    }
    json.end_array().end_object();
    fmt::print("{}\n", json.str());
    return code;
  }
  for (const auto& finding : found->findings) {
    fmt::print("{} {:16} {}\n", styled(style_of(finding), fmt::format("{:8}", word_of(finding))), finding.check,
               printable(finding.message));
    if (!finding.remedy.empty()) fmt::print("{:25} {}\n", "", styled(Style::bold, "→ " + finding.remedy));
  }
  return code;
}

int version(bool as_json) {
  const std::string stamp = base::kBuildStamp;
  if (!as_json) {
    fmt::print("orkestr {} (build {})\n", orkestr::version(), stamp);
    return kExitOk;
  }
  base::JsonWriter json;
  json.begin_object().field("version", orkestr::version()).field("wire", base::kWireGeneration).field("stamp", stamp);
  json.end_object();
  fmt::print("{}\n", json.str());
  return kExitOk;
}

}  // namespace orkestr::cli
