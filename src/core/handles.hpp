// What the public handles point to.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "backend.hpp"
#include "core/io_thread.hpp"
#include "orkestr/client.hpp"
#include "orkestr/sandbox.hpp"

namespace orkestr {

// Owns the I/O thread and the backend. Thread-safe; the backend is never replaced.
class ClientImpl {
 public:
  ClientImpl(std::shared_ptr<core::IoThread> thread, std::shared_ptr<Backend> backend)
      : thread_(std::move(thread)), backend_(std::move(backend)) {}
  ~ClientImpl();

  Backend& backend() { return *backend_; }
  core::IoThread& thread() { return *thread_; }
  void close();
  // not_ready in a forked child. First thing in every call.
  Result<void> check_process() const;
  bool forked() const { return thread_->forked(); }

 private:
  std::shared_ptr<core::IoThread> thread_;
  std::shared_ptr<Backend> backend_;
};

class SandboxImpl {
 public:
  SandboxImpl(std::shared_ptr<ClientImpl> its_client, std::shared_ptr<Session> its_session, SandboxInfo info)
      : id(info.id), client(std::move(its_client)), session(std::move(its_session)), info_(std::move(info)) {}

  SandboxInfo info() const {
    std::lock_guard lock(mutex_);
    return info_;
  }
  void set_info(SandboxInfo info) {
    std::lock_guard lock(mutex_);
    info_ = std::move(info);
  }

  const std::string id;
  const std::shared_ptr<ClientImpl> client;  // destroyed after the session, which needs its thread
  const std::shared_ptr<Session> session;

 private:
  mutable std::mutex mutex_;
  SandboxInfo info_;
};

}  // namespace orkestr
