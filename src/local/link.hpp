// How one client reaches one sandbox: at most one connection, made at the first call, made anew when it was lost and
// the sandbox lives. When it was lost and the sandbox does not, the registry says why, and every waiting call is told.
//
// Belongs to the I/O thread; only the constants are read elsewhere. Held by its session and by every call that waits
// for an answer.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend.hpp"
#include "base/unique_fd.hpp"
#include "local/call.hpp"
#include "local/connection.hpp"
#include "registry/registry.hpp"

namespace orkestr::local {

struct LinkPatience {
  std::chrono::milliseconds connect{2'000};    // for room in the supervisor's queue of connections
  std::chrono::milliseconds terminate{5'000};  // for an answer; then the supervisor is taken for hung, and killed
  std::chrono::milliseconds death{10'000};     // for the end of its processes after that, or after an answer
};

class Link : public std::enable_shared_from_this<Link> {
 public:
  Link(IoLoop& loop, ForkLedger& ledger, std::string sandboxes_dir, std::string id, LinkPatience patience = {})
      : loop_(loop),
        ledger_(ledger),
        sandboxes_dir_(std::move(sandboxes_dir)),
        id_(std::move(id)),
        patience_(patience) {}
  ~Link();

  // What brings the sandbox back when it is found paused and says that it may be (auto_resume).
  void on_paused(std::function<void(Completion<void>)> resume) { resume_ = std::move(resume); }

  const std::string& id() const { return id_; }
  const std::string& sandboxes_dir() const { return sandboxes_dir_; }

  // Takes over the connection on which the sandbox was made.
  void adopt(std::shared_ptr<Connection> connection);
  void submit(std::shared_ptr<Call> call);
  // See Session::terminate.
  void terminate(Completion<registry::Record> done);
  // Once it has answered that it is paused: `then` when its processes are gone, and this connection has ended with all
  // that was on it.
  void await_paused(std::function<void()> then);
  // Everything that waits ends with `reason`; the connection is closed.
  void shut_down(const Error& reason);

 private:
  struct Terminating {
    base::Deadline answer = base::Deadline::never();
    Completion<registry::Record> done;
  };
  struct AwaitingPause {
    base::Deadline deadline = base::Deadline::never();
    std::function<void()> then;
  };
  using Then = std::function<void(bool nobody_left)>;

  // False: the supervisor's queue is full.
  Result<bool> connect();
  void connect_later(base::Deadline deadline);
  bool resume_for(const std::shared_ptr<Call>& call);
  void retry_waiting(const Result<void>& reached);
  void remember_lock();
  Connection::LostHandler lost_handler();
  void lost(const Error& reason, std::vector<std::shared_ptr<Call>> orphans);
  void explain(const Error& reason, const std::vector<std::shared_ptr<Call>>& orphans);
  Error explain_refusal(const Error& reason) const;
  // Looks at the lock file every few milliseconds until no process of the sandbox holds it, or the deadline.
  void await_death(base::Deadline deadline, Then then);
  bool held() const;
  void await_paused(const std::shared_ptr<AwaitingPause>& waiting);
  std::optional<Error> paused_error() const;

  void ask_to_end(const std::shared_ptr<Terminating>& work);
  void asked_to_end(const std::shared_ptr<Terminating>& work, const std::optional<Error>& refused);
  bool is_paused() const;
  void end_paused(const std::shared_ptr<Terminating>& work);
  void end_by_force(const std::shared_ptr<Terminating>& work, const std::string& why);
  void ended(const std::shared_ptr<Terminating>& work);
  void not_ended(const std::shared_ptr<Terminating>& work, const std::string& why);

  IoLoop& loop_;
  ForkLedger& ledger_;
  const std::string sandboxes_dir_;
  const std::string id_;
  const LinkPatience patience_;
  std::shared_ptr<Connection> connection_;
  base::UniqueFd lock_;  // of the sandbox: it answers also after the file is gone
  std::function<void(Completion<void>)> resume_;
  bool connecting_ = false;                     // waiting for room in the supervisor's queue, or for a resume
  bool explaining_ = false;                     // between the loss of a connection and knowing why
  std::vector<std::shared_ptr<Call>> waiting_;  // submitted meanwhile
  std::vector<std::shared_ptr<Call>> orphans_;  // had no answer when it was lost
  std::vector<std::weak_ptr<Terminating>> terminating_;
  std::vector<std::weak_ptr<AwaitingPause>> awaiting_pause_;
};

// What a final record says, for a person: "terminated", "timeout", …
std::string why_it_ended(const registry::Record& record);

}  // namespace orkestr::local
