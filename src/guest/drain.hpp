// Pipes whose command is answered but whose writers live on (`server &`): read to nowhere until they end, so that the
// writers neither block nor die of SIGPIPE. Bounded: beyond kMaxPipes the oldest is closed.
#pragma once

#include <list>
#include <unordered_map>

#include "base/reactor.hpp"
#include "base/unique_fd.hpp"

namespace orkestr::guest {

class Drain {
 public:
  static constexpr std::size_t kMaxPipes = 1024;

  explicit Drain(base::Reactor& reactor) : reactor_(reactor) {}
  ~Drain();
  Drain(const Drain&) = delete;
  Drain& operator=(const Drain&) = delete;

  // A non-blocking read end that is in no reactor.
  void add(base::UniqueFd pipe);

 private:
  void on_readable(int fd);
  void drop(int fd);

  base::Reactor& reactor_;
  std::list<base::UniqueFd> pipes_;  // oldest first
  std::unordered_map<int, std::list<base::UniqueFd>::iterator> places_;
};

}  // namespace orkestr::guest
