#include "orkestr/template.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "base/file.hpp"
#include "base/json.hpp"
#include "base/system.hpp"
#include "cli/commands.hpp"
#include "cli/progress.hpp"

namespace orkestr::cli {
namespace {

// Recipes are small; what is longer is another file by mistake.
constexpr std::size_t kMaxRecipeBytes = 1U << 20U;

std::string time_of(const TemplateInfo& info) {
  using std::chrono::milliseconds;
  return base::iso8601_utc(std::chrono::duration_cast<milliseconds>(info.created_at.time_since_epoch()).count());
}

std::string megabytes(std::uint64_t bytes) { return fmt::format("{} MB", bytes >> 20U); }

// Build or prepare, with a bar. The elapsed time is the caller's: it may have waited for another build.
template <class Function>
Result<TemplateInfo> with_progress(const TemplateCommand& command, Function function) {
  TemplateBuildOptions options;
  options.force = command.force;
  auto size = parse_size(command.size);
  if (!size) return size.error();
  options.size = *size;
  options.cpu = command.cpu;
  options.memory_mb = command.memory_mb;
  options.disk_mb = command.disk_mb;
  if (!command.recipe_file.empty()) {
    auto text = base::read_file(command.recipe_file, kMaxRecipeBytes);
    if (!text) return text.error();
    options.recipe = std::move(*text);
  }
  Progress progress;
  options.on_progress = [&](const TemplateProgress& p) {
    const std::string step =
        p.template_name == command.name || command.name.empty() ? p.step : p.template_name + ": " + p.step;
    progress.update(step, p.index, p.count, p.line, p.elapsed);
  };
  return function(command.name, std::move(options));
}

void write(base::JsonWriter& json, const TemplateInfo& info) {
  json.begin_object();
  json.field("name", info.name).field("description", info.description).field("built", info.built);
  if (info.built) {
    json.field("current", info.current).field("build_id", info.build_id).field("created_at", time_of(info));
    json.field("directory", info.directory).field("bytes", info.bytes).field("digest", info.digest);
    json.field("image_sha256", info.image_sha256).field("kernel", info.kernel);
  }
  json.field("recipe_sha256", info.recipe_sha256);
}

void write_parts(base::JsonWriter& json, const TemplateInfo& info) {
  json.key("parts").begin_array();
  for (const auto& part : info.parts) {
    json.begin_object();
    json.field("source", part.source).field("name", part.name).field("version", part.version);
    json.field("origin", part.origin).field("sha256", part.sha256).field("bytes", part.bytes);
    json.end_object();
  }
  json.end_array();
}

std::string state_of(const TemplateInfo& info) {
  if (!info.built) return "no";
  return info.current ? time_of(info) : time_of(info) + " (older recipe)";
}

}  // namespace

int template_build(const TemplateCommand& command) {
  const auto start = std::chrono::steady_clock::now();
  bool worked = false;
  auto info = with_progress(command, [&](const std::string& name, TemplateBuildOptions options) {
    auto show = std::exchange(options.on_progress, nullptr);
    options.on_progress = [&worked, show](const TemplateProgress& p) {
      worked = true;
      show(p);
    };
    return Template::build(name, std::move(options));
  });
  if (!info) return report(info.error());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  if (worked) {
    fmt::print("template {} is built ({:.1f} s): {}\n", info->name, took.count(), info->directory);
  } else {
    fmt::print("template {} is there already: {} (--force builds it again)\n", info->name, info->directory);
  }
  return kExitOk;
}

int template_prepare(const TemplateCommand& command) {
  auto info = with_progress(command, [](const std::string& name, TemplateBuildOptions options) {
    return Template::prepare(name, std::move(options));
  });
  if (!info) return report(info.error());
  fmt::print("template {} is ready: {}\n", info->name, info->directory);
  return kExitOk;
}

int template_list(bool as_json) {
  auto all = Template::list();
  if (!all) return report(all.error());
  if (as_json) {
    base::JsonWriter json;
    json.begin_array();
    for (const auto& info : *all) {
      write(json, info);
      json.end_object();
    }
    json.end_array();
    fmt::print("{}\n", json.str());
    return kExitOk;
  }
  fmt::print("{:20} {:>8}  {:24} {}\n", "NAME", "SIZE", "BUILT", "DESCRIPTION");
  for (const auto& info : *all) {
    fmt::print("{:20} {:>8}  {:24} {}\n", info.name, info.built ? megabytes(info.bytes) : "-", state_of(info),
               info.description);
  }
  return kExitOk;
}

int template_inspect(const std::string& name, bool as_json) {
  auto info = Template::inspect(name);
  if (!info) return report(info.error());
  if (as_json) {
    base::JsonWriter json;
    write(json, *info);
    write_parts(json, *info);
    json.end_object();
    fmt::print("{}\n", json.str());
    return kExitOk;
  }
  auto line = [](std::string_view key, std::string_view value) { fmt::print("{:14} {}\n", key, value); };
  line("name", info->name);
  line("description", info->description);
  line("built", state_of(*info));
  line("recipe", info->recipe_sha256);
  if (!info->built) return kExitOk;
  line("directory", info->directory);
  line("size", megabytes(info->bytes));
  line("digest", info->digest);
  line("image sha256", info->image_sha256);
  line("kernel", info->kernel);
  for (const auto& part : info->parts) {
    if (part.source == "debian" && !part.version.empty()) continue;  // below, all in one
    const std::string size = part.bytes > 0 ? fmt::format(" ({} KB)", part.bytes >> 10U) : "";
    line(part.source, fmt::format("{} {} from {}{}", part.name, part.version, part.origin, size));
    if (!part.sha256.empty()) line("", "sha256 " + part.sha256);
  }
  const auto packages = std::count_if(info->parts.begin(), info->parts.end(), [](const TemplatePart& part) {
    return part.source == "debian" && !part.version.empty();
  });
  line("packages", fmt::format("{} of Debian; --json lists them with their versions", packages));
  return kExitOk;
}

int template_remove(const std::vector<std::string>& names) {
  for (const auto& name : names) {
    if (auto removed = Template::remove(name); !removed) return report(removed.error());
    fmt::print("template {} is removed\n", name);
  }
  return kExitOk;
}

}  // namespace orkestr::cli
