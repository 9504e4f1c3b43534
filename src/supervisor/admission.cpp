#include "supervisor/admission.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <thread>

#include "base/file.hpp"

namespace orkestr::supervisor {

namespace asio = boost::asio;

namespace {
constexpr std::chrono::milliseconds kFirstPoll{1};
constexpr std::chrono::milliseconds kLongestPoll{20};
}  // namespace

int start_slots() { return 2 * static_cast<int>(std::max(1U, std::thread::hardware_concurrency())); }

asio::awaitable<Result<base::UniqueFd>> take_start_slot(std::string lock_path, std::function<bool()> give_up,
                                                        base::Deadline deadline) {
  auto file = base::open_at(AT_FDCWD, lock_path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
  if (!file) co_return file.error();
  asio::steady_timer pause(co_await asio::this_coro::executor);
  auto wait = kFirstPoll;
  const int slots = start_slots();
  const int first = static_cast<int>(::getpid() % slots);
  while (true) {
    for (int i = 0; i < slots; ++i) {
      auto taken = base::try_lock_byte(file->get(), (first + i) % slots, base::LockKind::write);
      if (!taken) co_return taken.error();
      if (*taken) co_return std::move(*file);
    }
    if (give_up()) co_return Error(ErrorCode::cancelled, "the sandbox was ended while it waited for its turn to start");
    if (deadline.expired()) {
      ErrorDetails details;
      details.retry_after = 1;
      co_return Error(
          ErrorCode::fleet_full_retry,
          fmt::format("the machine is busy starting other sandboxes ({} at once): no turn came in time; try "
                      "again later",
                      slots),
          std::move(details));
    }
    pause.expires_after(wait);
    co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
    wait = std::min(wait * 2, kLongestPoll);
  }
}

}  // namespace orkestr::supervisor
