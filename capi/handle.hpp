// What is behind the opaque pointers: a tag that tells a live handle of the right type from anything else, and a body.
//
// Freeing destroys the body at once and keeps the shell, a few bytes, until 64 more handles have been freed; so a
// second free, and a call with a handle freed lately, are seen and not undefined. Longer ago is the caller's luck.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <orkestr/error.hpp>
#include <string>
#include <utility>

namespace orkestr::capi {

struct Shell {
  explicit Shell(std::uint32_t its_tag) : tag(its_tag) {}
  virtual ~Shell() = default;
  Shell(const Shell&) = delete;
  Shell& operator=(const Shell&) = delete;
  std::atomic<std::uint32_t> tag;
};

inline constexpr std::uint32_t kFreed = 0xdead0f0f;

// Keeps a shell until its turn comes to be deleted. (error.cpp)
void retire(std::unique_ptr<Shell> shell) noexcept;

// `Self` derives from this: struct orkestr_client : Handle<orkestr_client, ClientBody, "clnt"_tag>
template <class Self, class Body, std::uint32_t kTag>
struct Handle : Shell {
  explicit Handle(Body its_body) : Shell(kTag), body(std::in_place, std::move(its_body)) {}
  std::optional<Body> body;

  static bool is_live(const Self* handle) noexcept {
    return handle != nullptr && handle->tag.load(std::memory_order_acquire) == kTag;
  }
  // The body of `handle`, or an error that names the argument.
  static Result<Body*> open(const char* argument, const Self* handle) {
    if (handle == nullptr) return Error(ErrorCode::invalid_argument, std::string(argument) + " is NULL");
    if (is_live(handle)) return &*const_cast<Self*>(handle)->body;
    const bool freed = handle->tag.load(std::memory_order_acquire) == kFreed;
    return Error(ErrorCode::invalid_argument,
                 std::string(argument) + (freed ? " was freed; keep its handle until the last call with it"
                                                : " is a handle of another type"));
  }
  // Nothing for what is not live, and for all but one of two callers at once.
  static void free(Self* handle) noexcept {
    std::uint32_t expected = kTag;
    if (handle == nullptr || !handle->tag.compare_exchange_strong(expected, kFreed)) return;
    handle->body.reset();
    retire(std::unique_ptr<Shell>(handle));
  }
};

}  // namespace orkestr::capi
