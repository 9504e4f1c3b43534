// A member of the warm pool: a supervisor whose sandbox nobody has asked for yet. See registry/pool.hpp for its files.
//
// It takes a slot (or ends: there are enough), makes its directory under <state>/pool, restores a copy of the
// template's snapshot, gives it an identity of no value, runs a first command, stops the guest, and says that it is
// ready. From then on it costs memory and no processor. The first `start` of the right key that reaches it becomes its
// sandbox: it lets go of its slot, hears nobody but that client any more, makes the sandbox's directory, has QEMU hold
// that one's lock, lets the guest go on and gives it its identity; only then it answers. From there it is a supervisor
// like any other. A failure in between ends it, and leaves neither directory; the client makes its sandbox otherwise.
//
// Whatever ends it early (its idle time, memory that runs short, a QEMU that was replaced, `terminate` by who changed
// the configuration) ends it as a sandbox ends, and its directory goes.
#pragma once

#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"
#include "wire/message.hpp"

namespace orkestr::supervisor {

// What the library has written into the socket before it started this process: a StartRequest without a frame, to its
// end. No handshake, so that who starts a member needs neither to wait for it nor to live on.
Result<wire::StartRequest> read_pool_request(const base::UniqueFd& socket);

}  // namespace orkestr::supervisor
