// When the host's disk is full, QEMU stops the guest at the write that found no room. It goes on when there is some.
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <utility>

#include "supervisor/log.hpp"
#include "supervisor/sandbox.hpp"

namespace orkestr::supervisor {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using std::chrono::steady_clock;

constexpr auto kQuietly = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kRetryEvery{1};
constexpr std::chrono::seconds kContWithin{10};

}  // namespace

void Sandbox::on_disk_stop(std::string reason) {
  disk_stopped_ = true;
  if (retrying_disk_ || ending_) return;
  retrying_disk_ = true;
  log_info("the guest stands still, its disk cannot be written: " + reason);
  spawn(retry_disk(std::move(reason)));
}

// Until a whole interval has passed without another stop. A pause meanwhile stops and continues the guest itself. It is
// logged when it is over: before, the log has no room either.
awaitable<void> Sandbox::retry_disk(std::string reason) {
  const auto since = steady_clock::now();
  asio::steady_timer interval(io_);
  while (disk_stopped_ && !ending_) {
    interval.expires_after(kRetryEvery);
    co_await interval.async_wait(kQuietly);
    if (ending_) co_return;
    if (pausing_ || !vm_) continue;
    disk_stopped_ = false;
    // (It fails when another stop was faster; then that one is seen below.)
    (void)co_await vm_->cont(base::Deadline::after(kContWithin));
    if (ending_) co_return;
    interval.expires_after(kRetryEvery);
    co_await interval.async_wait(kQuietly);
  }
  retrying_disk_ = false;
  if (ending_) co_return;
  log_info("the guest goes on");
  const auto stood = std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - since).count();
  if (events_) (void)events_->append("disk_stopped", {{"reason", reason}, {"duration_ms", stood}});
}

}  // namespace orkestr::supervisor
