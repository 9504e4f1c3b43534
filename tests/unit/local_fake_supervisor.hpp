// A scripted supervisor in this process, for tests of the library's side: a sandbox's directory with its locks and
// socket, a thread for each connection, and a script that sees every frame. It keeps to the protocol unless the script
// does not.
#pragma once

#include <doctest/doctest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/file.hpp"
#include "base/id.hpp"
#include "base/system.hpp"
#include "registry/registry.hpp"
#include "wire/channel.hpp"
#include "wire/message.hpp"

namespace orkestr::local_test {

// Fails the test with the error's text.
template <class T>
T must(Result<T> result) {
  REQUIRE_MESSAGE(result.ok(), result.error().message());
  return std::move(*result);
}
inline void must(Result<void> result) { REQUIRE_MESSAGE(result.ok(), result.error().message()); }

// The supervisor's end of one connection. Belongs to its thread.
class Peer {
 public:
  explicit Peer(base::UniqueFd fd) : fd_(std::move(fd)), channel_(wire::Receiver::supervisor_from_client) {}

  void send(wire::OutFrame frame, wire::Lane lane = wire::Lane::stream) {
    channel_.send(std::move(frame), lane);
    flush();
  }
  void output(std::uint32_t id, std::string_view bytes) { send(wire::data_frame(id, wire::Stream::output, bytes)); }
  void result(std::uint32_t id, std::string_view payload = {}) {
    send(wire::OutFrame(wire::Type::result, id, payload));
  }
  void exit(std::uint32_t id, wire::ExecExit exit = {}) { result(id, exit.encode()); }
  void error(std::uint32_t id, const Error& error) {
    send(wire::OutFrame(wire::Type::error, id, wire::ErrorMessage::from(error).encode()));
  }
  void raw(std::string_view bytes) { (void)!::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  // Sends `total` bytes of 'x', as the client's credit allows, then the exit. True once all is sent.
  void stream(std::uint32_t id, std::uint64_t total) {
    left_[id] = total;
    advance(id);
  }
  void close() { fd_.reset(); }
  bool closed() const { return !fd_; }
  std::uint64_t sent(std::uint32_t id) { return sent_[id]; }

  using Script = std::function<void(Peer&, const wire::Frame&)>;
  // Serves until the client goes, the script closes, or `stop`.
  void serve(const Script& script, const std::atomic<bool>& stop) {
    flush();
    while (fd_ && !stop) {
      pollfd ready{fd_.get(), POLLIN, 0};
      if (::poll(&ready, 1, 5) <= 0) continue;
      const auto space = channel_.receive_space();
      const ssize_t count = ::recv(fd_.get(), space.data(), space.size(), 0);
      if (count <= 0) return;
      channel_.received(static_cast<std::size_t>(count));
      while (fd_) {
        auto event = channel_.next();
        if (!event) {
          broken = event.error().message();
          return;
        }
        if (!*event) break;
        if ((*event)->kind != wire::Channel::Event::Kind::frame) continue;
        const wire::Frame frame = (*event)->frame;
        if (auto credit = wire::credit_of(frame)) {
          window_.try_emplace(frame.id, wire::kInitialCredit).first->second += *credit;
          advance(frame.id);
        }
        script(*this, frame);
      }
      flush();
    }
  }
  std::string broken;  // what the client did wrong, if anything

 private:
  void flush() {
    while (fd_) {
      const auto bytes = channel_.pending();
      if (bytes.empty()) return;
      const ssize_t count = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count < 0) return;
      channel_.consume(static_cast<std::size_t>(count));
    }
  }
  void advance(std::uint32_t id) {
    auto left = left_.find(id);
    if (left == left_.end()) return;
    auto& window = window_.try_emplace(id, wire::kInitialCredit).first->second;
    while (left->second > 0 && window > 0) {
      const std::size_t count = std::min<std::uint64_t>({left->second, window, wire::kDataChunk});
      left->second -= count;
      window -= count;
      sent_[id] += count;
      output(id, std::string(count, 'x'));
    }
    if (left->second > 0) return;
    wire::ExecExit end;
    end.stdout_bytes = sent_[id];
    left_.erase(left);
    exit(id, end);
  }

  base::UniqueFd fd_;
  wire::Channel channel_;
  std::map<std::uint32_t, std::uint64_t> window_, left_, sent_;
};

// ORKESTR_HOME in a directory of its own.
class TemporaryHome {
 public:
  TemporaryHome() {
    path_ = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/orkestr-local-XXXXXX" : "/tmp/orkestr-local-XXXXXX";
    REQUIRE(::mkdtemp(path_.data()) != nullptr);
    ::setenv("ORKESTR_HOME", path_.c_str(), 1);
    sandboxes_ = must(registry::prepare_state_directory(path_ + "/state"));
  }
  ~TemporaryHome() {
    ::unsetenv("ORKESTR_HOME");
    (void)base::remove_tree(path_).ok();
  }
  TemporaryHome(const TemporaryHome&) = delete;
  TemporaryHome& operator=(const TemporaryHome&) = delete;
  const std::string& path() const { return path_; }
  const std::string& sandboxes() const { return sandboxes_; }

 private:
  std::string path_;
  std::string sandboxes_;
};

// A sandbox that runs, as far as its directory tells.
class FakeSupervisor {
 public:
  FakeSupervisor(const std::string& sandboxes, Peer::Script script) : script_(std::move(script)) {
    record_.id = base::make_sandbox_id();
    record_.status = "running";
    record_.template_name = "python-3.12-bare";
    record_.created_at_ms = base::wall_clock_ms();
    record_.expires_at_ms = record_.created_at_ms + 600'000;
    record_.accelerator = "tcg";
    record_.isolation = "emulated";
    directory_.emplace(must(registry::OwnedDirectory::create(sandboxes, record_)));
    listener_ = must(registry::listen(*directory_));
    must(directory_->end_transition());
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~FakeSupervisor() {
    stop_accepting();
    for (auto& thread : threads_) thread.join();
  }
  FakeSupervisor(const FakeSupervisor&) = delete;
  FakeSupervisor& operator=(const FakeSupervisor&) = delete;

  const std::string& id() const { return record_.id; }
  int connections() const { return connections_; }
  // From any thread: the sandbox is over, with this as the last word.
  void end(const std::string& status, const std::string& reason) {
    std::lock_guard lock(mutex_);
    if (!directory_) return;
    record_.status = status;
    record_.end_reason = reason;
    record_.ended_at_ms = base::wall_clock_ms();
    (void)directory_->finish(record_).ok();
    directory_.reset();
  }
  // SIGKILL, as others see it: locks and sockets go, nothing is written.
  void die() {
    stop_accepting();
    std::lock_guard lock(mutex_);
    directory_.reset();
  }

 private:
  void stop_accepting() {
    stop_ = true;
    std::lock_guard lock(mutex_);
    if (acceptor_.joinable()) acceptor_.join();
  }
  void accept_all() {
    while (!stop_) {
      pollfd ready{listener_.get(), POLLIN, 0};
      if (::poll(&ready, 1, 5) <= 0) continue;
      base::UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) continue;
      ++connections_;
      threads_.emplace_back([this, fd = std::make_shared<base::UniqueFd>(std::move(fd))] {
        Peer peer(std::move(*fd));
        peer.serve(script_, stop_);
      });
    }
    listener_.reset();
  }

  Peer::Script script_;
  registry::Record record_;
  std::mutex mutex_;
  std::optional<registry::OwnedDirectory> directory_;
  base::UniqueFd listener_;
  std::atomic<bool> stop_{false};
  std::atomic<int> connections_{0};
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace orkestr::local_test
