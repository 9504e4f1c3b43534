// A small blocking client of the guest agent, as the supervisor is one: wire::Channel over a socketpair, the agent a
// child process. Tests see every frame; helpers do what tests do often.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/child.hpp"
#include "base/deadline.hpp"
#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"
#include "wire/channel.hpp"
#include "wire/message.hpp"

namespace orkestr::test {

// What has come of one operation.
struct Answer {
  std::string output, error_output;
  bool output_ended = false, error_output_ended = false;
  std::optional<std::uint64_t> pid;
  std::optional<std::string> result;  // its payload
  std::optional<Error> error;
  std::size_t credit = wire::kInitialCredit;  // for input
  bool done() const { return result || error; }
  wire::ExecExit exit() const;  // fails the test when there is no result
};

class GuestClient {
 public:
  // Starts the agent with `workspace` as its commands' directory, and waits for the handshake.
  explicit GuestClient(const std::string& workspace);
  // Over a connection that is there already (a VM's port).
  explicit GuestClient(base::UniqueFd connection);

  std::uint32_t open(wire::Type type, std::string payload);  // a new operation
  void send(wire::OutFrame frame);
  void send_input(std::uint32_t id, std::string_view bytes, bool end);  // waits for credit
  void cancel(std::uint32_t id) { send(wire::OutFrame(wire::Type::cancel, id)); }
  // Reads until `enough` or a minute has passed, which fails the test. Data is granted again unless grant(false).
  void read_until(const std::function<bool()>& enough);
  // Reads whatever comes for so long.
  void read_for(std::chrono::milliseconds time);
  Answer& answer(std::uint32_t id) { return answers_[id]; }
  Answer& wait(std::uint32_t id);
  void grant(bool on) { grant_ = on; }
  void discard_data(bool on) { discard_ = on; }
  std::uint64_t data_bytes() const { return data_bytes_; }
  std::uint64_t pongs() const { return pongs_; }
  // Starts the handshake over, as a supervisor does that lost its place.
  void reconnect();
  bool closed() const { return closed_; }
  void close() { socket_.reset(); }
  pid_t agent_pid() const { return agent_.pid(); }
  base::Child& agent() { return agent_; }
  int socket() const { return socket_.get(); }

  Answer& run(wire::ExecRequest request);
  Answer& shell(const std::string& line, std::uint64_t timeout_ms = 20000);
  Answer& file(wire::Type type, wire::FileRequest request);
  Answer& write_file(const std::string& path, std::string_view content, std::uint64_t mode = 0);

 private:
  void handshake();
  bool turn(int timeout_ms);  // false when the connection is closed
  void take(const wire::Frame& frame);
  void flush();

  base::UniqueFd socket_;
  base::Child agent_;
  wire::Channel channel_{wire::Receiver::supervisor_from_guest};
  std::map<std::uint32_t, Answer> answers_;
  std::uint32_t next_id_ = 1;
  std::uint64_t pongs_ = 0;
  std::uint64_t data_bytes_ = 0;
  std::uint64_t established_ = 0;
  bool grant_ = true;
  bool discard_ = false;
  bool closed_ = false;
};

// A directory of the test, removed at its end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

}  // namespace orkestr::test
