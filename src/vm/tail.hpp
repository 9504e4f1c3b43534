// The end of an unbounded stream from an untrusted writer: the last bytes, read from a descriptor as they come.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/unique_fd.hpp"

namespace orkestr::vm {

// A bounded buffer of the last `cap` bytes.
class TailBuffer {
 public:
  explicit TailBuffer(std::size_t cap) : cap_(cap) {}
  void append(std::string_view bytes);
  const std::string& bytes() const { return bytes_; }

 private:
  std::size_t cap_;
  std::string bytes_;
};

// Fit for a terminal and a log: printable ASCII, newline and tab stay; carriage returns go; whole ANSI colour sequences
// go; any other byte becomes '?'.
std::string printable(std::string_view bytes);

// Reads a non-blocking descriptor until its end, on the executor's loop, into a TailBuffer. At most 200 reads of 4 KiB
// a second: a guest that floods its console is slowed down by its full socket, and costs us nothing.
class TailReader {
 public:
  TailReader(boost::asio::any_io_executor executor, base::UniqueFd fd, std::size_t cap);
  ~TailReader();
  TailReader(const TailReader&) = delete;
  TailReader& operator=(const TailReader&) = delete;

  // What came so far, and what waits in the descriptor right now (up to the cap, and a little more).
  std::string text();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace orkestr::vm
