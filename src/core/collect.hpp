// Streams driven to their end on the I/O thread, as operations: a command with its output collected, a file read whole,
// a file written.
#pragma once

#include <memory>
#include <string>

#include "backend.hpp"
#include "orkestr/operation.hpp"

namespace orkestr::core {

Operation<ExecResult> collect_command(std::unique_ptr<Stream> stream, ExecOptions options);
// Files::read refuses beyond this; read_stream has no limit.
inline constexpr std::size_t kMaxReadBytes = 1U << 30U;
Operation<std::string> collect_file(std::shared_ptr<Session> session, std::string path);
Operation<void> feed_file(std::unique_ptr<Stream> stream, std::string content);

}  // namespace orkestr::core
