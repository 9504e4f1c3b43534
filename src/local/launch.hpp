// Making one sandbox: the supervisor process is started in the caller's thread, the conversation with it runs on the
// I/O thread: start → progress… → result → acknowledge. Until acknowledge the supervisor ends its sandbox when the
// connection goes; so dropping a launch leaves nothing behind.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "backend.hpp"
#include "base/child.hpp"
#include "base/unique_fd.hpp"
#include "local/connection.hpp"
#include "local/link.hpp"
#include "wire/message.hpp"

namespace orkestr::local {

// The supervisor's process (it forks once more and the first one exits at once), and our end of its socket.
struct StartedSupervisor {
  base::Child child;
  base::UniqueFd socket;
};

// posix_spawn of `program`, which finds its end of a socket pair as descriptor 3.
Result<StartedSupervisor> start_supervisor(const std::string& program);

class Launch : public std::enable_shared_from_this<Launch> {
 public:
  // The record of the sandbox, and the link to it, with the connection.
  struct Made {
    registry::Record record;
    std::shared_ptr<Link> link;
  };

  Launch(IoLoop& loop, ForkLedger& ledger, StartedSupervisor supervisor, wire::StartRequest request,
         std::string sandbox_id, Completion<Made> done);
  // What the supervisor reports meanwhile, on the I/O thread.
  void on_progress(std::function<void(const wire::ProgressMessage&)> hook) { on_progress_ = std::move(hook); }

  // For what takes longer the more there is of it.
  void be_patient(std::chrono::milliseconds extra) { extra_patience_ = extra; }

  // I/O thread.
  void begin();
  void shut_down(const Error& reason) { finish(reason); }
  // Any thread.
  void cancel();

 private:
  void answered();
  void made(const std::string& payload);
  void acknowledged(const registry::Record& record);
  void finish(Result<Made> result);
  Error explain_loss(const Error& reason);

  IoLoop& loop_;
  ForkLedger& ledger_;
  StartedSupervisor supervisor_;
  const wire::StartRequest request_;
  const std::string sandbox_id_;
  Completion<Made> done_;
  std::shared_ptr<Connection> connection_;
  std::shared_ptr<Call> call_;
  std::string stage_ = "start";  // the last one the supervisor reported
  const std::string what_;       // "create sandbox"
  std::chrono::milliseconds extra_patience_{0};
  std::function<void(const wire::ProgressMessage&)> on_progress_;
};

}  // namespace orkestr::local
