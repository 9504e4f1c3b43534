// From options to what a supervisor is told: the environment, the templates and the state directory, read in the
// caller's thread.
#pragma once

#include <chrono>
#include <string>

#include "base/places.hpp"
#include "image/verify.hpp"
#include "local/capacity.hpp"
#include "orkestr/error.hpp"
#include "orkestr/options.hpp"
#include "registry/record.hpp"
#include "wire/message.hpp"

namespace orkestr::local {

// ORKESTR_ACCEL: "", "kvm" or "tcg"; invalid_argument for anything else.
Result<std::string> forced_accelerator();

// What a supervisor is told about where things are, whatever it is started for. invalid_argument: ORKESTR_SNAPSHOTS or
// ORKESTR_LOG is of no use.
Result<wire::StartRequest> start_request(const base::Places& places, const CapacitySettings& settings);

// Everything for a new sandbox but the decision to start one.
struct Prepared {
  base::Places places;
  std::string libexec;
  CapacitySettings settings;
  registry::Record record;     // "starting", under a new id
  wire::StartRequest request;  // with that record
  image::TemplateFiles files;
  bool unverified() const { return !request.image_sha256.empty(); }
  // What the supervisor may need beyond the start of a machine.
  std::chrono::seconds extra_time() const {
    return unverified() ? image::verification_time(files) : std::chrono::seconds(0);
  }
};
// Opens the template. One that nobody has verified since the host booted the supervisor verifies: that takes seconds,
// and the caller may be an event loop. template_not_found, template_build_failed, invalid_argument.
Result<Prepared> prepare_sandbox(const CreateOptions& options);

}  // namespace orkestr::local
