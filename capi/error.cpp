#include <array>
#include <atomic>
#include <cstddef>
#include <string>

#include "guard.hpp"
#include "handle.hpp"
#include "records.hpp"
#include "value.hpp"

namespace orkestr::capi {
namespace {

struct Known {
  ErrorCode code;
  orkestr_status status;
  const char* hint;
};

constexpr std::array kKnown = {
    Known{ErrorCode::internal, ORKESTR_INTERNAL,
          "Run `orkestr doctor`; if it finds nothing, report the message as a bug."},
    Known{ErrorCode::invalid_argument, ORKESTR_INVALID_ARGUMENT,
          "Correct the argument; the message names it, its value and what is allowed."},
    Known{ErrorCode::unauthorized, ORKESTR_UNAUTHORIZED, "Give a valid key as api_key or in ORKESTR_API_KEY."},
    Known{ErrorCode::forbidden, ORKESTR_FORBIDDEN, "Use a key with the scope that this needs."},
    Known{ErrorCode::rate_limited, ORKESTR_RATE_LIMITED,
          "Wait for retry_after seconds where it is given, and repeat the call."},
    Known{ErrorCode::plan_limit, ORKESTR_PLAN_LIMIT, "Ask for less, end other sandboxes, or change the plan."},
    Known{ErrorCode::usage_exhausted, ORKESTR_USAGE_EXHAUSTED, "Wait until the usage is reset, or change the plan."},
    Known{ErrorCode::trial_exhausted, ORKESTR_TRIAL_EXHAUSTED, "Change to a paid plan."},
    Known{ErrorCode::lifetime_cap_reached, ORKESTR_LIFETIME_CAP_REACHED, "Create a new sandbox, or change the plan."},
    Known{ErrorCode::session_cap_reached, ORKESTR_SESSION_CAP_REACHED, "Close a session, or change the plan."},
    Known{ErrorCode::snapshot_cap_reached, ORKESTR_SNAPSHOT_CAP_REACHED,
          "Terminate a paused sandbox or delete a snapshot; locally ORKESTR_MAX_SNAPSHOTS is the cap."},
    Known{ErrorCode::fleet_full_retry, ORKESTR_FLEET_FULL_RETRY,
          "Wait for retry_after seconds where it is given, or end other sandboxes."},
    Known{ErrorCode::not_found, ORKESTR_NOT_FOUND, "Check the id; records of ended sandboxes are kept for 24 hours."},
    Known{ErrorCode::not_ready, ORKESTR_NOT_READY, "Resume it if it is paused, create another one if it has ended."},
    Known{ErrorCode::exec_timeout, ORKESTR_EXEC_TIMEOUT,
          "Look at the output so far, and give a longer timeout if the command needs it."},
    Known{ErrorCode::exec_killed, ORKESTR_EXEC_KILLED,
          "Look at signal and oom; after the out-of-memory killer give the sandbox more memory."},
    Known{ErrorCode::network_policy_blocked, ORKESTR_NETWORK_POLICY_BLOCKED,
          "Allow the host in allow_domains, or choose another network."},
    Known{ErrorCode::interpreter_unavailable, ORKESTR_INTERPRETER_UNAVAILABLE, "Use a template that has it."},
    Known{ErrorCode::file_not_found, ORKESTR_FILE_NOT_FOUND, "Check the path; list its directory."},
    Known{ErrorCode::not_permitted, ORKESTR_NOT_PERMITTED,
          "Write below /workspace, /tmp or /persist; on the host, use the rights that the message names."},
    Known{ErrorCode::is_a_directory, ORKESTR_IS_A_DIRECTORY, "Give the path of a file."},
    Known{ErrorCode::not_a_directory, ORKESTR_NOT_A_DIRECTORY, "Give the path of a directory."},
    Known{ErrorCode::file_exists, ORKESTR_FILE_EXISTS, "Choose another name, or remove what is there."},
    Known{ErrorCode::volume_in_use, ORKESTR_VOLUME_IN_USE, "End the sandbox that has the volume."},
    Known{ErrorCode::template_not_found, ORKESTR_TEMPLATE_NOT_FOUND,
          "Check the name, or build it with `orkestr template build NAME`."},
    Known{ErrorCode::template_build_failed, ORKESTR_TEMPLATE_BUILD_FAILED,
          "Mend what the message names and build again; what was fetched is kept."},
    Known{ErrorCode::snapshot_incompatible, ORKESTR_SNAPSHOT_INCOMPATIBLE,
          "Resume it where it was made; its files are kept."},
    Known{ErrorCode::not_supported, ORKESTR_NOT_SUPPORTED, "Leave it out, or use the other backend."},
    Known{ErrorCode::vm_failed, ORKESTR_VM_FAILED, "Look at stage and console_tail, and run `orkestr doctor`."},
    Known{ErrorCode::connection, ORKESTR_CONNECTION, "Check address and network, and repeat the call."},
    Known{ErrorCode::api, ORKESTR_API_ERROR, "Look at status_code and detail; quote request_id to the service."},
    Known{ErrorCode::cancelled, ORKESTR_CANCELLED, "Nothing to do, unless you did not cancel it."},
};
static_assert(kKnown.size() == static_cast<std::size_t>(ErrorCode::cancelled) + 1);

const Known& known(ErrorCode code) {
  for (const Known& entry : kKnown) {
    if (entry.code == code) return entry;
  }
  return kKnown.front();
}

// The shells of the last handles that were freed. Lock-free, so a forked child can free, too.
std::array<std::atomic<Shell*>, 64> retired{};
std::atomic<unsigned> next_place{0};

}  // namespace

void retire(std::unique_ptr<Shell> shell) noexcept {
  auto& place = retired[next_place.fetch_add(1) % retired.size()];
  const std::unique_ptr<Shell> oldest(place.exchange(shell.release()));
}

}  // namespace orkestr::capi

