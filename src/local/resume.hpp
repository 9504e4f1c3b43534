// Bringing one paused sandbox back, or finding that somebody else does: two processes that resume one id get the same
// running sandbox.
//
// Belongs to the I/O thread, but cancel(). Holds itself until it is done.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "backend.hpp"
#include "base/deadline.hpp"
#include "local/launch.hpp"

namespace orkestr::local {

class Resume : public std::enable_shared_from_this<Resume> {
 public:
  // Starts the supervisor for it. Synchronous, some milliseconds.
  using MakeLaunch = std::function<Result<std::shared_ptr<Launch>>(Completion<Launch::Made>)>;

  // `done` gets the record of the running sandbox. not_ready when it has ended; what the launch says otherwise.
  Resume(IoLoop& loop, std::string sandboxes_dir, std::string sandbox_id, MakeLaunch make_launch,
         Completion<registry::Record> done)
      : loop_(loop),
        sandboxes_dir_(std::move(sandboxes_dir)),
        sandbox_id_(std::move(sandbox_id)),
        make_launch_(std::move(make_launch)),
        done_(std::move(done)) {}

  void begin() { look(); }
  void shut_down(const Error& reason) { finish(reason); }
  // Any thread. A resume that has begun goes on: the sandbox is then running, and nobody waits for it.
  void cancel();

 private:
  void look();
  void look_again();
  void launched(Result<Launch::Made> made);
  void finish(Result<registry::Record> result);

  IoLoop& loop_;
  const std::string sandboxes_dir_;
  const std::string sandbox_id_;
  const MakeLaunch make_launch_;
  Completion<registry::Record> done_;
  // As long as a start may take, twice: for one that another process began, and fails.
  const base::Deadline deadline_ = base::Deadline::after(std::chrono::seconds(240));
  std::shared_ptr<Launch> launch_;
};

}  // namespace orkestr::local
