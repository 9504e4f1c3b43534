// Progress of a long operation: one line that redraws itself on a terminal, a line for each step otherwise.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace orkestr::cli {

// Writes to stderr. One thread.
class Progress {
 public:
  Progress();
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Step `index` of `count` (0 of 0: not counted) is at `line`.
  void update(std::string_view step, int index, int count, std::string_view line, std::chrono::milliseconds elapsed);
  // Clears the bar, so that what follows starts on a clean line.
  void finish();

 private:
  void draw(int index, int count, std::string_view line, std::chrono::milliseconds elapsed);

  const bool terminal_;
  bool drawn_ = false;
  std::string step_;
  std::chrono::steady_clock::time_point last_draw_{};
};

}  // namespace orkestr::cli
