#include "runtime.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "blocking.hpp"
#include "convert.hpp"

namespace orkestr::node {

namespace {

constexpr std::uint64_t kStop = 0;  // ids begin with 1
constexpr std::chrono::milliseconds kGrace{300};

Error cannot_wait(const std::string& why, const std::string& limit) {
  return Error(ErrorCode::internal,
               "orkestr cannot wait for the operation, which is cancelled: " + why + "; raise the limit of " + limit);
}

}  // namespace

void Inbox::post(Work work) {
  std::lock_guard lock(mutex_);
  if (wake_ == nullptr) return;
  work_.push_back(std::move(work));
  // Under the lock, so that the function is not released meanwhile. One call drains all.
  if (work_.size() == 1) napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

Runtime::Runtime(Napi::Env env) : env_(env) {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  stop_event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event stop{EPOLLIN, {.u64 = kStop}};
  if (epoll_ < 0 || stop_event_ < 0 || epoll_ctl(epoll_, EPOLL_CTL_ADD, stop_event_, &stop) != 0) {
    throw Napi::Error::New(env, std::string("orkestr cannot start: epoll or eventfd: ") + std::strerror(errno));
  }
  napi_threadsafe_function wake = nullptr;
  const napi_status made = napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "orkestr"), 0,
                                                           1, nullptr, nullptr, this, &Runtime::drain, &wake);
  if (made != napi_ok) throw Napi::Error::New(env, "orkestr cannot start: no thread-safe function");
  napi_unref_threadsafe_function(env, wake);
  inbox_->wake_ = wake;
  napi_add_env_cleanup_hook(
      env, [](void* self) { static_cast<Runtime*>(self)->stop(); }, this);
}

Runtime::~Runtime() {
  if (epoll_ >= 0) ::close(epoll_);
  if (stop_event_ >= 0) ::close(stop_event_);
}

void Runtime::stop() {
  napi_threadsafe_function wake = nullptr;
  std::vector<Inbox::Work> dropped;
  {
    std::lock_guard lock(inbox_->mutex_);
    std::swap(wake, inbox_->wake_);
    dropped.swap(inbox_->work_);
  }
  if (watcher_.joinable()) {
    const std::uint64_t one = 1;
    (void)!::write(stop_event_, &one, sizeof one);
    watcher_.join();
  }
  abandon();
  pending_.clear();
  if (wake != nullptr) napi_release_threadsafe_function(wake, napi_tsfn_abort);
}

void Runtime::abandon() {
  for (auto& [id, entry] : pending_) entry.pending->abandon();
  using std::chrono::steady_clock;
  const auto end = steady_clock::now() + kGrace;
  for (auto& [id, entry] : pending_) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now());
    entry.pending->settled(std::max(left, std::chrono::milliseconds{0}));
  }
}

void Runtime::start_watcher() {
  if (watcher_.joinable()) return;
  const BlockedSignals blocked;
  watcher_ = std::thread([this] { watch(); });
}

std::uint32_t Runtime::add(std::unique_ptr<Pending> pending) {
  if (pending->settle(env_)) return 0;
  const int fd = pending->fd();
  do {
    ++last_id_;
  } while (last_id_ == 0 || pending_.count(last_id_) != 0);
  const std::uint32_t id = last_id_;
  if (fd != Pending::kPosted) {
    epoll_event ready{EPOLLIN | EPOLLONESHOT, {.u64 = id}};
    if (fd < 0 || epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &ready) != 0) {
      const int why = fd < 0 ? EMFILE : errno;
      pending->abandon();
      throw_error(env_, cannot_wait(std::strerror(why), "open files (ulimit -n)"));
    }
    try {
      start_watcher();
    } catch (const std::system_error& error) {
      epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
      pending->abandon();
      throw_error(env_, cannot_wait(error.what(), "processes (ulimit -u)"));
    }
  }
  if (pending_.empty()) napi_ref_threadsafe_function(env_, inbox_->wake_);
  pending_.emplace(id, Entry{std::move(pending), fd});
  return id;
}

void Runtime::remove(std::uint32_t id) {
  const auto found = pending_.find(id);
  if (found->second.fd >= 0) epoll_ctl(epoll_, EPOLL_CTL_DEL, found->second.fd, nullptr);
  pending_.erase(found);
  if (pending_.empty() && inbox_->wake_ != nullptr) napi_unref_threadsafe_function(env_, inbox_->wake_);
}

void Runtime::look(std::uint32_t id) {
  const auto found = pending_.find(id);
  if (found == pending_.end()) return;
  if (found->second.pending->settle(env_)) {
    remove(id);
  } else if (found->second.fd >= 0) {  // a false alarm
    epoll_event ready{EPOLLIN | EPOLLONESHOT, {.u64 = id}};
    epoll_ctl(epoll_, EPOLL_CTL_MOD, found->second.fd, &ready);
  }
}

void Runtime::cancel(std::uint32_t id) {
  const auto found = pending_.find(id);
  if (found != pending_.end() && found->second.pending->cancel(env_)) remove(id);
}

// On the watcher's thread. It posts numbers only: what they stand for may be gone when the event loop looks.
void Runtime::watch() {
  pthread_setname_np(pthread_self(), "orkestr-node");
  std::array<epoll_event, 64> ready{};
  while (true) {
    const int count = epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()), -1);
    if (count < 0 && errno != EINTR) return;
    for (int i = 0; i < count; ++i) {
      const std::uint64_t id = ready[static_cast<std::size_t>(i)].data.u64;
      if (id == kStop) return;
      inbox_->post([this, id](Napi::Env) { look(static_cast<std::uint32_t>(id)); });
    }
  }
}

void Runtime::drain(napi_env env, napi_value, void* self, void*) {
  if (env == nullptr) return;  // the environment is ending
  auto& runtime = *static_cast<Runtime*>(self);
  std::vector<Inbox::Work> work;
  {
    std::lock_guard lock(runtime.inbox_->mutex_);
    work.swap(runtime.inbox_->work_);
  }
  try {
    const Napi::HandleScope scope(env);
    for (Inbox::Work& one : work) one(env);
  } catch (const Napi::Error&) {
    // Only in a worker that is being terminated, where nothing of JavaScript works any more: stop() ends what is left.
  }
}

}  // namespace orkestr::node
