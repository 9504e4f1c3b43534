#include "core/io_thread.hpp"

#include <pthread.h>
#include <unistd.h>

#include <system_error>

#include "base/blocked_signals.hpp"
#include "base/try.hpp"

namespace orkestr::core {

Result<std::shared_ptr<IoThread>> IoThread::create() {
  ORKESTR_TRY(auto reactor, base::Reactor::create());
  return std::shared_ptr<IoThread>(new IoThread(std::move(reactor)));
}

IoThread::IoThread(std::unique_ptr<base::Reactor> reactor) : owner_(::getpid()), reactor_(std::move(reactor)) {}

IoThread::~IoThread() {
  // The thread holds a reference to this object, so here it is past its loop, or was never started, or belongs to the
  // parent.
  if (thread_.joinable()) thread_.detach();
}

bool IoThread::forked() const { return ::getpid() != owner_; }

bool IoThread::post(std::function<void()> task) {
  if (forked()) return false;  // before the mutex, which another thread may have held at the fork
  std::lock_guard lock(mutex_);
  if (closed_) return false;
  if (!thread_.joinable() && !start_locked()) return false;
  reactor_->post(std::move(task));
  return true;
}

bool IoThread::start_locked() {
  const base::BlockedSignals blocked;
  try {
    thread_ = std::thread([self = shared_from_this()] {
      self->thread_id_ = std::this_thread::get_id();
      pthread_setname_np(pthread_self(), "orkestr-io");
      self->reactor_->run();
    });
  } catch (const std::system_error&) {  // no more threads for this user
  }
  return thread_.joinable();
}

void IoThread::close(const std::function<void()>& last) {
  if (forked()) return;
  bool never_started = false;
  {
    std::lock_guard lock(mutex_);
    if (!closed_) {
      closed_ = true;
      never_started = !thread_.joinable();
      if (!never_started) {
        reactor_->post([this, last] {
          last();
          reactor_->stop();
        });
      }
    }
  }
  if (never_started) {
    last();
    return;
  }
  // On the I/O thread itself the task above runs as soon as this one returns; the thread cannot join itself.
  if (thread_id_ == std::this_thread::get_id()) return;
  std::lock_guard lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

}  // namespace orkestr::core
