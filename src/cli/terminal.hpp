// The terminal that this program may be on.
#pragma once

#include <termios.h>

#include <optional>
#include <string>
#include <string_view>

namespace orkestr::cli {

bool is_terminal(int fd);

struct TerminalSize {
  int cols = 80;
  int rows = 24;
};
// Of the first of stdin, stdout and stderr that is a terminal; within what the library allows.
TerminalSize terminal_size();

// Keys go through as they are typed, until destruction. Does nothing where stdin is no terminal.
class RawTerminal {
 public:
  RawTerminal();
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  std::optional<termios> before_;
};

// Colours and weights, where stdout is a terminal and NO_COLOR is not set; otherwise the plain text.
enum class Style { plain, bold, green, yellow, red };
std::string styled(Style style, std::string_view text);

// What a guest or a tool wrote, fit for a terminal: control characters become "?".
std::string printable(std::string_view text);

// "y" or "yes" typed at a terminal. False without one.
bool confirm(std::string_view question);

}  // namespace orkestr::cli
