#include "cli/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/file.hpp"

namespace orkestr::cli {
namespace {

// Where stderr is closed there is nobody to tell.
void print(std::string_view text) { (void)base::write_all(STDERR_FILENO, text); }

std::size_t terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) return size.ws_col;
  return 80;
}

// Output of tools as it may go to a terminal: printable ASCII only, so no escape sequence of theirs moves our cursor.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= 0x20 && c < 0x7f) out.push_back(c);
  }
  return out;
}

bool is_terminal() {
  const char* term = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) == 1 && term && std::string_view(term) != "dumb";
}

}  // namespace

Progress::Progress() : terminal_(is_terminal()) {}
Progress::~Progress() { finish(); }

void Progress::update(std::string_view step, int index, int count, std::string_view line,
                      std::chrono::milliseconds elapsed) {
  const bool new_step = step != step_;
  step_ = std::string(step);
  if (!terminal_) {
    if (!new_step) return;
    const double seconds = static_cast<double>(elapsed.count()) / 1000;
    if (count > 0) {
      print(fmt::format("[{:2}/{}] {:6.1f} s  {}\n", index, count, seconds, step));
    } else {
      print(fmt::format("{}\n", step));
    }
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  if (!new_step && now - last_draw_ < std::chrono::milliseconds(50)) return;
  last_draw_ = now;
  draw(index, count, line, elapsed);
}

void Progress::draw(int index, int count, std::string_view line, std::chrono::milliseconds elapsed) {
  constexpr int kBarWidth = 24;
  const int filled = count > 0 ? kBarWidth * (index - 1) / count : 0;
  const std::string counted = count > 0 ? fmt::format("{}/{}", index, count) : std::string("-");
  std::string text = fmt::format("[{}{}] {:>5} {:3} s  {}", std::string(static_cast<std::size_t>(filled), '#'),
                                 std::string(static_cast<std::size_t>(kBarWidth - filled), '-'), counted,
                                 elapsed.count() / 1000, step_);
  if (!line.empty()) text += ": " + printable(line);
  text.resize(std::min(text.size(), terminal_width() - 1));
  print("\r\x1b[K" + text);
  drawn_ = true;
}

void Progress::finish() {
  if (drawn_) print("\r\x1b[K");
  drawn_ = false;
}

}  // namespace orkestr::cli
