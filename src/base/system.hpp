// Errors of system calls, and the few calls everyone needs in a form that returns Result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::base {

// "open /x/y: No such file or directory", with the code that fits the errno (ENOENT → file_not_found,
// EACCES/EPERM/EROFS → not_permitted, EISDIR, ENOTDIR, EEXIST, ECONN*/EPIPE → connection; else internal). `err` is an
// errno value.
Error errno_error(std::string_view what, int err);

// Both ends are close-on-exec. `type` is SOCK_STREAM, SOCK_SEQPACKET…, and may carry SOCK_NONBLOCK.
Result<std::pair<UniqueFd, UniqueFd>> socket_pair(int type);
// Read end first; close-on-exec; `flags` as for pipe2 (O_NONBLOCK).
Result<std::pair<UniqueFd, UniqueFd>> make_pipe(int flags = 0);
Result<void> set_nonblocking(int fd, bool on);

// Cryptographic random bytes from the kernel. Never fails after boot.
std::string random_bytes(std::size_t count);

// Seconds and nanoseconds of CLOCK_REALTIME as milliseconds since 1970.
std::int64_t wall_clock_ms();
// CLOCK_BOOTTIME in milliseconds: goes on while the host sleeps.
std::int64_t boot_clock_ms();
// "2026-11-21T06:14:07.123Z"
std::string iso8601_utc(std::int64_t wall_ms);
// The inverse; milliseconds and the Z may be missing. Nothing for anything else.
std::optional<std::int64_t> parse_iso8601_utc(std::string_view text);
// The boot id of this kernel.
std::string boot_id();

}  // namespace orkestr::base
