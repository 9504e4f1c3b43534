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
};

constexpr std::array kKnown = {
    Known{ErrorCode::internal, ORKESTR_INTERNAL},
    Known{ErrorCode::invalid_argument, ORKESTR_INVALID_ARGUMENT},
    Known{ErrorCode::unauthorized, ORKESTR_UNAUTHORIZED},
    Known{ErrorCode::forbidden, ORKESTR_FORBIDDEN},
    Known{ErrorCode::rate_limited, ORKESTR_RATE_LIMITED},
    Known{ErrorCode::plan_limit, ORKESTR_PLAN_LIMIT},
    Known{ErrorCode::usage_exhausted, ORKESTR_USAGE_EXHAUSTED},
    Known{ErrorCode::trial_exhausted, ORKESTR_TRIAL_EXHAUSTED},
    Known{ErrorCode::lifetime_cap_reached, ORKESTR_LIFETIME_CAP_REACHED},
    Known{ErrorCode::session_cap_reached, ORKESTR_SESSION_CAP_REACHED},
    Known{ErrorCode::snapshot_cap_reached, ORKESTR_SNAPSHOT_CAP_REACHED},
    Known{ErrorCode::fleet_full_retry, ORKESTR_FLEET_FULL_RETRY},
    Known{ErrorCode::not_found, ORKESTR_NOT_FOUND},
    Known{ErrorCode::not_ready, ORKESTR_NOT_READY},
    Known{ErrorCode::exec_timeout, ORKESTR_EXEC_TIMEOUT},
    Known{ErrorCode::exec_killed, ORKESTR_EXEC_KILLED},
    Known{ErrorCode::network_policy_blocked, ORKESTR_NETWORK_POLICY_BLOCKED},
    Known{ErrorCode::interpreter_unavailable, ORKESTR_INTERPRETER_UNAVAILABLE},
    Known{ErrorCode::file_not_found, ORKESTR_FILE_NOT_FOUND},
    Known{ErrorCode::not_permitted, ORKESTR_NOT_PERMITTED},
    Known{ErrorCode::is_a_directory, ORKESTR_IS_A_DIRECTORY},
    Known{ErrorCode::not_a_directory, ORKESTR_NOT_A_DIRECTORY},
    Known{ErrorCode::file_exists, ORKESTR_FILE_EXISTS},
    Known{ErrorCode::volume_in_use, ORKESTR_VOLUME_IN_USE},
    Known{ErrorCode::template_not_found, ORKESTR_TEMPLATE_NOT_FOUND},
    Known{ErrorCode::template_build_failed, ORKESTR_TEMPLATE_BUILD_FAILED},
    Known{ErrorCode::snapshot_incompatible, ORKESTR_SNAPSHOT_INCOMPATIBLE},
    Known{ErrorCode::not_supported, ORKESTR_NOT_SUPPORTED},
    Known{ErrorCode::vm_failed, ORKESTR_VM_FAILED},
    Known{ErrorCode::connection, ORKESTR_CONNECTION},
    Known{ErrorCode::api, ORKESTR_API_ERROR},
    Known{ErrorCode::cancelled, ORKESTR_CANCELLED},
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

// Like a value, and unlike other handles, it has nothing behind it that a thread could lock.
struct orkestr_error : Shell {
  orkestr_error(const orkestr::Error& error, orkestr_status its_status)
      : Shell(kErrorTag), details(to_node(error), kInnerTag), status(its_status) {}
  static constexpr std::uint32_t kErrorTag = 0x6f657272;
  orkestr_value details;
  const orkestr_status status;
};

namespace {
// Nothing for what is no live error.
const orkestr_error* find(const orkestr_error* error) {
  return error != nullptr && error->tag.load(std::memory_order_acquire) == orkestr_error::kErrorTag ? error : nullptr;
}
}  // namespace

orkestr_status orkestr::capi::status_of(ErrorCode code) noexcept { return known(code).status; }

orkestr_status orkestr::capi::report(orkestr_error** error, const Error& failure) noexcept {
  const auto& [code, status] = known(failure.code());
  const bool no_memory = code == ErrorCode::internal && failure.message() == kNoMemory;
  if (error == nullptr) return no_memory ? ORKESTR_OUT_OF_MEMORY : status;
  try {
    *error = std::make_unique<orkestr_error>(failure, status).release();
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
  const auto* found = find(error);
  return found != nullptr ? found->status : ORKESTR_OK;
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
  const auto* found = find(error);
  return found != nullptr ? &found->details : nullptr;
}
void orkestr_error_free(orkestr_error* error) {
  std::uint32_t expected = orkestr_error::kErrorTag;
  if (error == nullptr || !error->tag.compare_exchange_strong(expected, kFreed)) return;
  error->details.node = Node();
  retire(std::unique_ptr<Shell>(error));
}

const char* orkestr_version(void) { return orkestr::version(); }
