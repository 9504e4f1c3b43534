#include "guest/pipes.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "base/try.hpp"
#include "guest/terminal.hpp"

namespace orkestr::guest {
namespace {

constexpr int kLargePipe = 1 << 20;
// More than the kernel holds of a terminal's output. It does not say how much that is (FIONREAD counts only the part
// that is ready), so what is there is read until nothing is, which a writer in the background could put off for ever.
constexpr std::size_t kMaxTerminalContent = 64U << 10U;

}  // namespace

OutputPipe::~OutputPipe() {
  if (pipe_) services_.reactor.remove(pipe_.get());
}

Result<void> OutputPipe::open(base::UniqueFd pipe, StreamKind kind, Wake wake) {
  ORKESTR_CHECK(
      services_.reactor.add(pipe.get(), EPOLLIN | EPOLLET, [this, wake = std::move(wake)](std::uint32_t events) {
        ready_ = true;
        hung_up_ = hung_up_ || (events & EPOLLHUP) != 0;
        wake();
      }));
  pipe_ = std::move(pipe);
  kind_ = kind;
  return {};
}

bool OutputPipe::produce(Outlet& outlet) {
  if (!pipe_) return false;
  if (remaining_ == 0U) {
    outlet.send_data(wire::data_frame(outlet.id(), stream_, {}, true));
    end();
    return false;
  }
  if (!ready_) return false;
  const std::size_t asked =
      std::min({room_, outlet.allowance(), remaining_.value_or(std::numeric_limits<std::size_t>::max())});
  // Without credit a grant brings the next turn; without room nothing does but asking for one.
  if (asked == 0) return outlet.has_credit();
  auto frame = wire::OutFrame::with_room(wire::Type::data, outlet.id(), asked, static_cast<std::uint8_t>(stream_));
  const ssize_t n = ::read(pipe_.get(), frame.payload(), asked);
  if (n < 0 && errno == EINTR) return true;
  if (n < 0 && errno == EAGAIN && !remaining_) {
    ready_ = false;
    return false;
  }
  if (n <= 0) {
    outlet.send_data(wire::data_frame(outlet.id(), stream_, {}, true));
    end();
    return false;
  }
  const auto got = static_cast<std::size_t>(n);
  bytes_ += got;
  if (remaining_) *remaining_ -= got;
  if (got * 2 < asked) {
    // A small piece in a large frame would hold the large frame's memory while it waits.
    frame = wire::data_frame(outlet.id(), stream_, std::string_view(frame.payload(), got));
  } else {
    frame.shrink(got);
  }
  outlet.send_data(std::move(frame));
  adapt(asked, got);
  // A short read emptied the pipe; the next byte is a new edge. After a hangup there is none, so go on to its end. A
  // terminal gives at most a page at a time, whatever waits behind it, so it is read until it has nothing.
  if (got < asked && !hung_up_ && !remaining_ && kind_ == StreamKind::pipe) ready_ = false;
  return true;
}

bool OutputPipe::produce(OutputRing& ring) {
  if (!pipe_) return false;
  if (remaining_ == 0U) {
    end();
    return false;
  }
  if (!ready_) return false;
  std::array<char, kFrameData> buffer;
  const std::size_t asked = std::min(buffer.size(), remaining_.value_or(buffer.size()));
  const ssize_t n = ::read(pipe_.get(), buffer.data(), asked);
  if (n < 0 && errno == EINTR) return true;
  if (n < 0 && errno == EAGAIN && !remaining_) {
    ready_ = false;
    return false;
  }
  if (n <= 0) {
    end();
    return false;
  }
  const auto got = static_cast<std::size_t>(n);
  ring.append(std::string_view(buffer.data(), got));
  bytes_ += got;
  if (remaining_) *remaining_ -= got;
  if (got < asked && !hung_up_ && !remaining_ && kind_ == StreamKind::pipe) ready_ = false;  // as above
  return true;
}

void OutputPipe::adapt(std::size_t asked, std::size_t got) {
  if (got < asked || asked < room_ || kind_ == StreamKind::terminal) return;
  if (room_ < kFrameData) {
    room_ = std::min(room_ * 4, kFrameData);
    // A busy stream: fewer switches between writer and agent. Fails harmlessly over the user's pipe limit.
    if (room_ == kFrameData) ::fcntl(pipe_.get(), F_SETPIPE_SZ, kLargePipe);
  }
}

void OutputPipe::finish_with_present_content() {
  if (!pipe_ || remaining_) return;
  if (kind_ == StreamKind::terminal) {
    remaining_ = kMaxTerminalContent;
  } else {
    int present = 0;
    ::ioctl(pipe_.get(), FIONREAD, &present);
    remaining_ = static_cast<std::size_t>(std::max(present, 0));
  }
  ready_ = true;
}

void OutputPipe::abandon() { remaining_ = 0; }

void OutputPipe::end() {
  if (remaining_) return hand_to_drain();
  services_.reactor.remove(pipe_.get());
  pipe_.reset();
}

void OutputPipe::hand_to_drain() {
  services_.reactor.remove(pipe_.get());
  services_.drain.add(std::move(pipe_));
}

Result<void> InputPipe::open(base::UniqueFd pipe, StreamKind kind) {
  ORKESTR_CHECK(services_.reactor.add(pipe.get(), EPOLLOUT | EPOLLET, [this](std::uint32_t) { on_ready(); }));
  pipe_ = std::move(pipe);
  kind_ = kind;
  return {};
}

void InputPipe::close() {
  if (pipe_) services_.reactor.remove(pipe_.get());
  pipe_.reset();
  std::size_t forgotten = 0;
  for (const std::string& bytes : waiting_) forgotten += bytes.size();
  forgotten -= offset_;
  waiting_.clear();
  offset_ = 0;
  if (forgotten > 0) inlet_.consumed(forgotten);
}

bool InputPipe::write(std::string_view bytes, bool end) {
  if (!inlet_.accept(bytes.size(), end)) return false;
  const std::size_t written = waiting_.empty() ? write_some(bytes) : 0;
  if (!pipe_) {
    inlet_.consumed(bytes.size());
    return true;
  }
  inlet_.consumed(written);
  if (written < bytes.size()) waiting_.emplace_back(bytes.substr(written));
  if (end && waiting_.empty()) finish();
  return true;
}

void InputPipe::on_ready() {
  while (pipe_ && !waiting_.empty()) {
    const std::size_t written = write_some(std::string_view(waiting_.front()).substr(offset_));
    if (!pipe_) return;
    if (written == 0) return;
    offset_ += written;
    if (offset_ == waiting_.front().size()) {
      waiting_.pop_front();
      offset_ = 0;
    }
    inlet_.consumed(written);
  }
  if (pipe_ && inlet_.ended()) finish();
}

// All of the input is written.
void InputPipe::finish() {
  if (kind_ == StreamKind::pipe || eof_typed_) return close();
  eof_typed_ = true;
  std::string keys = end_of_file_keys(pipe_.get(), last_typed_);
  if (keys.empty()) return close();
  waiting_.push_back(std::move(keys));
  on_ready();
}

// How much the pipe took. A command that reads no more closes the pipe here, too.
std::size_t InputPipe::write_some(std::string_view bytes) {
  std::size_t done = 0;
  while (pipe_ && done < bytes.size()) {
    const ssize_t n = ::write(pipe_.get(), bytes.data() + done, bytes.size() - done);
    if (n > 0) {
      done += static_cast<std::size_t>(n);
      if (kind_ == StreamKind::terminal) last_typed_ = bytes[done - 1];
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else if (n == 0 || errno == EAGAIN) {
      break;
    } else {
      close();
    }
  }
  return done;
}

}  // namespace orkestr::guest
