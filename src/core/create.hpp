// create() and resume() for a host or fleet that may be full: tried again, with growing pauses, within the caller's
// limits. And for a template that is not built yet.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "backend.hpp"
#include "core/handles.hpp"

namespace orkestr::core {

// Before the next try, after `tries` that were in vain: what the error asks for, else as the backend says. Longer than
// any budget where there is no such time.
std::chrono::nanoseconds pause_before_retry(std::optional<double> asked, int tries, const Backend::Pauses& pauses);

// Only fleet_full_retry is retried: at most options.max_retries times, within options.retry_max (see
// Backend::Pauses); a pause that would be longer than what is left of it is not begun. Any thread.
CancelFunction create_with_retries(std::shared_ptr<ClientImpl> client, CreateOptions options,
                                   Completion<OpenedSandbox> done);

// The same for a paused one.
CancelFunction resume_with_retries(std::shared_ptr<ClientImpl> client, std::string sandbox_id, ResumeOptions limits,
                                   Completion<OpenedSandbox> done);

// Creates; a template that is not found is built on a worker first, when options.auto_build says so, and then it is
// tried once more.
CancelFunction create_or_build(std::shared_ptr<ClientImpl> client, CreateOptions options,
                               Completion<OpenedSandbox> done);

}  // namespace orkestr::core
