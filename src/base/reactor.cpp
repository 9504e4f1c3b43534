#include "base/reactor.hpp"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::base {
namespace {

// What epoll hands back: the descriptor, and the low half of the generation it was added with. A number closed and used
// again within one batch of events has another generation, so the old one's events find nobody.
std::uint64_t make_token(int fd, std::uint64_t generation) {
  return (generation << 32U) | static_cast<std::uint32_t>(fd);
}
int fd_of_token(std::uint64_t token) { return static_cast<int>(token & 0xffffffffU); }

constexpr std::uint32_t kAlwaysReported = EPOLLERR | EPOLLHUP;
constexpr std::uint64_t kWakeupToken = ~std::uint64_t{0};  // no descriptor has number -1

}  // namespace

Result<std::unique_ptr<Reactor>> Reactor::create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return errno_error("epoll_create1", errno);
  UniqueFd wakeup(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wakeup) return errno_error("eventfd", errno);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeupToken;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wakeup.get(), &event) != 0) {
    return errno_error("epoll_ctl: add the reactor's eventfd", errno);
  }
  return std::unique_ptr<Reactor>(new Reactor(std::move(epoll), std::move(wakeup)));
}

Reactor::Reactor(UniqueFd epoll, UniqueFd wakeup) : epoll_(std::move(epoll)), wakeup_(std::move(wakeup)) {}

Reactor::~Reactor() {
  // What the closures own may call back into the reactor while it is destroyed: so they go while it is whole.
  std::vector<Task> posted;
  {
    std::lock_guard lock(mutex_);
    posted.swap(posted_);
  }
  posted.clear();
  std::exchange(timers_, {}).clear();
  std::exchange(entries_, {}).clear();
}

Result<void> Reactor::add(int fd, std::uint32_t events, Handler handler) {
  auto generation = next_generation_++;
  epoll_event event{};
  event.events = events;
  event.data.u64 = make_token(fd, generation);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return errno_error(fmt::format("epoll_ctl: add descriptor {}", fd), errno);
  }
  entries_.insert_or_assign(fd, Entry{generation, events, std::make_shared<Handler>(std::move(handler))});
  return {};
}

void Reactor::modify(int fd, std::uint32_t events) {
  auto entry = entries_.find(fd);
  if (entry == entries_.end() || entry->second.events == events) return;
  entry->second.events = events;
  epoll_event event{};
  event.events = events;
  event.data.u64 = make_token(fd, entry->second.generation);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Reactor::remove(int fd) {
  auto entry = entries_.find(fd);
  if (entry == entries_.end()) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  auto dying = std::move(entry->second.handler);  // outlives the erase: its destructor may call remove() again
  entries_.erase(entry);
}

Reactor::TimerId Reactor::add_timer(Deadline::Clock::time_point at, Task task) {
  auto id = next_timer_++;
  timers_.emplace(std::pair(at, id), std::move(task));
  timer_times_.emplace(id, at);
  return id;
}

void Reactor::cancel_timer(TimerId id) {
  auto time = timer_times_.find(id);
  if (time == timer_times_.end()) return;
  auto dying = timers_.extract(std::pair(time->second, id));
  timer_times_.erase(time);
}

void Reactor::post(Task task) {
  std::lock_guard lock(mutex_);
  posted_.push_back(std::move(task));
  if (posted_.size() == 1) wake();
}

void Reactor::stop() {
  std::lock_guard lock(mutex_);
  stop_ = true;
  wake();
}

// Under the mutex: whoever destroys the reactor after run() returned must not find another thread still at the eventfd.
void Reactor::wake() {
  std::uint64_t one = 1;
  // EAGAIN: the counter is full, so the loop is awake already.
  [[maybe_unused]] auto n = ::write(wakeup_.get(), &one, sizeof one);
}

bool Reactor::stopped() {
  std::lock_guard lock(mutex_);
  return stop_;
}

void Reactor::run() {
  while (!stopped()) run_once(-1);
}

void Reactor::run_once(int timeout_ms) {
  std::array<epoll_event, 64> events;
  int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), next_timeout_ms(timeout_ms));
  for (int i = 0; i < count; ++i) {
    dispatch(events[static_cast<std::size_t>(i)]);
  }
  drain_posted();
  fire_timers();
}

void Reactor::dispatch(const epoll_event& event) {
  if (event.data.u64 == kWakeupToken) {
    std::uint64_t ignored = 0;
    [[maybe_unused]] auto n = ::read(wakeup_.get(), &ignored, sizeof ignored);
    return;
  }
  int fd = fd_of_token(event.data.u64);
  auto entry = entries_.find(fd);
  if (entry == entries_.end() || make_token(fd, entry->second.generation) != event.data.u64) return;
  // An earlier handler of this batch may have asked for less by modify().
  std::uint32_t wanted = event.events & (entry->second.events | kAlwaysReported);
  if (wanted == 0) return;
  auto handler = entry->second.handler;  // the handler may remove itself
  (*handler)(wanted);
}

void Reactor::drain_posted() {
  std::vector<Task> tasks;
  {
    std::lock_guard lock(mutex_);
    tasks.swap(posted_);
  }
  for (auto& task : tasks) {
    task();
    task = nullptr;  // what it owns goes now, not after the last one
  }
}

void Reactor::fire_timers() {
  auto now = Deadline::Clock::now();
  // The due ones are listed first: a timer that re-arms itself for now runs in the next turn, after the descriptors had
  // theirs.
  std::vector<std::pair<Deadline::Clock::time_point, TimerId>> due;
  for (auto it = timers_.begin(); it != timers_.end() && it->first.first <= now; ++it) due.push_back(it->first);
  for (const auto& key : due) {
    auto timer = timers_.extract(key);
    if (!timer) continue;  // cancelled by an earlier one
    timer_times_.erase(key.second);
    timer.mapped()();
  }
}

int Reactor::next_timeout_ms(int cap) const {
  if (timers_.empty()) return cap;
  int next = Deadline::at(timers_.begin()->first.first).poll_timeout_ms();
  return cap < 0 ? next : std::min(cap, next);
}

}  // namespace orkestr::base
