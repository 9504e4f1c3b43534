// What the sandbox uses, for those who ask. CPU is what QEMU has used, as the host's kernel counts it; memory is what
// the guest says of itself, since the host sees only pages that were ever touched.
//
// An idle sandbox stays idle: samples are taken when somebody asks, and every kMetricsInterval for kMetricsWindow after
// that; then no timer runs and the guest is left alone.
//
// Belongs to the thread of one io_context.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "orkestr/error.hpp"
#include "supervisor/operations.hpp"
#include "wire/command_message.hpp"

namespace orkestr::supervisor {

inline constexpr std::chrono::seconds kMetricsInterval{5};
inline constexpr std::chrono::seconds kMetricsWindow{60};

class Relay;

class Metrics {
 public:
  struct Facts {
    std::int64_t cpu_ms = 0;  // used in all its life
    std::int64_t alive_ms = 0;
    double cpus = 1;  // allocated
    std::int64_t memory_mb = 0;
  };
  // `facts`: nothing while no machine runs.
  Metrics(boost::asio::any_io_executor executor, Relay& relay, std::function<std::optional<Facts>()> facts);

  // A `metrics` request, whose id is checked; answered later.
  void ask(ClientId client, std::uint32_t id, std::string_view payload);
  // Open and later requests are answered with `why`.
  void stop(const Error& why);

 private:
  using Clock = std::chrono::steady_clock;
  struct Request {
    ClientId client = kNobody;
    std::uint32_t id = 0;
    std::int64_t since_ms = 0;
  };
  struct Point {
    Clock::time_point at;
    std::int64_t cpu_ms = 0;
  };

  boost::asio::awaitable<void> run();
  boost::asio::awaitable<void> sample();
  boost::asio::awaitable<void> wait_until(Clock::time_point at);
  bool is_fresh(std::chrono::milliseconds age) const;
  void answer_all();

  boost::asio::any_io_executor executor_;
  Relay& relay_;
  const std::function<std::optional<Facts>()> facts_;
  boost::asio::steady_timer timer_;
  std::vector<Request> requests_;
  std::deque<wire::MetricsMessage::Sample> samples_;
  std::optional<Point> last_;
  Clock::time_point asked_{};
  std::optional<Error> stopped_;
  bool runs_ = false;
};

}  // namespace orkestr::supervisor
