#include "cli/attach.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <thread>

#include "base/deadline.hpp"
#include "base/file.hpp"
#include "base/unique_fd.hpp"
#include "cli/commands.hpp"
#include "cli/terminal.hpp"

namespace orkestr::cli {
namespace {

constexpr auto kCancelWithin = std::chrono::seconds(10);
// What a pipe takes without blocking once poll(2) says it is writable.
constexpr std::size_t kPiece = 4096;
constexpr int kGivenUp = -1;

// Standard input, read on a thread of its own: a write to the command waits while that does not read, and its output
// must flow meanwhile.
class InputPump {
 public:
  explicit InputPump(ExecStream& stream)
      : stop_(::eventfd(0, EFD_CLOEXEC)), thread_([this, &stream] { run(stream); }) {}
  // The command has ended, so that no write is waiting.
  ~InputPump() {
    const std::uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }
  InputPump(const InputPump&) = delete;
  InputPump& operator=(const InputPump&) = delete;

 private:
  void run(ExecStream& stream) {
    std::string buffer(64U << 10U, '\0');
    while (true) {
      std::array<pollfd, 2> fds{pollfd{stop_.get(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
      if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) break;
      if (fds[0].revents != 0) return;
      if (fds[1].revents == 0) continue;
      const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got <= 0) break;
      if (!stream.write(std::string_view(buffer).substr(0, static_cast<std::size_t>(got)))) return;
    }
    stream.close_input();
  }

  base::UniqueFd stop_;
  std::thread thread_;
};

bool is_plain_file(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

class Attached {
 public:
  Attached(ExecStream& stream, const Attachment& how, const Signals& signals)
      : stream_(stream), how_(how), signals_(signals) {}

  int signal() const { return signal_; }

  int run() {
    while (true) {
      handle_signals();
      if (given_up()) return kGivenUp;
      auto chunk = stream_.next(std::chrono::milliseconds(0));
      if (!chunk) return signal_ != 0 ? 128 + signal_ : report_command(chunk.error());
      if (!*chunk) return kExitLibrary;
      if ((*chunk)->is_final()) return signal_ != 0 ? 128 + signal_ : *(*chunk)->exit_code;
      if ((*chunk)->data.empty()) {
        wait_for(signals_, stream_.fd());
        continue;
      }
      write((*chunk)->stream == OutputStream::standard_output ? STDOUT_FILENO : STDERR_FILENO, (*chunk)->data);
    }
  }

 private:
  // A reader that stands still must not keep us from hearing a signal, so nothing here blocks on it.
  void write(int fd, std::string_view bytes) {
    const bool plain = is_plain_file(fd);
    while (!bytes.empty() && signal_ == 0) {
      if (!plain) {
        wait_for(signals_, -1, fd);
        handle_signals();
        pollfd ready{fd, POLLOUT, 0};
        if (::poll(&ready, 1, 0) != 1) continue;
      }
      const ssize_t done = ::write(fd, bytes.data(), plain ? bytes.size() : std::min(bytes.size(), kPiece));
      if (done < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (done < 0) return cannot_write(fd, errno);
      bytes.remove_prefix(static_cast<std::size_t>(done));
    }
  }

  // Nobody reads any more (`| head`), or the disk is full: the command ends as it would have on this machine.
  void cannot_write(int fd, int err) {
    if (err != EPIPE) {
      fmt::print(stderr, "orkestr: write to {}: {}\n", fd == STDOUT_FILENO ? "stdout" : "stderr", ::strerror(err));
    }
    interrupt(SIGPIPE);
  }

  void handle_signals() {
    while (const auto signal = signals_.take()) {
      if (*signal == SIGWINCH) {
        const auto size = terminal_size();
        if (how_.terminal) (void)stream_.resize(size.cols, size.rows);
      } else if (signal_ != 0) {
        cancel_deadline_ = base::Deadline::after(std::chrono::seconds(0));
      } else {
        interrupt(*signal);
      }
    }
  }

  void interrupt(int signal) {
    signal_ = signal;
    cancel_deadline_ = base::Deadline::after(kCancelWithin);
    stream_.cancel();
  }
  bool given_up() const { return signal_ != 0 && cancel_deadline_.expired(); }

  ExecStream& stream_;
  const Attachment how_;
  const Signals& signals_;
  int signal_ = 0;  // that asked us to end
  base::Deadline cancel_deadline_ = base::Deadline::never();
};

}  // namespace

int report_command(const Error& error) {
  switch (error.code()) {
    case ErrorCode::exec_timeout:
      fmt::print(stderr, "orkestr: {}\n", error.message());
      return kExitTimeout;
    case ErrorCode::exec_killed:
      fmt::print(stderr, "orkestr: {}\n", error.message());
      return 128 + error.details().signal;
    case ErrorCode::file_not_found:  // the program, or the directory it should start in
      (void)report(error);
      return kExitNotFound;
    case ErrorCode::not_permitted:
      (void)report(error);
      return kExitNotExecutable;
    default:
      return report(error) == kExitUsage ? kExitUsage : kExitLibrary;
  }
}

int attach(ExecStream& stream, const Attachment& how, const Signals& signals, const std::string& sandbox_id) {
  std::optional<RawTerminal> raw;
  if (how.terminal && how.input) raw.emplace();
  std::optional<InputPump> pump;
  if (how.input) pump.emplace(stream);
  Attached attached(stream, how, signals);
  const int code = attached.run();
  if (code != kGivenUp) return code;
  raw.reset();
  fmt::print(stderr, "orkestr: the command did not end; if sandbox {0} still runs, end it with `orkestr rm {0}`\n",
             sandbox_id);
  ::_exit(128 + attached.signal());  // the pump may be waiting in a write that nothing ends
}

}  // namespace orkestr::cli
