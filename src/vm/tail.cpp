#include "vm/tail.hpp"

#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace orkestr::vm {

namespace asio = boost::asio;

namespace {

constexpr std::size_t kReadBytes = 4096;
constexpr auto kPause = std::chrono::milliseconds(5);

// The length of the escape sequence at the start of `text`: "\e[31m" and its kind; 1 when it is none that we know.
std::size_t escape_length(std::string_view text) {
  if (text.size() < 2 || text[1] != '[') return 1;
  std::size_t i = 2;
  while (i < text.size() && text[i] >= 0x20 && text[i] < 0x40) ++i;
  return i < text.size() ? i + 1 : text.size();
}

}  // namespace

void TailBuffer::append(std::string_view bytes) {
  if (bytes.size() > cap_) bytes.remove_prefix(bytes.size() - cap_);
  const std::size_t keep = cap_ - bytes.size();
  if (bytes_.size() > keep) bytes_.erase(0, bytes_.size() - keep);
  bytes_.append(bytes);
}

std::string printable(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    if (c == '\r') continue;
    if (c == '\x1b')
      i += escape_length(bytes.substr(i)) - 1;
    else
      out += (c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f)) ? c : '?';
  }
  return out;
}

struct TailReader::State {
  State(const asio::any_io_executor& executor, base::UniqueFd fd, std::size_t cap)
      : descriptor(executor, fd.release()), timer(executor), buffer(cap) {}

  asio::posix::stream_descriptor descriptor;
  asio::steady_timer timer;
  TailBuffer buffer;
  bool open = true;

  static asio::awaitable<void> run(std::shared_ptr<State> self) {
    constexpr auto tuple = asio::as_tuple(asio::use_awaitable);
    std::array<char, kReadBytes> chunk{};
    while (self->open) {
      const auto [error, n] = co_await self->descriptor.async_read_some(asio::buffer(chunk), tuple);
      if (error) break;
      self->buffer.append({chunk.data(), n});
      self->timer.expires_after(kPause);
      co_await self->timer.async_wait(tuple);
    }
    self->open = false;
  }
};

TailReader::TailReader(asio::any_io_executor executor, base::UniqueFd fd, std::size_t cap)
    : state_(std::make_shared<State>(executor, std::move(fd), cap)) {
  asio::co_spawn(executor, State::run(state_), asio::detached);
}

TailReader::~TailReader() {
  state_->open = false;
  state_->timer.cancel();
  boost::system::error_code ignored;
  state_->descriptor.close(ignored);
}

std::string TailReader::text() {
  std::array<char, kReadBytes> chunk{};
  for (int i = 0; i < 8 && state_->descriptor.is_open(); ++i) {
    const ssize_t n = ::read(state_->descriptor.native_handle(), chunk.data(), chunk.size());
    if (n <= 0) break;
    state_->buffer.append({chunk.data(), static_cast<std::size_t>(n)});
  }
  return printable(state_->buffer.bytes());
}

}  // namespace orkestr::vm
