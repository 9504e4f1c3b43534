// The one try/catch of the C interface: nothing thrown leaves it. Every C function is one of three kinds, and each kind
// has its skeleton here:
//
//   return call(error, [&]() -> Result<void> { … });     orkestr_status orkestr_…(…, orkestr_error** error)
//   return begin([&]() -> Result<Begun> { … });          orkestr_operation* orkestr_…(…)
//   return look(fallback, [&] { … });                    a getter that cannot fail
#pragma once

#include <exception>
#include <new>
#include <orkestr/orkestr.hpp>
#include <type_traits>
#include <utility>

#include "orkestr.h"

namespace orkestr::capi {

inline constexpr const char* kNoMemory = "out of memory";  // short enough for a string that allocates nothing

// `work()`, a Result, with what it throws as an Error.
template <class Work>
auto attempt(Work&& work) noexcept -> std::invoke_result_t<Work> {
  try {
    return std::forward<Work>(work)();
  } catch (const OrkestrError& thrown) {
    return thrown.error();
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::internal, kNoMemory);
  } catch (const std::exception& thrown) {
    return Error(ErrorCode::internal, thrown.what());
  } catch (...) {
    return Error(ErrorCode::internal, "unknown");
  }
}

// The number of the code and one more, for 0 is success. (tests/capi holds all of them against errors.def.)
constexpr orkestr_status status_of(ErrorCode code) noexcept {
  return static_cast<orkestr_status>(static_cast<int>(code) + 1);
}
// The status of `failure`, and its object in *error where that is wanted. (error.cpp)
orkestr_status report(orkestr_error** error, const Error& failure) noexcept;

template <class Work>
orkestr_status call(orkestr_error** error, Work&& work) noexcept {
  if (error != nullptr) *error = nullptr;
  // A status of its own is for what is neither success nor error.
  const auto result = attempt(std::forward<Work>(work));
  if (!result.ok()) return report(error, result.error());
  if constexpr (std::is_same_v<decltype(result), const Result<void>>) {
    return ORKESTR_OK;
  } else {
    return *result;
  }
}

template <class Value, class Work>
Value look(Value fallback, Work&& work) noexcept {
  auto result = attempt([&]() -> Result<Value> { return work(); });
  return result.ok() ? *result : fallback;
}

}  // namespace orkestr::capi
