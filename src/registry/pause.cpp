#include "registry/pause.hpp"

#include <fmt/format.h>

#include "base/file.hpp"
#include "base/json.hpp"
#include "base/try.hpp"

namespace orkestr::registry {
namespace {

constexpr std::size_t kMaxManifestBytes = 1U << 20U;

Error unreadable(std::string_view why) {
  return Error(ErrorCode::snapshot_incompatible, fmt::format("the manifest of a paused sandbox: {}", why));
}

}  // namespace

std::string PauseManifest::to_json() const {
  base::JsonWriter out;
  out.begin_object()
      .field("format", kPauseFormat)
      .field("id", id)
      .field("qemu_version", qemu_version)
      .field("accelerator", accelerator)
      .field("processor", processor)
      .field("machine_revision", machine_revision)
      .field("vcpus", vcpus)
      .field("memory_mb", memory_mb)
      .field("tsc_khz", tsc_khz)
      .field("devices_checksum", devices_checksum)
      .field("pages_checksum", pages_checksum)
      .field("disk_checksum", disk_checksum)
      .field("paused_at_ms", paused_at_ms);
  out.key("shared").begin_object();
  for (const auto& [name, file] : shared) {
    out.key(name).begin_object().field("size", file.size).field("modified_ns", file.modified_ns).end_object();
  }
  out.end_object();
  out.key("env").begin_array();
  for (const auto& [name, value] : env) out.begin_array().value(name).value(value).end_array();
  out.end_array().end_object();
  return out.take();
}

Result<PauseManifest> PauseManifest::from_json(std::string_view json) {
  auto parsed = base::JsonValue::parse(json);
  if (!parsed) return unreadable(parsed.error().message());
  const base::JsonValue& in = *parsed;
  if (in.integer_or("format", 0) != kPauseFormat) {
    return unreadable(fmt::format("it has format {}, this build reads format {}; another version of orkestr wrote it",
                                  in.integer_or("format", 0), kPauseFormat));
  }
  PauseManifest m;
  m.id = in.string_or("id", "");
  m.qemu_version = in.string_or("qemu_version", "");
  m.accelerator = in.string_or("accelerator", "");
  m.processor = in.string_or("processor", "");
  m.machine_revision = in.integer_or("machine_revision", 0);
  m.vcpus = in.integer_or("vcpus", 0);
  m.memory_mb = in.integer_or("memory_mb", 0);
  m.tsc_khz = in.integer_or("tsc_khz", 0);
  m.devices_checksum = in.string_or("devices_checksum", "");
  m.pages_checksum = in.string_or("pages_checksum", "");
  m.disk_checksum = in.string_or("disk_checksum", "");
  m.paused_at_ms = in.integer_or("paused_at_ms", 0);
  for (const auto& [name, file] : in["shared"].members()) {
    m.shared[name] = {file.integer_or("size", -1), file.integer_or("modified_ns", -1)};
  }
  for (const auto& pair : in["env"].items()) {
    if (pair.items().size() != 2) return unreadable("an entry of env is no pair");
    m.env.emplace_back(pair.items()[0].string().value_or(""), pair.items()[1].string().value_or(""));
  }
  if (m.vcpus < 1 || m.vcpus > 1024 || m.memory_mb < 1 || m.memory_mb > (1 << 20)) return unreadable("no such machine");
  for (const auto* text : {&m.id, &m.qemu_version, &m.accelerator, &m.devices_checksum, &m.pages_checksum}) {
    if (text->empty()) return unreadable("a field is missing");
  }
  return m;
}

Result<PauseManifest> read_pause_manifest(int dir_fd, const std::string& id) {
  auto text = base::read_file_at(dir_fd, fmt::format("{}/{}", kPauseDirectory, kPauseManifestFile), kMaxManifestBytes);
  if (!text) return text.error();
  ORKESTR_TRY(auto manifest, PauseManifest::from_json(*text));
  if (manifest.id != id) return unreadable(fmt::format("it belongs to {}", manifest.id));
  return manifest;
}

}  // namespace orkestr::registry
