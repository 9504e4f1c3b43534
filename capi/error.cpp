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

constexpr const char* kFixTheCall = "fix the call";
constexpr const char* kFixTheMachine = "fix the machine; `orkestr doctor` looks at it";
constexpr const char* kRetryLater = "retry later";
constexpr const char* kLookAtTheCommand = "look at the command";
constexpr const char* kAskTheAccount = "ask for more at the service's account, or check its key";

struct Known {
  ErrorCode code;
  orkestr_status status;
  const char* hint;
};

constexpr std::array kKnown = {
    Known{ErrorCode::internal, ORKESTR_INTERNAL, kFixTheMachine},
    Known{ErrorCode::invalid_argument, ORKESTR_INVALID_ARGUMENT, kFixTheCall},
    Known{ErrorCode::unauthorized, ORKESTR_UNAUTHORIZED, kAskTheAccount},
    Known{ErrorCode::forbidden, ORKESTR_FORBIDDEN, kAskTheAccount},
    Known{ErrorCode::rate_limited, ORKESTR_RATE_LIMITED, kRetryLater},
    Known{ErrorCode::plan_limit, ORKESTR_PLAN_LIMIT, kAskTheAccount},
    Known{ErrorCode::usage_exhausted, ORKESTR_USAGE_EXHAUSTED, kAskTheAccount},
    Known{ErrorCode::trial_exhausted, ORKESTR_TRIAL_EXHAUSTED, kAskTheAccount},
    Known{ErrorCode::lifetime_cap_reached, ORKESTR_LIFETIME_CAP_REACHED, kAskTheAccount},
    Known{ErrorCode::session_cap_reached, ORKESTR_SESSION_CAP_REACHED, kAskTheAccount},
    Known{ErrorCode::snapshot_cap_reached, ORKESTR_SNAPSHOT_CAP_REACHED, kAskTheAccount},
    Known{ErrorCode::fleet_full_retry, ORKESTR_FLEET_FULL_RETRY, kRetryLater},
    Known{ErrorCode::not_found, ORKESTR_NOT_FOUND, kFixTheCall},
    Known{ErrorCode::not_ready, ORKESTR_NOT_READY, kFixTheCall},
    Known{ErrorCode::exec_timeout, ORKESTR_EXEC_TIMEOUT, kLookAtTheCommand},
    Known{ErrorCode::exec_killed, ORKESTR_EXEC_KILLED, kLookAtTheCommand},
    Known{ErrorCode::network_policy_blocked, ORKESTR_NETWORK_POLICY_BLOCKED, kLookAtTheCommand},
    Known{ErrorCode::interpreter_unavailable, ORKESTR_INTERPRETER_UNAVAILABLE, kFixTheCall},
    Known{ErrorCode::file_not_found, ORKESTR_FILE_NOT_FOUND, kFixTheCall},
    Known{ErrorCode::not_permitted, ORKESTR_NOT_PERMITTED, kFixTheCall},
    Known{ErrorCode::is_a_directory, ORKESTR_IS_A_DIRECTORY, kFixTheCall},
    Known{ErrorCode::not_a_directory, ORKESTR_NOT_A_DIRECTORY, kFixTheCall},
    Known{ErrorCode::file_exists, ORKESTR_FILE_EXISTS, kFixTheCall},
    Known{ErrorCode::volume_in_use, ORKESTR_VOLUME_IN_USE, kRetryLater},
    Known{ErrorCode::template_not_found, ORKESTR_TEMPLATE_NOT_FOUND, kFixTheCall},
    Known{ErrorCode::template_build_failed, ORKESTR_TEMPLATE_BUILD_FAILED, kFixTheMachine},
    Known{ErrorCode::snapshot_incompatible, ORKESTR_SNAPSHOT_INCOMPATIBLE, kFixTheMachine},
    Known{ErrorCode::not_supported, ORKESTR_NOT_SUPPORTED, kFixTheCall},
    Known{ErrorCode::vm_failed, ORKESTR_VM_FAILED, kFixTheMachine},
    Known{ErrorCode::connection, ORKESTR_CONNECTION, kRetryLater},
    Known{ErrorCode::api, ORKESTR_API_ERROR, kRetryLater},
    Known{ErrorCode::cancelled, ORKESTR_CANCELLED, "nothing; it was asked for"},
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
