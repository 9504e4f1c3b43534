#include "guest_client.hpp"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "base/file.hpp"
#include "base/system.hpp"

namespace orkestr::test {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {
constexpr seconds kPatience{60};
}

wire::ExecExit Answer::exit() const {
  REQUIRE_MESSAGE(result.has_value(), (error ? error->message() : "no answer"));
  auto decoded = wire::ExecExit::decode(*result);
  REQUIRE(decoded);
  return *decoded;
}

GuestClient::GuestClient(const std::string& workspace) {
  auto pair = base::socket_pair(SOCK_STREAM);
  REQUIRE(pair);
  base::ChildOptions options;
  options.argv = {ORKESTR_AGENT, "--socket-fd", "3", "--chdir-workspace", workspace};
  options.fds = {{pair->second.get(), 3}, {2, 2}};
  auto child = base::Child::start(options);
  REQUIRE(child);
  agent_ = *std::move(child);
  socket_ = std::move(pair->first);
  handshake();
}

GuestClient::GuestClient(base::UniqueFd connection) : socket_(std::move(connection)) { handshake(); }

void GuestClient::handshake() {
  REQUIRE(base::set_nonblocking(socket_.get(), true));
  read_until([this] { return established_ == 1; });
}

void GuestClient::reconnect() {
  channel_ = wire::Channel(wire::Receiver::supervisor_from_guest);
  answers_.clear();
  const std::uint64_t before = established_;
  read_until([this, before] { return established_ > before; });
}

std::uint32_t GuestClient::open(wire::Type type, std::string payload) {
  const std::uint32_t id = next_id_++;
  answers_[id];
  send(wire::OutFrame(type, id, payload));
  return id;
}

void GuestClient::send(wire::OutFrame frame) {
  const wire::Lane lane = frame.type() == wire::Type::data ? wire::Lane::stream : wire::Lane::control;
  channel_.send(std::move(frame), lane);
  flush();
}

void GuestClient::send_input(std::uint32_t id, std::string_view bytes, bool end) {
  do {
    Answer& answer = answers_[id];
    if (!bytes.empty()) read_until([&] { return answer.credit > 0 || answer.done(); });
    if (answer.done()) return;
    const std::size_t count = std::min({bytes.size(), answer.credit, wire::kDataChunk});
    answer.credit -= count;
    const std::string_view part = bytes.substr(0, count);
    bytes.remove_prefix(count);
    channel_.send(wire::data_frame(id, wire::Stream::input, part, end && bytes.empty()), wire::Lane::stream);
    turn(0);
  } while (!bytes.empty());
}

void GuestClient::read_until(const std::function<bool()>& enough) {
  const auto deadline = base::Deadline::after(kPatience);
  while (!enough()) {
    REQUIRE_MESSAGE(!deadline.expired(), "the agent did not answer in time");
    if (!turn(100)) {
      REQUIRE_MESSAGE(enough(), "the agent closed the connection");
      return;
    }
  }
}

void GuestClient::read_for(milliseconds time) {
  const auto deadline = base::Deadline::after(time);
  while (!deadline.expired() && turn(deadline.poll_timeout_ms())) {
  }
}

Answer& GuestClient::wait(std::uint32_t id) {
  Answer& answer = answers_[id];
  read_until([&] { return answer.done(); });
  return answer;
}

bool GuestClient::turn(int timeout_ms) {
  if (closed_) return false;
  flush();
  const bool output = !channel_.pending().empty();
  pollfd poll{socket_.get(), static_cast<short>(output ? POLLIN | POLLOUT : POLLIN), 0};
  if (::poll(&poll, 1, timeout_ms) <= 0) return true;
  if ((poll.revents & (POLLIN | POLLHUP | POLLERR)) == 0) return true;
  const std::span<char> space = channel_.receive_space();
  const ssize_t n = ::read(socket_.get(), space.data(), space.size());
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
    closed_ = true;
    return false;
  }
  channel_.received(n > 0 ? static_cast<std::size_t>(n) : 0);
  while (true) {
    auto event = channel_.next();
    REQUIRE_MESSAGE(event, (event ? "" : event.error().message()));
    if (!*event) break;
    if ((*event)->kind == wire::Channel::Event::Kind::established) {
      ++established_;
    } else {
      take((*event)->frame);
    }
  }
  flush();
  return true;
}

void GuestClient::take(const wire::Frame& frame) {
  if (frame.type == wire::Type::pong) {
    ++pongs_;
    return;
  }
  Answer& answer = answers_[frame.id];
  switch (frame.type) {
    case wire::Type::data: {
      const bool output = frame.stream() == wire::Stream::output;
      CHECK_FALSE((output ? answer.output_ended : answer.error_output_ended));
      CHECK_FALSE(answer.done());
      if (!discard_) (output ? answer.output : answer.error_output).append(frame.payload);
      data_bytes_ += frame.payload.size();
      if (frame.end_of_stream()) (output ? answer.output_ended : answer.error_output_ended) = true;
      if (grant_ && !frame.payload.empty()) {
        channel_.send(wire::credit_frame(frame.id, static_cast<std::uint32_t>(frame.payload.size())),
                      wire::Lane::control);
      }
      break;
    }
    case wire::Type::credit:
      answer.credit += wire::credit_of(frame).value_or(0);
      break;
    case wire::Type::started: {
      auto started = wire::StartedMessage::decode(frame.payload);
      REQUIRE(started);
      answer.pid = started->pid;
      break;
    }
    case wire::Type::result:
      answer.result = std::string(frame.payload);
      break;
    case wire::Type::error: {
      auto message = wire::ErrorMessage::decode(frame.payload);
      REQUIRE(message);
      answer.error = message->to_error();
      break;
    }
    default:
      FAIL("an unexpected frame");
  }
}

void GuestClient::flush() {
  while (!closed_) {
    const std::string_view bytes = channel_.pending();
    if (bytes.empty()) return;
    const ssize_t n = ::write(socket_.get(), bytes.data(), bytes.size());
    if (n < 0) return;
    channel_.consume(static_cast<std::size_t>(n));
  }
}

Answer& GuestClient::run(wire::ExecRequest request) { return wait(open(wire::Type::exec, request.encode())); }

Answer& GuestClient::shell(const std::string& line, std::uint64_t timeout_ms) {
  wire::ExecRequest request;
  request.argv = {"/bin/bash", "-c", line};
  request.timeout_ms = timeout_ms;
  return run(std::move(request));
}

Answer& GuestClient::file(wire::Type type, wire::FileRequest request) { return wait(open(type, request.encode())); }

Answer& GuestClient::write_file(const std::string& path, std::string_view content, std::uint64_t mode) {
  wire::FileRequest request;
  request.path = path;
  request.mode = mode;
  const std::uint32_t id = open(wire::Type::file_write, request.encode());
  send_input(id, content, true);
  return wait(id);
}

TemporaryDirectory::TemporaryDirectory() {
  std::string path = "/tmp/orkestr-guest-XXXXXX";
  REQUIRE(::mkdtemp(path.data()) != nullptr);
  REQUIRE(::chmod(path.c_str(), 0755) == 0);
  path_ = path;
}

TemporaryDirectory::~TemporaryDirectory() { (void)base::remove_tree(path_).ok(); }

}  // namespace orkestr::test
