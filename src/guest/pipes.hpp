// The agent's ends of a command's standard streams: pipes, or the master of a terminal, once for each direction.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "base/unique_fd.hpp"
#include "guest/flow.hpp"
#include "guest/output_ring.hpp"
#include "guest/services.hpp"
#include "wire/frame.hpp"

namespace orkestr::guest {

enum class StreamKind { pipe, terminal };

// stdout or stderr: from the pipe into data frames. Edge-triggered: the pipe is read when it has something *and* there
// is credit, and costs no system call while it waits for either.
class OutputPipe {
 public:
  OutputPipe(Services& services, wire::Stream stream) : services_(services), stream_(stream) {}
  ~OutputPipe();

  Result<void> open(base::UniqueFd pipe, StreamKind kind, Wake wake);
  // Sends one frame if it can; true when there may be more right away. Sends kEndOfStream once, at the end.
  bool produce(Outlet& outlet);
  // Moves what one read gives; true when there may be more right away.
  bool produce(OutputRing& ring);
  // What is in the pipe now is the last that is delivered; later bytes go nowhere (the pipe is kept open: see Drain).
  void finish_with_present_content();
  // Nothing more is delivered, not even what is in the pipe.
  void abandon();
  bool ended() const { return !pipe_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  void end();
  void hand_to_drain();
  void adapt(std::size_t asked, std::size_t got);

  Services& services_;
  wire::Stream stream_;
  base::UniqueFd pipe_;
  StreamKind kind_ = StreamKind::pipe;
  bool ready_ = false;
  bool hung_up_ = false;
  std::size_t room_ = 4U << 10U;          // of the next frame; grows with a busy stream
  std::optional<std::size_t> remaining_;  // of the content to deliver, after finish_with_present_content()
  std::uint64_t bytes_ = 0;
};

// stdin: from data frames into the pipe. What the command has not read yet waits here, bounded by the credit; once the
// command has closed its end, input is accepted and forgotten, so that its sender does not hang. The end of input
// closes a pipe; at a terminal, which that would not end, the end-of-file character is typed.
class InputPipe {
 public:
  InputPipe(Services& services, Inlet inlet) : services_(services), inlet_(inlet) {}
  ~InputPipe() { close(); }

  Result<void> open(base::UniqueFd pipe, StreamKind kind);
  // False when the peer broke the flow control.
  [[nodiscard]] bool write(std::string_view bytes, bool end);
  void close();

 private:
  void on_ready();
  void finish();
  std::size_t write_some(std::string_view bytes);

  Services& services_;
  Inlet inlet_;
  base::UniqueFd pipe_;
  StreamKind kind_ = StreamKind::pipe;
  std::optional<char> last_typed_;  // at a terminal
  bool eof_typed_ = false;          // likewise; or it waits
  std::deque<std::string> waiting_;
  std::size_t offset_ = 0;  // written already of the first one
};

}  // namespace orkestr::guest
