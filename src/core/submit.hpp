// From a backend's completions to the public Operation<T>.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <utility>

#include "backend.hpp"
#include "base/cancellable.hpp"
#include "core/handles.hpp"
#include "orkestr/operation.hpp"

namespace orkestr::core {

template <class T>
Operation<T> completed(Result<T> result) {
  auto state = std::make_shared<detail::OperationValue<T>>();
  state->set(std::move(result));
  return Operation<T>(std::move(state));
}

// `start` is given the completion and returns what cancels the work.
template <class T, class Start>
Operation<T> submit(Start&& start) {
  auto state = std::make_shared<detail::OperationValue<T>>();
  Completion<T> done = [state](Result<T> result) { state->set(std::move(result)); };
  state->on_cancel(std::forward<Start>(start)(std::move(done)));
  return Operation<T>(std::move(state));
}

inline Error no_worker() {
  return {ErrorCode::not_ready, "the client was closed, or no thread could start; open another one"};
}

// Does `work` on one of the client's workers. Returns what asks it to stop; closing the client does that too.
template <class T>
CancelFunction run_on_worker(const std::shared_ptr<ClientImpl>& client,
                             std::function<Result<T>(const std::stop_token&)> work, Completion<T> done) {
  std::stop_source stop;
  const bool runs = client->workers().run([stop, work = std::move(work), done](const std::stop_token& closing) mutable {
    const std::stop_callback forward(closing, [&stop] { stop.request_stop(); });
    done(work(stop.get_token()));
  });
  if (!runs) done(no_worker());
  return [stop]() mutable { stop.request_stop(); };
}

// `ask` is a call that looks into this machine's state directory in its own thread. There it may have to wait some
// seconds for the processes of a sandbox that is being ended: on a worker, then, since who asks asynchronously may be
// an event loop. A service is asked over the network anyway.
template <class T>
CancelFunction look_on_worker(const std::shared_ptr<ClientImpl>& client,
                              std::function<CancelFunction(Completion<T>)> ask, Completion<T> done) {
  if (client->backend().name() != "local") return ask(std::move(done));
  auto steps = std::make_shared<base::Cancellable>();
  client->workers().run_in_turn([steps, ask = std::move(ask), done](const std::stop_token& closing) {
    if (closing.stop_requested()) return done(Error(ErrorCode::cancelled, "the client was closed before this began"));
    if (steps->cancelled()) return;
    steps->step([&] { return ask(done); });
  });
  // Who cancels need not wait for a turn, nor for the end of a look; of two answers the first counts.
  return [steps, done = std::move(done)] {
    steps->cancel();
    done(Error(ErrorCode::cancelled, "cancelled"));
  };
}

}  // namespace orkestr::core
