// What all handles of a client share: the client, its dispatcher, and threads for what the library does in its caller's
// thread. It lives until the last of them is freed, and for ever in a forked child, which frees none (handle.hpp).
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <orkestr/orkestr.hpp>
#include <vector>

#include "dispatcher.hpp"
#include "guard.hpp"
#include "handle.hpp"
#include "thread.hpp"

namespace orkestr::capi {

class ClientCore {
 public:
  explicit ClientCore(Client opened) : client(std::move(opened)) {}
  ~ClientCore();
  ClientCore(const ClientCore&) = delete;
  ClientCore& operator=(const ClientCore&) = delete;

  // not_ready once closed.
  Result<void> check() const;
  // From here on nothing starts; what has started is cancelled, and waited for, 5 s at most in all.
  void close();

  // `work` on a thread of its own. Cancelled, the operation completes at once and what comes of the work is dropped;
  // the work may look at `wanted` to end early.
  using Wanted = std::function<bool()>;
  template <class T>
  Result<Operation<T>> run(std::function<Result<T>(const Wanted& wanted)> work) {
    auto state = std::make_shared<detail::OperationValue<T>>();
    state->on_cancel([weak = std::weak_ptr(state)] {
      if (auto alive = weak.lock())
        alive->set(Error(ErrorCode::cancelled, "cancelled; what was begun goes on to its end unseen"));
    });
    auto started = start(
        [state, work = std::move(work)] {
          const Wanted wanted = [&state] { return !state->done(); };
          state->set(attempt([&] { return work(wanted); }));
        },
        state);
    if (!started.ok()) return started.error();
    return Operation<T>(state);
  }

  Client client;
  Dispatcher dispatcher;

 private:
  struct Worker {
    Thread thread;
    std::weak_ptr<detail::OperationState> operation;
  };
  Result<void> check_locked() const;
  Result<void> start(std::function<void()> work, const std::shared_ptr<detail::OperationState>& operation);

  mutable std::mutex mutex_;
  bool closed_ = false;
  std::vector<Worker> workers_;
};

struct ClientBody {
  std::shared_ptr<ClientCore> core;
};

}  // namespace orkestr::capi

struct orkestr_client : orkestr::capi::Handle<orkestr_client, orkestr::capi::ClientBody, 0x6f636c69> {
  using Handle::Handle;
};
