// Asking a member of the warm pool to end. It is a conversation, not a signal: whoever was claimed a moment ago does
// not hear it.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "base/file.hpp"
#include "base/id.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "local/pool.hpp"
#include "registry/registry.hpp"
#include "wire/channel.hpp"

namespace orkestr::local {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(5);
// What a member is given to answer, when it is to be gone in the end; then it is taken for hung.
constexpr auto kAnswerWithin = std::chrono::seconds(5);

Result<void> write_pending(int socket, wire::Channel& channel) {
  while (true) {
    const auto bytes = channel.pending();
    if (bytes.empty()) return {};
    const ssize_t written = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (written < 0 && errno == EAGAIN) return {};
    if (written < 0) return base::errno_error("write to a member of the pool", errno);
    channel.consume(static_cast<std::size_t>(written));
  }
}

// True when the request was answered, or the member hung up.
Result<bool> read_answer(int socket, wire::Channel& channel) {
  const auto space = channel.receive_space();
  const ssize_t count = ::recv(socket, space.data(), space.size(), MSG_DONTWAIT);
  if (count < 0 && errno == EAGAIN) return false;
  if (count <= 0) return true;
  channel.received(static_cast<std::size_t>(count));
  while (true) {
    ORKESTR_TRY(const auto event, channel.next());
    if (!event) return false;
    if (event->kind == wire::Channel::Event::Kind::frame && event->frame.id == 1) return true;
  }
}

Result<void> ask_to_end(int socket, base::Deadline deadline) {
  wire::Channel channel(wire::Receiver::client);
  channel.send(wire::OutFrame(wire::Type::terminate, 1), wire::Lane::control);
  while (!deadline.expired()) {
    ORKESTR_CHECK(write_pending(socket, channel));
    pollfd ready{socket, POLLIN, 0};
    ::poll(&ready, 1, static_cast<int>(kPoll.count()));
    ORKESTR_TRY(const bool answered, read_answer(socket, channel));
    if (answered) return {};
  }
  return Error(ErrorCode::internal, "no answer in time");
}

bool is_held(int lock) {
  const auto supervisor = base::is_byte_locked(lock, registry::kSupervisorByte);
  const auto qemu = base::is_byte_locked(lock, registry::kQemuByte);
  return (supervisor && *supervisor) || (qemu && *qemu);
}

bool has_name(int fd) {
  struct stat s {};
  return ::fstat(fd, &s) == 0 && s.st_nlink > 0;
}

}  // namespace

Result<void> end_member(const std::string& pool_dir, const std::string& id, base::Deadline deadline, Wait wait) {
  const auto lock = base::open_at(AT_FDCWD, pool_dir + "/" + id + "/" + registry::kLockFile, O_RDONLY | O_NOFOLLOW);
  if (!lock) return {};  // it is gone
  auto socket = registry::connect(pool_dir, id);
  if (socket && *socket) {
    const auto answer_by = wait == Wait::no ? deadline : base::Deadline::after(kAnswerWithin);
    const auto asked = ask_to_end(socket->value().get(), answer_by);
    // Only one that still has its directory: the one whose directory went was claimed, or is on its way out.
    if (!asked && wait == Wait::until_gone && has_name(lock->get())) {
      ORKESTR_CHECK(registry::kill_supervisor(lock->get(), id));
    }
  }
  while (wait == Wait::until_gone && has_name(lock->get()) && is_held(lock->get())) {
    if (deadline.expired()) {
      return Error(ErrorCode::internal, fmt::format("member {} of the warm pool does not end; `orkestr gc` later", id));
    }
    std::this_thread::sleep_for(kPoll);
  }
  return {};
}

}  // namespace orkestr::local
