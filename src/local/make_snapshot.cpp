#include "local/make_snapshot.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "base/try.hpp"
#include "local/launch.hpp"

namespace orkestr::local {
namespace {

constexpr auto kLookForStop = std::chrono::milliseconds(100);

// What the I/O thread hands to the thread that waits.
struct Hand {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> said;
  std::optional<Result<void>> outcome;
};

}  // namespace

Result<void> make_snapshot(const std::shared_ptr<IoLoop>& loop, ForkLedger& ledger, Prepared prepared,
                           const ProgressCallback& on_progress, const std::stop_token& stop) {
  const auto start = std::chrono::steady_clock::now();
  const std::string template_name = prepared.record.template_name;
  prepared.request.purpose = "snapshot";
  const auto extra_time = prepared.extra_time();
  ORKESTR_TRY(auto supervisor, start_supervisor(prepared.libexec + "/orkestr-supervisor"));
  auto hand = std::make_shared<Hand>();
  auto launch = std::make_shared<Launch>(*loop, ledger, std::move(supervisor), std::move(prepared.request),
                                         prepared.record.id, [hand](const Result<Launch::Made>& made) {
                                           std::lock_guard lock(hand->mutex);
                                           hand->outcome = made ? Result<void>() : Result<void>(made.error());
                                           hand->changed.notify_all();
                                         });
  launch->be_patient(extra_time);
  launch->on_progress([hand](const wire::ProgressMessage& message) {
    std::lock_guard lock(hand->mutex);
    hand->said.push_back(message.text);
    hand->changed.notify_all();
  });
  if (!loop->post([launch] { launch->begin(); })) {
    return Error(ErrorCode::not_ready, "the client was closed, or its thread could not start; open another one");
  }
  bool stopping = false;
  std::unique_lock lock(hand->mutex);
  while (!hand->outcome || !hand->said.empty()) {
    hand->changed.wait_for(lock, kLookForStop, [&] { return hand->outcome || !hand->said.empty(); });
    auto said = std::exchange(hand->said, {});
    lock.unlock();
    for (const auto& line : said) {
      const auto elapsed = std::chrono::steady_clock::now() - start;
      if (!on_progress) break;
      on_progress(
          {template_name, "snapshot", 1, 1, line, std::chrono::duration_cast<std::chrono::milliseconds>(elapsed)});
    }
    if (stop.stop_requested() && !std::exchange(stopping, true)) launch->cancel();
    lock.lock();
  }
  return *hand->outcome;
}

}  // namespace orkestr::local
