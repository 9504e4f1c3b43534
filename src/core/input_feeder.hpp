// Gives a fixed text to a stream's input, as its window allows. Not thread-safe: who shares it locks.
#pragma once

#include <string>
#include <utility>

#include "backend.hpp"

namespace orkestr::core {

class InputFeeder {
 public:
  // `then_end`: end the input once all is given.
  explicit InputFeeder(std::string bytes, bool then_end = true) : bytes_(std::move(bytes)), then_end_(then_end) {}

  // True when all was given, and the end too if it is wanted.
  bool feed(Stream& stream) {
    while (offered_ < bytes_.size()) {
      const std::size_t count = stream.offer(std::string_view(bytes_).substr(offered_));
      if (count == 0) return false;
      offered_ += count;
    }
    if (then_end_ && !std::exchange(ended_, true)) stream.end_input();
    return true;
  }
  void end_after_all() { then_end_ = true; }
  bool ends() const { return then_end_; }

 private:
  std::string bytes_;
  std::size_t offered_ = 0;
  bool then_end_;
  bool ended_ = false;
};

}  // namespace orkestr::core