using namespace orkestr::capi;

namespace {
struct ErrorBody {
  ErrorBody(const orkestr::Error& error, const char* hint)
      : details(std::make_unique<orkestr_value>(to_node(error, hint), kInnerTag)) {}
  std::unique_ptr<orkestr_value> details;
  orkestr_status status = ORKESTR_INTERNAL;
};
}  // namespace

struct orkestr_error : Handle<orkestr_error, ErrorBody, 0x6f657272> {
  using Handle::Handle;
};

orkestr_status orkestr::capi::report(orkestr_error** error, const Error& failure) noexcept {
  const auto& [code, status, hint] = known(failure.code());
  const bool no_memory = code == ErrorCode::internal && failure.message() == kNoMemory;
  if (error == nullptr) return no_memory ? ORKESTR_OUT_OF_MEMORY : status;
  try {
    ErrorBody body(failure, hint);
    body.status = status;
    *error = std::make_unique<orkestr_error>(std::move(body)).release();
    return status;
  } catch (...) {
    return ORKESTR_OUT_OF_MEMORY;
  }
}

const char* orkestr_status_name(orkestr_status status) {
  switch (static_cast<int>(status)) {
    case ORKESTR_OK:
      return "ok";
    case ORKESTR_AGAIN:
      return "again";
    case ORKESTR_END:
      return "end";
    case ORKESTR_OUT_OF_MEMORY:
      return "out_of_memory";
    default:
      break;
  }
  for (const Known& entry : kKnown) {
    if (entry.status == status) return orkestr::to_string(entry.code).data();  // of a literal
  }
  return "unknown";
}

orkestr_status orkestr_error_status(const orkestr_error* error) {
  return orkestr_error::is_live(error) ? error->body->status : ORKESTR_OK;
}
const char* orkestr_error_message(const orkestr_error* error) {
  return orkestr_value_text(orkestr_error_details(error), "message");
}
const char* orkestr_error_hint(const orkestr_error* error) {
  return orkestr_value_text(orkestr_error_details(error), "hint");
}
const char* orkestr_error_request_id(const orkestr_error* error) {
  return orkestr_value_text(orkestr_error_details(error), "request_id");
}
const orkestr_value* orkestr_error_details(const orkestr_error* error) {
  return orkestr_error::is_live(error) ? error->body->details.get() : nullptr;
}
void orkestr_error_free(orkestr_error* error) { orkestr_error::free(error); }

const char* orkestr_version(void) { return orkestr::version(); }
