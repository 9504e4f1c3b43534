#include "orkestr/error.hpp"

#include <array>

namespace orkestr {
namespace {

struct CodeName {
  ErrorCode code;
  std::string_view name;
};

// In the order of the enumeration, so that a code is its own index; error_code_names_match() holds it to that.
constexpr std::array kCodeNames = {
    CodeName{ErrorCode::internal, "internal"},
    CodeName{ErrorCode::invalid_argument, "invalid_argument"},
    CodeName{ErrorCode::unauthorized, "unauthorized"},
    CodeName{ErrorCode::forbidden, "forbidden"},
    CodeName{ErrorCode::rate_limited, "rate_limited"},
    CodeName{ErrorCode::plan_limit, "plan_limit"},
    CodeName{ErrorCode::usage_exhausted, "usage_exhausted"},
    CodeName{ErrorCode::trial_exhausted, "trial_exhausted"},
    CodeName{ErrorCode::lifetime_cap_reached, "lifetime_cap_reached"},
    CodeName{ErrorCode::session_cap_reached, "session_cap_reached"},
    CodeName{ErrorCode::snapshot_cap_reached, "snapshot_cap_reached"},
    CodeName{ErrorCode::fleet_full_retry, "fleet_full_retry"},
    CodeName{ErrorCode::not_found, "not_found"},
    CodeName{ErrorCode::not_ready, "not_ready"},
    CodeName{ErrorCode::exec_timeout, "exec_timeout"},
    CodeName{ErrorCode::exec_killed, "exec_killed"},
    CodeName{ErrorCode::network_policy_blocked, "network_policy_blocked"},
    CodeName{ErrorCode::interpreter_unavailable, "interpreter_unavailable"},
    CodeName{ErrorCode::file_not_found, "file_not_found"},
    CodeName{ErrorCode::not_permitted, "not_permitted"},
    CodeName{ErrorCode::is_a_directory, "is_a_directory"},
    CodeName{ErrorCode::not_a_directory, "not_a_directory"},
    CodeName{ErrorCode::file_exists, "file_exists"},
    CodeName{ErrorCode::volume_in_use, "volume_in_use"},
    CodeName{ErrorCode::template_not_found, "template_not_found"},
    CodeName{ErrorCode::template_build_failed, "template_build_failed"},
    CodeName{ErrorCode::snapshot_incompatible, "snapshot_incompatible"},
    CodeName{ErrorCode::not_supported, "not_supported"},
    CodeName{ErrorCode::vm_failed, "vm_failed"},
    CodeName{ErrorCode::connection, "connection"},
    CodeName{ErrorCode::api, "api"},
    CodeName{ErrorCode::cancelled, "cancelled"},
};

constexpr bool error_code_names_match() {
  for (std::size_t i = 0; i < kCodeNames.size(); ++i) {
    if (static_cast<std::size_t>(kCodeNames[i].code) != i) return false;
  }
  return kCodeNames.back().code == ErrorCode::cancelled;
}
static_assert(error_code_names_match());

}  // namespace

std::string_view to_string(ErrorCode code) noexcept {
  auto index = static_cast<std::size_t>(code);
  return index < kCodeNames.size() ? kCodeNames[index].name : "internal";
}

std::optional<ErrorCode> error_code_from_string(std::string_view name) noexcept {
  for (const auto& entry : kCodeNames) {
    if (entry.name == name) return entry.code;
  }
  return std::nullopt;
}

const ErrorDetails& Error::details() const noexcept {
  static const ErrorDetails none;
  return details_ ? *details_ : none;
}

Error Error::with_context(std::string_view context) const {
  Error result = *this;
  result.message_.insert(0, ": ").insert(0, context);
  return result;
}

void Error::raise() const {
  switch (code_) {
    case ErrorCode::internal:
      throw OrkestrError(*this);
    case ErrorCode::invalid_argument:
      throw InvalidArgument(*this);
    case ErrorCode::unauthorized:
    case ErrorCode::forbidden:
      throw AuthError(*this);
    case ErrorCode::rate_limited:
      throw RateLimitError(*this);
    case ErrorCode::plan_limit:
    case ErrorCode::usage_exhausted:
    case ErrorCode::trial_exhausted:
    case ErrorCode::lifetime_cap_reached:
    case ErrorCode::session_cap_reached:
      throw PlanLimitError(*this);
    case ErrorCode::snapshot_cap_reached:
      throw SnapshotCapReached(*this);
    case ErrorCode::fleet_full_retry:
      throw FleetFull(*this);
    case ErrorCode::not_found:
      throw SandboxNotFound(*this);
    case ErrorCode::not_ready:
      throw SandboxNotReady(*this);
    case ErrorCode::exec_timeout:
      throw ExecTimeout(*this);
    case ErrorCode::exec_killed:
      throw ExecKilled(*this);
    case ErrorCode::network_policy_blocked:
      throw NetworkPolicyError(*this);
    case ErrorCode::interpreter_unavailable:
      throw InterpreterUnavailable(*this);
    case ErrorCode::file_not_found:
      throw FileNotFound(*this);
    case ErrorCode::not_permitted:
      throw NotPermitted(*this);
    case ErrorCode::is_a_directory:
      throw IsADirectory(*this);
    case ErrorCode::not_a_directory:
      throw NotADirectory(*this);
    case ErrorCode::file_exists:
      throw FileExists(*this);
    case ErrorCode::volume_in_use:
      throw VolumeInUse(*this);
    case ErrorCode::template_not_found:
      throw TemplateNotFound(*this);
    case ErrorCode::template_build_failed:
      throw TemplateBuildError(*this);
    case ErrorCode::snapshot_incompatible:
      throw SnapshotIncompatible(*this);
    case ErrorCode::not_supported:
      throw NotSupported(*this);
    case ErrorCode::vm_failed:
      throw VmError(*this);
    case ErrorCode::connection:
      throw ConnectionError(*this);
    case ErrorCode::api:
      throw APIError(*this);
    case ErrorCode::cancelled:
      throw Cancelled(*this);
  }
  throw OrkestrError(*this);
}

const char* version() noexcept { return ORKESTR_VERSION; }

}  // namespace orkestr
