// The parts of doctor(): each looks at one thing and adds its findings.
#pragma once

#include <string>
#include <string_view>

#include "base/places.hpp"
#include "orkestr/host.hpp"

namespace orkestr::host {

class Findings {
 public:
  explicit Findings(bool fix) : fix_(fix) {}

  void ok(std::string_view check, std::string message) { add(check, FindingLevel::ok, std::move(message), {}); }
  void warning(std::string_view check, std::string message, std::string remedy) {
    add(check, FindingLevel::warning, std::move(message), std::move(remedy));
  }
  void problem(std::string_view check, std::string message, std::string remedy) {
    add(check, FindingLevel::problem, std::move(message), std::move(remedy));
  }
  // One that was mended just now: it reads as ok.
  void fixed(std::string_view check, std::string message) {
    add(check, FindingLevel::ok, std::move(message), {});
    report_.findings.back().fixed = true;
  }
  bool fix() const { return fix_; }
  DoctorReport take() { return std::move(report_); }

 private:
  void add(std::string_view check, FindingLevel level, std::string message, std::string remedy) {
    report_.findings.push_back({std::string(check), level, std::move(message), std::move(remedy), false});
  }
  const bool fix_;
  DoctorReport report_;
};

// State and cache directories: owner, mode, unnamed files. True when both can be used.
bool inspect_places(const base::Places& places, Findings& findings);
// Space of their file systems, memory of the machine.
void inspect_room(const base::Places& places, Findings& findings);
// Dead sandboxes, what killed builds left.
void inspect_leftovers(const base::Places& places, Findings& findings);

// The warm pool: how many wait of how many that are to.
void inspect_pool(Findings& findings);

// "1.4 GB", "130 MB"
std::string size_text(std::uint64_t bytes);

}  // namespace orkestr::host
