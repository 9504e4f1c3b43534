// Making the snapshot of a template ahead of the first create: a supervisor that does that and nothing else.
#pragma once

#include <memory>
#include <stop_token>

#include "backend.hpp"
#include "local/fork_ledger.hpp"
#include "local/prepare.hpp"

namespace orkestr::local {

// Works in the caller's thread until the snapshot is there (it may be already), telling progress on it. A request to
// `stop` ends it with `cancelled`.
Result<void> make_snapshot(const std::shared_ptr<IoLoop>& loop, ForkLedger& ledger, Prepared prepared,
                           const ProgressCallback& on_progress, const std::stop_token& stop);

}  // namespace orkestr::local
