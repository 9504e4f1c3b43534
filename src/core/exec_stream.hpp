// Behind ExecStream.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>

#include "core/pull.hpp"
#include "orkestr/process.hpp"

namespace orkestr {

struct ExecStream::Impl {
  Impl(std::shared_ptr<SandboxImpl> sandbox, std::unique_ptr<Stream> stream, ExecOptions options);

  const std::chrono::milliseconds timeout;
  const bool input_open;
  const bool tty;
  core::Pull pull;
  std::atomic<bool> over{false};
};

}  // namespace orkestr
