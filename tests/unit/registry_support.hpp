// A temporary sandboxes directory and forked processes for the registry's tests.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "base/file.hpp"
#include "base/id.hpp"
#include "base/system.hpp"
#include "registry/registry.hpp"

namespace orkestr::registry::testing {

class TemporaryState {
 public:
  explicit TemporaryState(const std::string& below = "") {
    // In memory where there is such a place: what is tested here is order, and fsync on a busy disk takes most of the
    // time.
    root_ = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    root_ += "/orkestr-registry-XXXXXX";
    REQUIRE(::mkdtemp(root_.data()) != nullptr);
    auto made = prepare_state_directory(root_ + below + "/state");
    REQUIRE_MESSAGE(made.ok(), (made ? "" : made.error().message()));
    sandboxes_ = *made;
  }
  ~TemporaryState() { (void)base::remove_tree(root_).ok(); }
  TemporaryState(const TemporaryState&) = delete;
  TemporaryState& operator=(const TemporaryState&) = delete;

  const std::string& root() const { return root_; }
  const std::string& sandboxes() const { return sandboxes_; }
  std::vector<std::string> names(const std::string& below = "") const {
    auto listed = base::list_directory(sandboxes_ + "/" + below);
    REQUIRE(listed);
    return *listed;
  }

 private:
  std::string root_;
  std::string sandboxes_;
};

inline Record new_record() {
  Record r;
  r.id = base::make_sandbox_id();
  r.status = "starting";
  r.template_name = "python-3.12";
  r.created_at_ms = base::wall_clock_ms();
  return r;
}

// A child process that runs `body` and is killed (if it still runs) and reaped at the end. No doctest assertions in the
// body.
class Process {
 public:
  explicit Process(const std::function<void()>& body) : pid_(::fork()) {
    REQUIRE(pid_ >= 0);
    if (pid_ != 0) return;
    body();
    ::_exit(0);
  }
  ~Process() { kill_and_wait(); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  void kill_and_wait() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }
  bool alive() const { return ::waitpid(pid_, nullptr, WNOHANG) == 0; }
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

// A pipe over which a child says that it is ready.
class Signal {
 public:
  Signal() {
    auto made = base::make_pipe();
    REQUIRE(made);
    read_ = std::move(made->first);
    write_ = std::move(made->second);
  }
  void send() { (void)!::write(write_.get(), "x", 1); }
  void wait() {
    char c = 0;
    REQUIRE(::read(read_.get(), &c, 1) == 1);
  }

 private:
  base::UniqueFd read_;
  base::UniqueFd write_;
};

}  // namespace orkestr::registry::testing
