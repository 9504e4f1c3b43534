#include "local/link.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include "base/file.hpp"
#include "base/try.hpp"

namespace orkestr::local {
namespace {

constexpr auto kPollDeath = std::chrono::milliseconds(2);
constexpr auto kExplainPatience = std::chrono::seconds(1);
constexpr auto kDeathPatience = std::chrono::seconds(10);
constexpr auto kTerminatePatience = std::chrono::seconds(30);
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

Result<void> Link::connect() {
  if (connection_ && !connection_->closed()) return {};
  connection_.reset();
  remember_lock();
  ORKESTR_TRY(auto socket, registry::connect(sandboxes_dir_, id_));
  ORKESTR_TRY(connection_, Connection::create(loop_, ledger_, std::move(socket), lost_handler()));
  return {};
}

void Link::submit(std::shared_ptr<Call> call) {
  if (explaining_) {
    waiting_.push_back(std::move(call));
    return;
  }
  if (auto connected = connect(); !connected) return call->fail(explain_refusal(connected.error()));
  const auto connection = connection_;
  connection->open(call, shared_from_this());
}

// The supervisor is not there: the record knows better than errno what became of the sandbox.
Error Link::explain_refusal(const Error& reason) const {
  if (held()) return reason;
  auto entry = registry::inspect(sandboxes_dir_, id_);
  if (!entry) return entry.error();
  if (!entry->record.ended()) return reason;
  return Error(ErrorCode::not_ready,
               fmt::format("sandbox {} has ended ({}); create another one", id_, why_it_ended(entry->record)));
}

void Link::lost(const Error& reason, std::vector<std::shared_ptr<Call>> orphans) {
  for (auto& call : orphans) orphans_.push_back(std::move(call));
  connection_.reset();
  if (explaining_) return;
  explaining_ = true;
  await_death(base::Deadline::after(kExplainPatience), [self = shared_from_this(), reason](bool) {
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
  if (!held()) {
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

void Link::terminate(Completion<registry::Record> done) {
  auto work = std::make_shared<Terminating>();
  work->deadline = base::Deadline::after(kTerminatePatience);
  work->done = std::move(done);
  std::erase_if(terminating_, [](const auto& weak) { return weak.expired(); });
  terminating_.push_back(work);
  ask_to_end(work);
}

void Link::ask_to_end(const std::shared_ptr<Terminating>& work) {
  if (!work->done) return;  // shut down meanwhile
  CallRequest request;
  request.type = wire::Type::terminate;
  request.patience = {std::chrono::milliseconds(kTerminatePatience), false};
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
  const auto patience = refused ? base::Deadline::after(kRetryTerminate) : base::Deadline::after(kDeathPatience);
  await_death(patience, [self = shared_from_this(), work, refused](bool nobody_left) {
    if (!work->done) return;
    if (nobody_left) {
      auto entry = registry::inspect(self->sandboxes_dir_, self->id_);
      if (entry) return std::exchange(work->done, nullptr)(std::move(entry->record));
      if (entry.error().code() == ErrorCode::not_found) {  // ended so long ago that its record is forgotten
        registry::Record record;
        record.id = self->id_;
        record.status = "terminated";
        return std::exchange(work->done, nullptr)(std::move(record));
      }
      return std::exchange(work->done, nullptr)(entry.error());
    }
    if (refused && !work->deadline.expired()) return self->ask_to_end(work);
    ErrorDetails details;
    details.stage = "terminate";
    const std::string answer = refused ? refused->message() : "it answered, but a process of it is still there";
    std::exchange(work->done, nullptr)(
        Error(ErrorCode::vm_failed,
              fmt::format("terminate sandbox {}: it did not end within {} s ({}); its timeout will end it", self->id_,
                          refused ? kTerminatePatience.count() : kDeathPatience.count(), answer),
              details));
  });
}

void Link::shut_down(const Error& reason) {
  std::vector<std::shared_ptr<Call>> calls = std::exchange(orphans_, {});
  for (auto& call : std::exchange(waiting_, {})) calls.push_back(std::move(call));
  if (connection_) {
    for (auto& call : connection_->close()) calls.push_back(std::move(call));
  }
  connection_.reset();
  lock_.reset();
  for (auto& weak : std::exchange(terminating_, {})) {
    if (auto work = weak.lock(); work && work->done) std::exchange(work->done, nullptr)(reason);
  }
  for (const auto& call : calls) call->fail(reason.with_context(call->request().what));
}

}  // namespace orkestr::local
