#include "supervisor/host_check.hpp"

#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "base/build_stamp.hpp"
#include "base/file.hpp"
#include "base/json.hpp"
#include "vm/accel.hpp"
#include "vm/jail.hpp"
#include "vm/qemu_binary.hpp"

namespace orkestr::supervisor {
namespace {

// Any program will do that ends by itself; it is killed where it does not.
constexpr const char* kHarmlessProgram = "/bin/true";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

void write_error(base::JsonWriter& json, const Error& error) {
  json.begin_object().field("error", error.message()).end_object();
}

void check_qemu(base::JsonWriter& json) {
  const auto path = vm::find_qemu();
  if (!path) return write_error(json, path.error());
  json.begin_object().field("path", *path).end_object();
}

void check_accelerator(base::JsonWriter& json) {
  const auto chosen = vm::choose_accelerator(environment("ORKESTR_ACCEL"), "");
  if (!chosen) return write_error(json, chosen.error());
  json.begin_object().field("name", chosen->name).field("reason", chosen->reason);
  json.field("isolation", chosen->isolation).field("iterations_per_s", chosen->iterations_per_s).end_object();
}

Result<vm::JailReport> try_jail() {
  vm::JailConfig config;
  config.argv = {kHarmlessProgram};
  if (::geteuid() == 0) {
    auto range = vm::parse_uid_range(environment("ORKESTR_UID_RANGE"));
    if (!range) return range.error();
    config.uid = range->first;  // no lease: it ends at once, and opens nothing
  }
  auto process = vm::start_jailed(config);
  if (!process) return process.error();
  return process->report;
}

void check_jail(base::JsonWriter& json) {
  const auto report = try_jail();
  if (!report) return write_error(json, report.error());
  json.begin_object().key("steps").begin_array();
  for (const auto& step : report->steps) {
    json.begin_object()
        .field("name", step.name)
        .field("applied", step.applied)
        .field("detail", step.detail)
        .end_object();
  }
  json.end_array().end_object();
}

}  // namespace

std::string check_host() {
  base::JsonWriter json;
  json.begin_object().field("stamp", base::kBuildStamp);
  check_qemu(json.key("qemu"));
  check_accelerator(json.key("accelerator"));
  check_jail(json.key("jail"));
  json.end_object();
  return json.take();
}

int print_host_check() { return base::write_all(STDOUT_FILENO, check_host() + "\n") ? 0 : 1; }

}  // namespace orkestr::supervisor
