// What is behind the opaque pointers: a tag that tells a live handle of the right type from anything else, and a body.
//
// Freeing destroys the body as soon as no call uses it and keeps the shell, a few bytes, until 64 more handles have
// been freed; so a second free, and a call with a handle freed lately or meanwhile, are seen and not undefined. Longer
// ago is the caller's luck.
//
// In a forked child every lock behind a handle may be held for ever, by a thread that is not there; also that of the
// pointer to the body. So the process is looked at before anything else, and a body of the parent's is neither used nor
// destroyed. Only the shell can be read.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
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
  explicit Handle(Body its_body) : Shell(kTag), body_(std::make_shared<Body>(std::move(its_body))) {}

  // Of this type, and not freed lately.
  static bool is_live(const Self* handle) noexcept {
    return handle != nullptr && handle->tag.load(std::memory_order_acquire) == kTag;
  }
  // The body of a live handle, which stays as long as the caller has it; nothing for anything else.
  static std::shared_ptr<Body> find(const Self* handle) noexcept {
    return is_live(handle) && handle->is_here() ? handle->body_.load() : nullptr;
  }
  // The same, or an error that names the argument.
  static Result<std::shared_ptr<Body>> open(const char* argument, const Self* handle) {
    if (handle == nullptr) return Error(ErrorCode::invalid_argument, std::string(argument) + " is NULL");
    if (is_live(handle) && !handle->is_here()) return handle->not_here(argument);
    if (auto body = find(handle)) return body;
    const bool freed = handle->tag.load(std::memory_order_acquire) == kFreed;
    return Error(ErrorCode::invalid_argument,
                 std::string(argument) + (freed ? " was freed; keep its handle until the last call with it"
                                                : " is a handle of another type"));
  }
  // Nothing for what is not live, for all but one of two callers at once, and in a forked child.
  static void free(Self* handle) noexcept {
    std::uint32_t expected = kTag;
    if (!is_live(handle) || !handle->is_here() || !handle->tag.compare_exchange_strong(expected, kFreed)) return;
    // Its end, which may take a while and call back in, comes after the shell is away.
    const std::shared_ptr<Body> body = handle->body_.exchange(nullptr);
    retire(std::unique_ptr<Shell>(handle));
  }

 private:
  bool is_here() const noexcept { return ::getpid() == owner_; }
  Error not_here(const char* argument) const {
    return {ErrorCode::not_ready, std::string(argument) + " belongs to process " + std::to_string(owner_) +
                                      ", this is its forked child " + std::to_string(::getpid()) +
                                      "; open a client here with orkestr_client_open(), and get sandboxes by their id"};
  }

  const pid_t owner_ = ::getpid();
  std::atomic<std::shared_ptr<Body>> body_;
};

}  // namespace orkestr::capi
