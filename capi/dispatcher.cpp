#include "dispatcher.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"

namespace orkestr::capi {

struct Dispatcher::State {
  struct Watched {
    int fd = -1;
    Ready ready;
    bool dropped = false;
    bool called = false;  // since the last again()
  };

  std::mutex mutex;
  base::UniqueFd wake;
  std::map<std::uint64_t, std::shared_ptr<Watched>> watched;
  std::uint64_t next_id = 1;
  bool closing = false;

  void run() {
    while (true) {
      auto [turn, last] = await();
      for (const auto& [id, entry] : turn) {
        bool dropped = false;
        {
          std::lock_guard lock(mutex);
          dropped = entry->dropped || closing;
          entry->called = true;  // before it is, for again() may come from in there
        }
        if (entry->ready(dropped) && !dropped) continue;
        std::lock_guard lock(mutex);
        watched.erase(id);
      }
      if (last) return;
    }
  }

  void signal() const {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(wake.get(), &one, sizeof one));
  }

 private:
  using Turn = std::vector<std::pair<std::uint64_t, std::shared_ptr<Watched>>>;

  // Those whose turn it is; all of them, and true, at the end.
  std::pair<Turn, bool> await() {
    Turn all;
    std::vector<pollfd> fds;
    {
      std::lock_guard lock(mutex);
      all.assign(watched.begin(), watched.end());
      if (closing) return {std::move(all), true};
      // (poll() passes over a negative one.)
      for (const auto& [id, entry] : all) fds.push_back({entry->called ? -1 : entry->fd, POLLIN, 0});
    }
    fds.push_back({wake.get(), POLLIN, 0});
    while (::poll(fds.data(), fds.size(), -1) < 0 && errno == EINTR) {
    }
    std::uint64_t ignored = 0;
    if (fds.back().revents != 0) static_cast<void>(!::read(wake.get(), &ignored, sizeof ignored));
    Turn turn;
    std::lock_guard lock(mutex);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (fds[i].revents != 0 || all[i].second->dropped || closing) turn.push_back(std::move(all[i]));
    }
    return {std::move(turn), false};
  }
};

namespace {
Error closed() { return {ErrorCode::not_ready, "the client was closed; open another one"}; }
}  // namespace

Dispatcher::Dispatcher() : state_(std::make_shared<State>()) {}
Dispatcher::~Dispatcher() {
  if (thread_) thread_->finish(std::chrono::steady_clock::now());
}

Result<void> Dispatcher::watch(int fd, Ready ready, std::atomic<std::uint64_t>* id) {
  // poll() passes over a negative one without a word.
  if (fd < 0) {
    return Error(ErrorCode::internal,
                 "notify: the process has no descriptor left; raise the limit of open files (ulimit -n)");
  }
  std::lock_guard starting(starting_);
  if (std::lock_guard lock(state_->mutex); state_->closing) return closed();
  if (!thread_) {
    state_->wake.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!state_->wake) {
      return Error(ErrorCode::internal,
                   std::string("eventfd: ") + std::strerror(errno) + "; raise the limit of open files (ulimit -n)");
    }
  }
  std::uint64_t number = 0;
  {
    std::lock_guard lock(state_->mutex);
    if (state_->closing) return closed();
    number = state_->next_id++;
    if (id != nullptr) *id = number;
    state_->watched.emplace(number, std::make_shared<State::Watched>(State::Watched{fd, std::move(ready)}));
  }
  if (!thread_) {
    auto thread = Thread::start([state = state_] { state->run(); });
    if (!thread.ok()) {
      std::lock_guard lock(state_->mutex);
      if (id != nullptr) *id = 0;
      state_->watched.erase(number);
      return thread.error();
    }
    thread_.emplace(std::move(*thread));
  }
  state_->signal();
  return {};
}

void Dispatcher::again(std::uint64_t id) {
  std::lock_guard lock(state_->mutex);
  const auto found = state_->watched.find(id);
  if (found == state_->watched.end() || !std::exchange(found->second->called, false)) return;
  state_->signal();
}

void Dispatcher::drop(std::uint64_t id) {
  std::lock_guard lock(state_->mutex);
  const auto found = state_->watched.find(id);
  if (found == state_->watched.end()) return;
  found->second->dropped = true;
  state_->signal();
}

void Dispatcher::close(std::chrono::steady_clock::time_point deadline) {
  {
    std::lock_guard lock(state_->mutex);
    state_->closing = true;
  }
  std::optional<Thread> thread;
  {
    std::lock_guard starting(starting_);
    if (!thread_) return;
    state_->signal();
    // From a callback: the thread goes on to the other last calls, and whoever lets go of the client later waits for
    // it.
    if (thread_->is_current()) return;
    thread = std::move(thread_);
    thread_.reset();
  }
  thread->finish(deadline);
}

}  // namespace orkestr::capi
