// The one I/O thread of a client. Started by the first task, joined by close(). All signals are blocked in it; it never
// runs user code.
//
// Thread safety: any thread, except that reactor() is for the I/O thread. The object outlives the thread, also in the
// one case where the thread cannot be joined: when the last handle is dropped on the I/O thread itself, which then ends
// on its own and keeps the object until it has.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "backend.hpp"

namespace orkestr::core {

class IoThread final : public IoLoop, public std::enable_shared_from_this<IoThread> {
 public:
  static Result<std::shared_ptr<IoThread>> create();
  ~IoThread() override;

  bool post(std::function<void()> task) override;
  base::Reactor& reactor() override { return *reactor_; }
  bool forked() const override;

  // Refuses further tasks, runs `last` after those already posted (on the I/O thread; in the caller when it never
  // started), ends the thread. Idempotent; a second caller waits for the first.
  void close(const std::function<void()>& last);

  pid_t owner() const { return owner_; }

 private:
  explicit IoThread(std::unique_ptr<base::Reactor> reactor);
  bool start_locked();

  const pid_t owner_;
  std::unique_ptr<base::Reactor> reactor_;
  std::mutex mutex_;
  bool closed_ = false;
  std::mutex join_mutex_;
  std::thread thread_;
  std::atomic<std::thread::id> thread_id_{};  // also while another thread is joining it
};

}  // namespace orkestr::core
