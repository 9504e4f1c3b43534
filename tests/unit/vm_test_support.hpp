// What the tests of src/vm share: running a coroutine to its end, reading a pipe to its end, temporary directories.
#pragma once

#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <chrono>
#include <exception>
#include <optional>
#include <string>

#include "base/deadline.hpp"
#include "base/file.hpp"
#include "doctest/doctest.h"

namespace orkestr::vm::test {

inline base::Deadline in_seconds(int s) { return base::Deadline::after(std::chrono::seconds(s)); }
inline base::Deadline in_ms(int ms) { return base::Deadline::after(std::chrono::milliseconds(ms)); }

// Runs `body`, a function that returns an awaitable<void>, on a loop of its own. What it leaves running is destroyed
// with the loop.
template <class Body>
void run(Body body) {
  boost::asio::io_context io;
  bool done = false;
  std::exception_ptr failure;
  boost::asio::co_spawn(io, body(), [&](std::exception_ptr e) {
    done = true;
    failure = e;
  });
  const auto deadline = in_seconds(30);
  while (!done && !deadline.expired()) io.run_one_for(std::chrono::seconds(1));
  if (failure) std::rethrow_exception(failure);
  REQUIRE_MESSAGE(done, "the test's coroutine did not end within 30 s");
}

// Everything until the last writer has closed; fails the test after ten seconds without a byte.
inline std::string read_to_end(int fd) {
  std::string out;
  char chunk[4096];
  while (true) {
    pollfd p{fd, POLLIN, 0};
    const int ready = ::poll(&p, 1, 10'000);
    if (ready < 0 && errno == EINTR) continue;
    REQUIRE_MESSAGE(ready > 0, "no end of file within 10 s");
    const ssize_t n = ::read(fd, chunk, sizeof chunk);
    if (n <= 0) return out;
    out.append(chunk, static_cast<std::size_t>(n));
  }
}

// World-accessible, so that a process under another uid reaches what the test puts there.
struct TemporaryDirectory {
  TemporaryDirectory() {
    char name[] = "/tmp/orkestr-vm-test-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
    REQUIRE(::chmod(name, 0755) == 0);
  }
  ~TemporaryDirectory() { (void)base::remove_tree(path).ok(); }
  std::string path;
};

struct ScopedVariable {
  ScopedVariable(const char* variable, const std::string& value) : name(variable) {
    if (const char* before = ::getenv(variable)) old = before;
    ::setenv(variable, value.c_str(), 1);
  }
  ~ScopedVariable() {
    if (old)
      ::setenv(name, old->c_str(), 1);
    else
      ::unsetenv(name);
  }
  const char* name;
  std::optional<std::string> old;
};

}  // namespace orkestr::vm::test
