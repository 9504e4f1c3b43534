// How many sandboxes may be starting on this machine at once: each start is a burst of work for all cores, and more of
// them side by side make every one slower without making all of them faster.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>

#include "base/deadline.hpp"
#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::supervisor {

// Twice the number of cores.
int start_slots();

// Takes one of the slots, which are byte locks of `lock_path` shared by all supervisors of a user; held until the
// descriptor is closed, however this process ends. Waits for one until the deadline or until `give_up` says so; then
// fleet_full_retry.
boost::asio::awaitable<Result<base::UniqueFd>> take_start_slot(std::string lock_path, std::function<bool()> give_up,
                                                               base::Deadline deadline);

}  // namespace orkestr::supervisor
