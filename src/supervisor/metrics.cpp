#include "supervisor/metrics.hpp"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "base/system.hpp"
#include "supervisor/relay.hpp"

namespace orkestr::supervisor {
namespace {

namespace asio = boost::asio;
using asio::awaitable;

constexpr auto kQuietly = asio::as_tuple(asio::use_awaitable);
// Long enough that the kernel's ticks do not matter, short enough for somebody who waits.
constexpr std::chrono::milliseconds kFirstSpan{200};
// Who asks more often gets what is there.
constexpr std::chrono::milliseconds kFresh{1000};
constexpr std::chrono::seconds kStatsPatience{2};
constexpr double kMicros = 1e6;

}  // namespace

Metrics::Metrics(asio::any_io_executor executor, Relay& relay, std::function<std::optional<Facts>()> facts)
    : executor_(std::move(executor)), relay_(relay), facts_(std::move(facts)), timer_(executor_) {}

void Metrics::ask(ClientId client, std::uint32_t id, std::string_view payload) {
  const auto request = wire::MetricsRequest::decode(payload);
  if (!request) {
    return relay_.answer_error(client, id, Error(ErrorCode::invalid_argument, request.error().message()));
  }
  if (stopped_) return relay_.answer_error(client, id, *stopped_);
  if (!facts_()) return relay_.answer_error(client, id, still_starting());
  requests_.push_back({client, id, request->since_ms});
  asked_ = Clock::now();
  if (std::exchange(runs_, true)) {
    timer_.cancel();
  } else {
    asio::co_spawn(executor_, run(), asio::detached);
  }
}

void Metrics::stop(const Error& why) {
  stopped_ = why;
  for (const Request& request : std::exchange(requests_, {})) relay_.answer_error(request.client, request.id, why);
  timer_.cancel();
}

bool Metrics::is_fresh(std::chrono::milliseconds age) const { return last_ && Clock::now() - last_->at < age; }

awaitable<void> Metrics::run() {
  while (!stopped_ && (!requests_.empty() || Clock::now() - asked_ < kMetricsWindow)) {
    if (!is_fresh(2 * kMetricsInterval)) {
      if (const auto facts = facts_()) last_ = Point{Clock::now(), facts->cpu_ms};
      co_await wait_until(Clock::now() + kFirstSpan);
      co_await sample();
    } else if (samples_.empty() || (!requests_.empty() && !is_fresh(kFresh)) || !is_fresh(kMetricsInterval)) {
      co_await sample();
    }
    if (!samples_.empty()) answer_all();
    if (last_ && !stopped_) {
      timer_.expires_at(last_->at + kMetricsInterval);
      co_await timer_.async_wait(kQuietly);
    }
  }
  runs_ = false;
}

// Also when it is cancelled in between, which means that somebody else asks.
awaitable<void> Metrics::wait_until(Clock::time_point at) {
  while (!stopped_ && Clock::now() < at) {
    timer_.expires_at(at);
    co_await timer_.async_wait(kQuietly);
  }
}

awaitable<void> Metrics::sample() {
  const auto stats = co_await relay_.stats(base::Deadline::after(kStatsPatience));
  const auto facts = facts_();
  if (!facts || !last_ || stopped_) co_return;
  const auto now = Clock::now();
  const double seconds = std::max(std::chrono::duration<double>(now - last_->at).count(), 1e-3);
  const double used = static_cast<double>(std::max<std::int64_t>(0, facts->cpu_ms - last_->cpu_ms)) / 1000 / seconds;
  const auto limit = static_cast<std::uint64_t>(facts->memory_mb) << 20U;

  wire::MetricsMessage::Sample sample;
  sample.time_ms = base::wall_clock_ms();
  sample.cpu_micros = static_cast<std::uint64_t>(used * kMicros);
  // A guest too busy to answer has about what it had.
  sample.memory_bytes =
      stats ? std::min(stats->memory_used_bytes, limit) : (samples_.empty() ? 0 : samples_.back().memory_bytes);
  last_ = Point{now, facts->cpu_ms};
  samples_.push_back(sample);
  const std::int64_t oldest = sample.time_ms - std::chrono::milliseconds(kMetricsWindow).count();
  while (samples_.front().time_ms < oldest || samples_.size() > wire::kMaxMetricsSamples) samples_.pop_front();
}

void Metrics::answer_all() {
  const auto facts = facts_();
  if (!facts) return;
  wire::MetricsMessage message;
  message.as_of_ms = samples_.back().time_ms;
  message.interval_ms = static_cast<std::uint64_t>(std::chrono::milliseconds(kMetricsInterval).count());
  message.window_ms = static_cast<std::uint64_t>(std::chrono::milliseconds(kMetricsWindow).count());
  message.cpu_micros = static_cast<std::uint64_t>(facts->cpus * kMicros);
  message.memory_limit_bytes = static_cast<std::uint64_t>(facts->memory_mb) << 20U;
  message.lifetime_cpu_us = static_cast<std::uint64_t>(std::max<std::int64_t>(0, facts->cpu_ms)) * 1000;
  message.lifetime_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(0, facts->alive_ms));
  for (const Request& request : std::exchange(requests_, {})) {
    message.samples.clear();
    std::copy_if(samples_.begin(), samples_.end(), std::back_inserter(message.samples),
                 [&](const auto& sample) { return sample.time_ms >= request.since_ms; });
    // Whatever is left out, the present is not.
    if (message.samples.empty()) message.samples.push_back(samples_.back());
    relay_.answer(request.client, wire::OutFrame(wire::Type::result, request.id, message.encode()));
  }
}

}  // namespace orkestr::supervisor
