// What the public handles point to.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "backend.hpp"
#include "core/io_thread.hpp"
#include "core/workers.hpp"
#include "orkestr/client.hpp"
#include "orkestr/sandbox.hpp"

namespace orkestr {

namespace core {

// What core itself waits for on the I/O thread (the backend knows its own): told when the client closes. I/O thread
// only.
class Waits {
 public:
  std::uint64_t add(std::function<void()> on_close) {
    hooks_.emplace(++last_, std::move(on_close));
    return last_;
  }
  void remove(std::uint64_t id) { const auto dying = hooks_.extract(id); }
  void end() {
    while (!hooks_.empty()) hooks_.extract(hooks_.begin()).mapped()();
  }

 private:
  std::map<std::uint64_t, std::function<void()>> hooks_;
  std::uint64_t last_ = 0;
};

}  // namespace core

// Owns the I/O thread, the workers and the backend. Thread-safe; the backend is never replaced.
class ClientImpl {
 public:
  ClientImpl(std::shared_ptr<core::IoThread> thread, std::shared_ptr<Backend> backend)
      : thread_(std::move(thread)), backend_(std::move(backend)) {}
  ~ClientImpl();

  Backend& backend() { return *backend_; }
  core::IoThread& thread() { return *thread_; }
  core::Waits& waits() { return *waits_; }
  core::Workers& workers() { return *workers_; }
  void close();
  // not_ready in a forked child. First thing in every call.
  Result<void> check_process() const;
  bool forked() const { return thread_->forked(); }

 private:
  std::shared_ptr<core::IoThread> thread_;
  std::shared_ptr<Backend> backend_;
  std::shared_ptr<core::Waits> waits_ = std::make_shared<core::Waits>();  // outlives us until the thread has ended them
  std::unique_ptr<core::Workers> workers_ = std::make_unique<core::Workers>();
};

namespace core {
// The client of a call, in this process: the given one, or the default.
Result<std::shared_ptr<ClientImpl>> client_of(const std::optional<Client>& given);
}  // namespace core

class SandboxImpl {
 public:
  SandboxImpl(std::shared_ptr<ClientImpl> its_client, std::shared_ptr<Session> its_session, SandboxInfo info)
      : id(info.id), client(std::move(its_client)), session(std::move(its_session)), info_(std::move(info)) {}

  SandboxInfo info() const {
    std::lock_guard lock(mutex_);
    return info_;
  }
  // An end is final: what was looked at before it and comes after it is old.
  void set_info(SandboxInfo info) {
    const auto over = [](Status status) { return status == Status::terminated || status == Status::failed; };
    std::lock_guard lock(mutex_);
    if (!over(info_.status) || over(info.status)) info_ = std::move(info);
  }

  const std::string id;
  const std::shared_ptr<ClientImpl> client;  // destroyed after the session, which needs its thread
  const std::shared_ptr<Session> session;

 private:
  mutable std::mutex mutex_;
  SandboxInfo info_;
};

}  // namespace orkestr
