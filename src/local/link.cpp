#include "local/link.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include "base/file.hpp"
#include "base/try.hpp"

namespace orkestr::local {
namespace {

constexpr auto kPollDeath = std::chrono::milliseconds(2);
constexpr auto kExplainPatience = std::chrono::seconds(1);
constexpr auto kFullQueuePause = std::chrono::milliseconds(5);
constexpr auto kRetryTerminate = std::chrono::milliseconds(50);

}  // namespace

std::string why_it_ended(const registry::Record& record) {
  return record.end_reason.empty() ? record.status : record.end_reason;
}

Link::~Link() {
  if (connection_ && !loop_.forked()) connection_->close();
}

void Link::adopt(std::shared_ptr<Connection> connection) {
  connection_ = std::move(connection);
  connection_->set_on_lost(lost_handler());
  remember_lock();
}

Connection::LostHandler Link::lost_handler() {
  return [weak = weak_from_this()](Error reason, std::vector<std::shared_ptr<Call>> orphans) {
    if (auto self = weak.lock()) return self->lost(reason, std::move(orphans));
    for (const auto& call : orphans) call->fail(reason);
  };
}

// The lock file is opened while the sandbox lives: it can then be asked about also when its supervisor has removed it.
void Link::remember_lock() {
  auto lock = base::open_at(AT_FDCWD, fmt::format("{}/{}/{}", sandboxes_dir_, id_, registry::kLockFile), O_RDONLY);
  if (lock) lock_ = std::move(*lock);
}

Result<bool> Link::connect() {
  if (connection_ && !connection_->closed()) return true;
  connection_.reset();
  remember_lock();
  ORKESTR_TRY(auto socket, registry::connect(sandboxes_dir_, id_));
  if (!socket) return false;
  ORKESTR_TRY(connection_, Connection::create(loop_, ledger_, std::move(*socket), lost_handler()));
  return true;
}

void Link::submit(std::shared_ptr<Call> call) {
  if (explaining_ || connecting_) {
    waiting_.push_back(std::move(call));
    return;
  }
  const auto connected = connect();
  if (!connected && resume_for(call)) return;
  if (!connected) return call->fail(explain_refusal(connected.error()));
  if (!*connected) {
    waiting_.push_back(std::move(call));
    connecting_ = true;
    return connect_later(base::Deadline::after(patience_.connect));
  }
  const auto connection = connection_;
  connection->open(call, shared_from_this());
}

void Link::connect_later(base::Deadline deadline) {
  loop_.reactor().add_timer(kFullQueuePause, [self = shared_from_this(), deadline] {
    if (!self->connecting_) return;  // shut down meanwhile
    const auto connected = self->connect();
    if (connected && !*connected && !deadline.expired()) return self->connect_later(deadline);
    if (connected && *connected) return self->retry_waiting({});
    const Error reason = connected ? Error(ErrorCode::not_ready,
                                           fmt::format("sandbox {}: its supervisor took no connection within {} ms; it "
                                                       "may be overloaded or hung: try again, or terminate it",
                                                       self->id_, self->patience_.connect.count()))
                                   : connected.error();
    self->retry_waiting(self->explain_refusal(reason));
  });
}

void Link::retry_waiting(const Result<void>& reached) {
  connecting_ = false;
  for (auto& call : std::exchange(waiting_, {})) {
    if (reached) {
      submit(std::move(call));
    } else {
      call->fail(reached.error());
    }
  }
}

// True when the sandbox is paused, may be resumed for the sake of a call, and this is such a call: it waits.
bool Link::resume_for(const std::shared_ptr<Call>& call) {
  const auto type = call->request().type;
  if (!resume_ || type == wire::Type::terminate || type == wire::Type::pause || type == wire::Type::set_timeout) {
    return false;
  }
  const auto entry = registry::inspect(sandboxes_dir_, id_);
  if (!entry || !entry->record.auto_resume) return false;
  if (entry->record.status != "paused" && entry->record.status != "resuming") return false;
  waiting_.push_back(call);
  connecting_ = true;
  resume_([weak = weak_from_this()](const Result<void>& resumed) {
    if (auto self = weak.lock(); self && self->connecting_) self->retry_waiting(resumed);
  });
  return true;
}

// Also while the supervisor of one that was paused has not quite gone, or that of one being resumed is not ready.
std::optional<Error> Link::paused_error() const {
  const auto entry = registry::inspect(sandboxes_dir_, id_);
  if (!entry || (entry->record.status != "paused" && entry->record.status != "resuming")) return std::nullopt;
  return Error(ErrorCode::not_ready,
               fmt::format("sandbox {} is {}; resume it first, or create sandboxes with auto_resume", id_,
                           entry->record.status));
}

// The supervisor is not there: the record knows better than errno what became of the sandbox.
Error Link::explain_refusal(const Error& reason) const {
  if (auto paused = paused_error()) return std::move(*paused);
  if (held()) return reason;
  auto entry = registry::inspect(sandboxes_dir_, id_);
  if (!entry) return entry.error();
  if (!entry->record.ended()) return reason;
  return Error(ErrorCode::not_ready,
               fmt::format("sandbox {} has ended ({}); create another one", id_, why_it_ended(entry->record)));
}

void Link::lost(const Error& reason, std::vector<std::shared_ptr<Call>> orphans) {
  for (auto& call : orphans) orphans_.push_back(std::move(call));
  // A supervisor that dies closes its sockets a moment before its locks; one that breaks the rules lives.
  const auto patience = connection_ && connection_->peer_gone() ? kExplainPatience : std::chrono::seconds(0);
  connection_.reset();
  if (explaining_) return;
  explaining_ = true;
  await_death(base::Deadline::after(patience), [self = shared_from_this(), reason](bool) {
    self->explaining_ = false;
    const auto lost_calls = std::exchange(self->orphans_, {});
    self->explain(reason, lost_calls);
    for (auto& call : std::exchange(self->waiting_, {})) self->submit(std::move(call));
  });
}

void Link::explain(const Error& reason, const std::vector<std::shared_ptr<Call>>& orphans) {
  if (orphans.empty()) return;
  Error error(ErrorCode::connection,
              fmt::format("the connection to sandbox {} was lost ({}); the sandbox lives on: look at what "
                          "the operation did, then repeat it",
                          id_, reason.message()));
  if (auto paused = paused_error()) {
    error = std::move(*paused);
  } else if (!held()) {
    auto entry = registry::inspect(sandboxes_dir_, id_);
    if (!entry) {
      error = entry.error();
    } else if (entry->record.status == "failed") {
      ErrorDetails details;
      details.stage = "running";
      error =
          Error(ErrorCode::vm_failed, fmt::format("sandbox {} ended: {}", id_, why_it_ended(entry->record)), details);
    } else if (entry->record.ended()) {
      error = Error(ErrorCode::not_ready, fmt::format("sandbox {} ended: {}", id_, why_it_ended(entry->record)));
    }
  }
  for (const auto& call : orphans) call->fail(error.with_context(call->request().what));
}

bool Link::held() const {
  if (!lock_) return false;
  for (const auto byte : {registry::kSupervisorByte, registry::kQemuByte}) {
    const auto locked = base::is_byte_locked(lock_.get(), byte);
    if (locked && *locked) return true;
  }
  return false;
}

void Link::await_death(base::Deadline deadline, Then then) {
  const bool is_held = held();
  if (!is_held || deadline.expired()) {
    // Never from within the caller: what comes next may call back into this object.
    loop_.reactor().add_timer(std::chrono::nanoseconds(0), [then = std::move(then), is_held] { then(!is_held); });
    return;
  }
  loop_.reactor().add_timer(kPollDeath, [self = shared_from_this(), deadline, then = std::move(then)]() mutable {
    self->await_death(deadline, std::move(then));
  });
}

void Link::await_paused(std::function<void()> then) {
  auto waiting = std::make_shared<AwaitingPause>();
  waiting->deadline = base::Deadline::after(patience_.death);
  waiting->then = std::move(then);
  std::erase_if(awaiting_pause_, [](const auto& weak) { return weak.expired(); });
  awaiting_pause_.push_back(waiting);
  await_paused(waiting);
}

void Link::await_paused(const std::shared_ptr<AwaitingPause>& waiting) {
  if (!waiting->then) return;  // shut down meanwhile
  const bool here = held() || explaining_ || (connection_ && !connection_->closed());
  if (!here || waiting->deadline.expired()) return std::exchange(waiting->then, nullptr)();
  loop_.reactor().add_timer(kPollDeath, [self = shared_from_this(), waiting] { self->await_paused(waiting); });
}

void Link::terminate(Completion<registry::Record> done) {
  auto work = std::make_shared<Terminating>();
  work->answer = base::Deadline::after(patience_.terminate);
  work->done = std::move(done);
  std::erase_if(terminating_, [](const auto& weak) { return weak.expired(); });
  terminating_.push_back(work);
  ask_to_end(work);
}

void Link::ask_to_end(const std::shared_ptr<Terminating>& work) {
  if (!work->done) return;  // shut down meanwhile
  CallRequest request;
  request.type = wire::Type::terminate;
  request.patience = {std::chrono::ceil<std::chrono::milliseconds>(*work->answer.remaining()), false};
  request.what = "terminate sandbox " + id_;
  auto call = std::make_shared<Call>(loop_, std::move(request));
  call->on_ready([self = shared_from_this(), work, weak = std::weak_ptr<Call>(call)] {
    auto answered = weak.lock();
    auto outcome = answered ? answered->take() : std::nullopt;
    if (!outcome) return;
    self->asked_to_end(work, *outcome ? std::nullopt : std::optional<Error>(outcome->error()));
  });
  submit(call);
}

// Whatever the answer was, the locks and the record are what counts.
void Link::asked_to_end(const std::shared_ptr<Terminating>& work, const std::optional<Error>& refused) {
  const auto patience = base::Deadline::after(refused ? kRetryTerminate : patience_.death);
  await_death(patience, [self = shared_from_this(), work, refused](bool nobody_left) {
    if (!work->done) return;
    if (nobody_left && self->is_paused()) return self->end_paused(work);
    if (nobody_left) return self->ended(work);
    if (refused && !work->answer.expired()) return self->ask_to_end(work);
    self->end_by_force(work, refused ? refused->message() : "it answered, but a process of it is still there");
  });
}

bool Link::is_paused() const {
  const auto entry = registry::inspect(sandboxes_dir_, id_);
  return entry && !entry->record.ended() && !entry->alive;
}

// No process there to ask. False: somebody has begun to resume it, and then there is.
void Link::end_paused(const std::shared_ptr<Terminating>& work) {
  const auto over = registry::end_paused(sandboxes_dir_, id_, "terminated");
  if (!over) return not_ended(work, over.error().message());
  if (*over) return ended(work);
  if (work->answer.expired()) return not_ended(work, "it is being resumed, and that does not end");
  loop_.reactor().add_timer(kRetryTerminate, [self = shared_from_this(), work] { self->ask_to_end(work); });
}

void Link::end_by_force(const std::shared_ptr<Terminating>& work, const std::string& why) {
  auto killed = registry::kill_supervisor(lock_.get(), id_);
  if (!killed && registry::kill_qemu(lock_.get(), id_)) killed = {};
  if (!killed) return not_ended(work, fmt::format("{}; {}", why, killed.error().message()));
  await_death(base::Deadline::after(patience_.death), [self = shared_from_this(), work, why](bool nobody_left) {
    if (!work->done) return;
    // It hung while it resumed: that it was paused is as true as before.
    if (nobody_left && self->is_paused()) return self->end_paused(work);
    if (nobody_left) return self->ended(work);
    self->not_ended(work, why + "; killed, a process of it hangs in the kernel: see the host's dmesg");
  });
}

void Link::ended(const std::shared_ptr<Terminating>& work) {
  const auto done = std::exchange(work->done, nullptr);
  auto entry = registry::inspect(sandboxes_dir_, id_);
  if (entry) return done(std::move(entry->record));
  if (entry.error().code() != ErrorCode::not_found) return done(entry.error());
  registry::Record record;  // ended so long ago that its record is forgotten
  record.id = id_;
  record.status = "terminated";
  done(std::move(record));
}

void Link::not_ended(const std::shared_ptr<Terminating>& work, const std::string& why) {
  ErrorDetails details;
  details.stage = "terminate";
  std::exchange(work->done, nullptr)(
      Error(ErrorCode::vm_failed,
            fmt::format("terminate sandbox {}: it did not end ({}); its timeout will end it", id_, why), details));
}

void Link::shut_down(const Error& reason) {
  std::vector<std::shared_ptr<Call>> calls = std::exchange(orphans_, {});
  for (auto& call : std::exchange(waiting_, {})) calls.push_back(std::move(call));
  if (connection_) {
    for (auto& call : connection_->close()) calls.push_back(std::move(call));
  }
  connection_.reset();
  connecting_ = false;
  lock_.reset();
  for (auto& weak : std::exchange(terminating_, {})) {
    if (auto work = weak.lock(); work && work->done) std::exchange(work->done, nullptr)(reason);
  }
  for (auto& weak : std::exchange(awaiting_pause_, {})) {
    if (auto waiting = weak.lock(); waiting && waiting->then) std::exchange(waiting->then, nullptr)();
  }
  for (const auto& call : calls) call->fail(reason.with_context(call->request().what));
}

}  // namespace orkestr::local
