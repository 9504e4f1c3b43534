// Threads for the calls of the library that can only block: pieces of files, the pool, lists of templates. Not libuv's
// pool, which has four threads for all of a process's files and name look-ups.
#pragma once

#include <functional>
#include <orkestr/error.hpp>

namespace orkestr::node {

// On a thread of its own or one that has become idle; beyond 64 at once it waits for its turn. The threads are detached
// on purpose: joining them would make the end of an environment wait for the longest call. `work` must not throw.
void run_blocking(std::function<void()> work);

template <class R>
struct ResultValue;
template <class T>
struct ResultValue<Result<T>> {
  using type = T;
};

}  // namespace orkestr::node
