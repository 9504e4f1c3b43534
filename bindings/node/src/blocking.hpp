// Threads for the calls of the library that can only block: the pool, lists of templates, closing a client. Not libuv's
// pool, which has four threads for all of a process's files and name look-ups.
#pragma once

#include <csignal>
#include <functional>
#include <orkestr/error.hpp>

namespace orkestr::node {

// Around the start of a thread: signals are for the threads of Node. (The library has the same inside. A binding uses
// the public interface only, and ten lines are less than a place for them there that stays for ever.)
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_{};
};

// On a thread of its own or one that has become idle; beyond 64 at once it waits for its turn. The threads are detached
// on purpose: joining them would make the end of an environment wait for the longest call. `work` must not throw.
// Error: there is no thread to be had, and none that could do it later.
Result<void> run_blocking(std::function<void()> work);

// To be called when the process is about to end: it then does so without its static destructors if such work is still
// under way, which would use what they take away. (Registered this late, it comes before all of them.)
void end_over_blocking();

template <class R>
struct ResultValue;
template <class T>
struct ResultValue<Result<T>> {
  using type = T;
};

}  // namespace orkestr::node
