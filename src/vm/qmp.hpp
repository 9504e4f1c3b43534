// QMP, the control protocol of QEMU: one JSON document a line over a unix socket.
//
// Owns its end of the socket. Single-threaded, on one io_context. Commands may be issued from several coroutines at
// once. QEMU is not trusted here (a guest may have taken it over): lines are capped at 1 MiB, events are not kept, and
// the deadline holds whatever comes.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/deadline.hpp"
#include "base/json.hpp"
#include "base/unique_fd.hpp"
#include "orkestr/error.hpp"

namespace orkestr::vm {

constexpr std::size_t kMaxQmpLineBytes = 1U << 20U;
constexpr std::size_t kMaxQmpCommandBytes = 32U << 10U;

class Qmp {
 public:
  // Negotiates capabilities and waits for the greeting.
  static boost::asio::awaitable<Result<std::unique_ptr<Qmp>>> connect(base::UniqueFd socket, base::Deadline deadline);
  ~Qmp();  // commands in flight end with an error
  Qmp(const Qmp&) = delete;
  Qmp& operator=(const Qmp&) = delete;

  // Sends a command, returns its "return" value. `arguments_json` is an object or empty. `pass_fd` (-1: none) travels
  // beside it, for `getfd` and `add-fd`; it stays the caller's. Fails with vm_failed: the error names the command and
  // quotes QEMU's description.
  boost::asio::awaitable<Result<base::JsonValue>> execute(std::string command, std::string arguments_json,
                                                          base::Deadline deadline, int pass_fd = -1);

  // The same for commands that QEMU may have at once, in this order; QEMU 7.2 reads them byte by byte, so that waiting
  // for one answer before sending the next costs milliseconds. Fails with the first error; later commands may have been
  // carried out nevertheless.
  struct Command {
    std::string name;
    std::string arguments_json;
  };
  boost::asio::awaitable<Result<void>> execute_all(std::vector<Command> commands, base::Deadline deadline);

  // Called for each event, on the executor's thread; "event" and "data" are QEMU's.
  void on_event(std::function<void(const base::JsonValue& event)> hook);

  // QEMU's version from the greeting, "7.2.22".
  const std::string& qemu_version() const;

 private:
  struct State;
  explicit Qmp(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace orkestr::vm
