// The sockets of the I/O thread, in a form that a forked child can close without a lock: the thread that would know
// them in order does not exist there, and may have held any mutex at the moment of the fork.
#pragma once

#include <unistd.h>

#include <array>
#include <atomic>

namespace orkestr::remote {

class OpenSockets {
 public:
  // Beyond the capacity a socket is not remembered: it stays open in a forked child until that ends or executes
  // something.
  void add(int fd) noexcept {
    for (auto& slot : slots_) {
      int empty = 0;
      if (slot.compare_exchange_strong(empty, fd + 1)) return;
    }
  }
  void remove(int fd) noexcept {
    for (auto& slot : slots_) {
      int mine = fd + 1;
      if (slot.compare_exchange_strong(mine, 0)) return;
    }
  }
  void close_all() noexcept {
    for (auto& slot : slots_) {
      if (const int fd = slot.exchange(0); fd > 0) ::close(fd - 1);
    }
  }

 private:
  std::array<std::atomic<int>, 512> slots_{};  // descriptor + 1, 0: free
};

}  // namespace orkestr::remote
