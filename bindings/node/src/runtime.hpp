// Waiting from Node: every promise of the native module is settled here.
//
// One Runtime per environment (the main thread, each worker thread). Neither the event loop's thread nor libuv's pool
// ever waits: one thread of the Runtime watches the descriptors of all pending operations and streams (epoll) and wakes
// the event loop through one thread-safe function; the few calls of the library that can only block run on threads of
// their own (blocking.hpp).
//
// Lifetime rules, each of which prevents a crash:
//   - The thread-safe function is made before the environment's cleanup hook is added, so that the hook runs first and
//     nobody calls a function that is gone.
//   - Whoever posts from another thread holds the Inbox, not the Runtime; after close() posting does nothing.
//   - The addon is linked with -z nodelete: Node unloads an addon when the last worker that used it ends, while a
//   thread
//     of it may still be on its way out.
//   - A pending promise keeps the process alive, an open handle does not.
//
// What is pending when an environment ends (process.exit, Worker.terminate) is cancelled: nobody can ask for it any
// more.
//
// Thread safety: the Runtime belongs to its JavaScript thread, the Inbox to all.
#pragma once

#include <napi.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <orkestr/template.hpp>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace orkestr::node {

// What other threads leave for the event loop.
class Inbox {
 public:
  // `work` is called on the JavaScript thread; dropped when the environment is ending.
  using Work = std::function<void(Napi::Env)>;
  void post(Work work);

 private:
  friend class Runtime;
  std::mutex mutex_;
  std::vector<Work> work_;
  napi_threadsafe_function wake_ = nullptr;  // null: closed
};

// Something a promise waits for.
class Pending {
 public:
  virtual ~Pending() = default;
  // Readable when settle() has a chance. kPosted: somebody posts to the inbox instead; -1: there is none to be had.
  static constexpr int kPosted = -2;
  virtual int fd() = 0;
  // Settles the promise; false: not yet. On the JavaScript thread.
  virtual bool settle(Napi::Env env) = 0;
  // Asks for an early end. True: the promise was settled by this, and the work, if it goes on, is nobody's.
  virtual bool cancel(Napi::Env env) = 0;
  // The environment is ending: as cancel(), without JavaScript; then settled() waits for that to have taken effect.
  virtual void abandon() {}
  virtual void settled(std::chrono::milliseconds) {}
};

class Runtime {
 public:
  explicit Runtime(Napi::Env env);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  static Runtime& of(Napi::Env env) { return *env.GetInstanceData<Runtime>(); }

  // Keeps `pending` until it has settled. The number is for cancel(); 0: it has settled already.
  std::uint32_t add(std::unique_ptr<Pending> pending);
  // Looks again at one that has no descriptor.
  void look(std::uint32_t id);
  // Nothing happens when it has settled.
  void cancel(std::uint32_t id);

  // Cancels all that is pending, and waits for kGrace at most.
  void abandon();

  const std::shared_ptr<Inbox>& inbox() const { return inbox_; }

 private:
  static void drain(napi_env env, napi_value, void* self, void*);
  void start_watcher();
  void watch();
  void remove(std::uint32_t id);
  void stop();

  Napi::Env env_;
  std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
  struct Entry {
    std::unique_ptr<Pending> pending;
    int fd;
  };
  std::unordered_map<std::uint32_t, Entry> pending_;
  std::uint32_t last_id_ = 0;
  int epoll_ = -1;
  int stop_event_ = -1;
  std::thread watcher_;  // started with the first descriptor
};

}  // namespace orkestr::node
