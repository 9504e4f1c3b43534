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

static_assert(status_of(ErrorCode::internal) == ORKESTR_INTERNAL);
static_assert(status_of(ErrorCode::cancelled) == ORKESTR_CANCELLED && ORKESTR_CANCELLED + 1 == ORKESTR_OUT_OF_MEMORY);

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

orkestr_status orkestr::capi::report(orkestr_error** error, const Error& failure) noexcept {
  const orkestr_status status = status_of(failure.code());
  const bool no_memory = status == ORKESTR_INTERNAL && failure.message() == kNoMemory;
  if (error == nullptr) return no_memory ? ORKESTR_OUT_OF_MEMORY : status;
  try {
    *error = std::make_unique<orkestr_error>(failure, status).release();
    return status;
  } catch (...) {
    return ORKESTR_OUT_OF_MEMORY;
  }
}

const char* orkestr_status_name(orkestr_status status) {
  const int number = status;
  switch (number) {
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
  if (number < ORKESTR_INTERNAL || number > ORKESTR_CANCELLED) return "unknown";
  return orkestr::to_string(static_cast<orkestr::ErrorCode>(number - 1)).data();  // of a literal
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
