// From a backend's completions to the public Operation<T>.
#pragma once

#include <memory>
#include <utility>

#include "backend.hpp"
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

}  // namespace orkestr::core
