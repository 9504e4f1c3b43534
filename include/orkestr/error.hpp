// Errors and results.
//
// Every fallible function of this library returns Result<T>: either a value or an Error. Nothing throws, except
// Result<T>::value(), which throws the exception class that belongs to the error's code, for callers who prefer
// exceptions.
//
// An Error has a stable `code` to program against and a `message` for a person: what was tried, what happened, what to
// do.
//
// What a caller should do is part of the code:
//   fix the call        invalid_argument, not_found, not_ready, file_not_found, not_permitted, is_a_directory,
//                       not_a_directory, template_not_found, not_supported
//   fix the machine     vm_failed, template_build_failed, snapshot_incompatible, internal
//   retry later         rate_limited, fleet_full_retry, connection
//   look at the command exec_timeout, exec_killed
//   ask an account      unauthorized, forbidden, plan_limit and its relatives
//
// Thread safety: values; const access from several threads is safe.
#pragma once

#include <memory>
#include <optional>
#include <orkestr/version.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace orkestr {

// The spelling of each code on the wire, in logs and in the bindings is `to_string(code)`, and never changes.
enum class ErrorCode {
  internal,  // a bug or a failure of the host that no other code names
  invalid_argument,
  unauthorized,
  forbidden,
  rate_limited,
  plan_limit,
  usage_exhausted,
  trial_exhausted,
  lifetime_cap_reached,
  session_cap_reached,
  snapshot_cap_reached,
  fleet_full_retry,
  not_found,
  not_ready,
  exec_timeout,
  exec_killed,
  network_policy_blocked,
  interpreter_unavailable,
  file_not_found,
  not_permitted,
  is_a_directory,
  not_a_directory,
  file_exists,
  volume_in_use,
  template_not_found,
  template_build_failed,
  snapshot_incompatible,
  not_supported,
  vm_failed,
  connection,
  api,
  cancelled,
};

// "exec_timeout" for ErrorCode::exec_timeout, and so on.
ORKESTR_API std::string_view to_string(ErrorCode code) noexcept;
// The inverse; nothing for a name this version does not know.
ORKESTR_API std::optional<ErrorCode> error_code_from_string(std::string_view name) noexcept;
// The name of the code's exception class, the same in every language: "ExecTimeout".
ORKESTR_API std::string_view error_class(ErrorCode code) noexcept;
// What a caller can do about any error of this code: a sentence, the same in every language. What is special about one
// error is in its message. docs/ERRORS.md has them all.
ORKESTR_API std::string_view error_hint(ErrorCode code) noexcept;

// What some codes carry beside the message. Fields that a code does not use keep their defaults.
struct ErrorDetails {
  int status_code = 0;                // HTTP status that a service answered (0: none)
  std::string detail;                 // as the service sent it
  std::string request_id;             // of the service
  std::optional<double> retry_after;  // seconds, where they are known; rate_limited, fleet_full_retry
  int signal = 0;                     // exec_killed
  bool oom = false;                   // exec_killed: by the out-of-memory killer
  std::string stdout_data;            // exec_timeout, exec_killed: output so far (bytes)
  std::string stderr_data;            //
  std::string host;                   // network_policy_blocked
  int port = 0;                       //
  std::string rule;                   //
  std::string stage;                  // vm_failed: what was being done; template_build_failed: the step
  std::string console_tail;  // vm_failed: the guest console's last lines; template_build_failed: the step's output
};

class Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}
  Error(ErrorCode code, std::string message, ErrorDetails details)
      : code_(code), message_(std::move(message)), details_(std::make_shared<const ErrorDetails>(std::move(details))) {}

  ErrorCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  // The details; defaults where the error carries none.
  ORKESTR_API const ErrorDetails& details() const noexcept;

  // The same error with "CONTEXT: " before its message: what the caller was doing.
  ORKESTR_API Error with_context(std::string_view context) const;
  // Throws the exception class of this error's code.
  [[noreturn]] ORKESTR_API void raise() const;

 private:
  ErrorCode code_;
  std::string message_;
  std::shared_ptr<const ErrorDetails> details_;
};

// The base of every exception this library throws; the Error it was made from is inside.
class ORKESTR_API OrkestrError : public std::runtime_error {
 public:
  explicit OrkestrError(Error error) : std::runtime_error(error.message()), error_(std::move(error)) {}
  const Error& error() const noexcept { return error_; }
  ErrorCode code() const noexcept { return error_.code(); }

 private:
  Error error_;
};

// One class for each way a caller reacts; several codes may share one (Error::raise).
// clang-format off
class ORKESTR_API InvalidArgument : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API AuthError : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API RateLimitError : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API PlanLimitError : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API SnapshotCapReached : public PlanLimitError { public: using PlanLimitError::PlanLimitError; };
class ORKESTR_API FleetFull : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API SandboxNotFound : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API SandboxNotReady : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API VolumeInUse : public SandboxNotReady { public: using SandboxNotReady::SandboxNotReady; };
class ORKESTR_API ExecTimeout : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API ExecKilled : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API NetworkPolicyError : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API InterpreterUnavailable : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API FileNotFound : public SandboxNotFound { public: using SandboxNotFound::SandboxNotFound; };
class ORKESTR_API NotPermitted : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API IsADirectory : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API NotADirectory : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API FileExists : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API TemplateNotFound : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API TemplateBuildError : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API SnapshotIncompatible : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API NotSupported : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API VmError : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API ConnectionError : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API APIError : public OrkestrError { public: using OrkestrError::OrkestrError; };
class ORKESTR_API Cancelled : public OrkestrError { public: using OrkestrError::OrkestrError; };
// clang-format on

// A value or an Error. `[[nodiscard]]`: an error cannot be dropped unseen.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  // The value; throws the error's exception class when there is none.
  T& value() & {
    if (!ok()) error().raise();
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    if (!ok()) error().raise();
    return *std::get_if<0>(&state_);
  }
  T value() && {
    if (!ok()) error().raise();
    return std::move(*std::get_if<0>(&state_));
  }

  // Precondition: ok().
  T& operator*() & { return *std::get_if<0>(&state_); }
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }
  // Precondition: !ok().
  const Error& error() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }
  void value() const {
    if (error_) error_->raise();
  }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace orkestr
