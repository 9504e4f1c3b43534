#include "local/launch.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include "base/build_stamp.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "orkestr/version.hpp"

namespace orkestr::local {
namespace {

constexpr auto kCreatePatience = std::chrono::milliseconds(180'000);
// A member of the warm pool is ready or it is not: whoever waits longer had better make a sandbox himself.
constexpr auto kClaimPatience = std::chrono::milliseconds(10'000);
constexpr auto kAcknowledgePatience = std::chrono::milliseconds(10'000);
constexpr auto kExitPatience = std::chrono::milliseconds(200);

Error vm_error(std::string stage, std::string message) {
  ErrorDetails details;
  details.stage = std::move(stage);
  return Error(ErrorCode::vm_failed, std::move(message), details);
}

}  // namespace

Result<StartedSupervisor> start_supervisor(const std::string& program) {
  ORKESTR_TRY(auto ends, base::socket_pair(SOCK_STREAM));
  base::ChildOptions options;
  options.argv = {program, fmt::format("--stamp={}", base::kBuildStamp)};
  options.cwd = "/";
  options.fds = {{ends.second.get(), 3}};
  StartedSupervisor started;
  auto child = base::Child::start(options);
  if (!child) return vm_error("start supervisor", child.error().with_context("start the supervisor").message());
  started.child = std::move(*child);
  started.socket = std::move(ends.first);
  return started;
}

Launch::Launch(IoLoop& loop, ForkLedger& ledger, StartedSupervisor supervisor, wire::StartRequest request,
               std::string sandbox_id, Completion<Made> done)
    : loop_(loop),
      ledger_(ledger),
      supervisor_(std::move(supervisor)),
      request_(std::move(request)),
      sandbox_id_(std::move(sandbox_id)),
      done_(std::move(done)),
      what_(request_.purpose == "resume"     ? "resume sandbox " + sandbox_id_
            : request_.purpose == "snapshot" ? "make the snapshot"
                                             : "create sandbox") {}

void Launch::begin() {
  if (!done_) return;  // cancelled before it began
  const auto self = shared_from_this();
  auto connection = Connection::create(loop_, ledger_, std::move(supervisor_.socket),
                                       [weak = weak_from_this()](Error reason, std::vector<std::shared_ptr<Call>>) {
                                         if (auto launch = weak.lock()) launch->finish(launch->explain_loss(reason));
                                       });
  if (!connection) return finish(connection.error());
  connection_ = std::move(*connection);
  CallRequest request;
  request.type = wire::Type::start;
  request.payload = request_.encode();
  request.patience = {request_.pool_key.empty() ? kCreatePatience + extra_patience_ : kClaimPatience, false};
  request.what = what_;
  call_ = std::make_shared<Call>(loop_, std::move(request));
  // The connection holds the call, the call holds this launch until its answer.
  connection_->open(call_, self);
  call_->on_ready([weak = weak_from_this()] {
    if (auto launch = weak.lock()) launch->answered();
  });
}

void Launch::answered() {
  while (done_ && call_) {
    auto outcome = call_->take();
    if (!outcome) return;
    if (!*outcome) {
      const Error& error = outcome->error();
      if (error.code() == ErrorCode::connection) {
        return finish(vm_error(stage_, fmt::format("{} (last reported stage: {})", error.message(), stage_)));
      }
      return finish(error);
    }
    Call::Piece& piece = **outcome;
    if (piece.kind == Call::Piece::Kind::progress) {
      if (auto progress = wire::ProgressMessage::decode(piece.data)) {
        stage_ = progress->stage;
        if (on_progress_) on_progress_(*progress);
      }
    } else if (piece.kind == Call::Piece::Kind::end) {
      return made(piece.data);
    }
  }
}

void Launch::made(const std::string& payload) {
  auto message = wire::RecordMessage::decode(payload);
  if (!message) return finish(message.error());
  auto record = registry::Record::from_json(message->record);
  if (!record) return finish(record.error());
  if (record->id != sandbox_id_) {
    return finish(
        vm_error(stage_, fmt::format("the supervisor was asked for sandbox {} and made {}", sandbox_id_, record->id)));
  }
  if (request_.purpose == "snapshot") return finish(Made{*record, nullptr});
  CallRequest request;
  request.type = wire::Type::acknowledge;
  request.patience = {kAcknowledgePatience, false};
  request.what = "take over the new sandbox";
  call_ = std::make_shared<Call>(loop_, std::move(request));
  connection_->open(call_, shared_from_this());
  call_->on_ready([weak = weak_from_this(), record = std::move(*record)] {
    auto launch = weak.lock();
    auto outcome = launch && launch->call_ ? launch->call_->take() : std::nullopt;
    if (!outcome) return;
    if (!*outcome) return launch->finish(outcome->error());
    launch->acknowledged(record);
  });
}

void Launch::acknowledged(const registry::Record& record) {
  auto link = std::make_shared<Link>(loop_, ledger_, request_.sandboxes_dir, sandbox_id_);
  link->adopt(std::exchange(connection_, nullptr));
  finish(Made{record, std::move(link)});
}

void Launch::cancel() {
  loop_.post([self = shared_from_this()] {
    self->finish(Error(ErrorCode::cancelled, self->what_ + ": cancelled; what was half made is gone"));
  });
}

Error Launch::explain_loss(const Error& reason) {
  if (connection_ && connection_->established()) {
    return vm_error(stage_, fmt::format("{}: the supervisor ended during '{}' ({})", what_, stage_, reason.message()));
  }
  if (!supervisor_.child) return vm_error("start supervisor", what_ + ": " + reason.message());
  // It never spoke: its first process tells by its exit code whether it could begin at all.
  auto status = supervisor_.child.wait(base::Deadline::after(kExitPatience));
  const std::string how = status && *status ? (*status)->to_string() : "it is still running";
  return vm_error("start supervisor",
                  fmt::format("{}: the supervisor did not answer ({}; {}); if it was upgraded under this "
                              "program, restart the program",
                              what_, reason.message(), how));
}

void Launch::finish(Result<Made> result) {
  if (!done_) return;
  const auto self = shared_from_this();
  auto done = std::exchange(done_, nullptr);
  call_.reset();
  if (connection_) connection_->close();
  connection_.reset();
  supervisor_.socket.reset();
  if (supervisor_.child) {
    // It forked and exited long ago; what is not reaped within the moment the destructor kills and reaps.
    (void)supervisor_.child.wait(base::Deadline::after(result ? kExitPatience : std::chrono::milliseconds(0)));
  }
  done(std::move(result));
}

}  // namespace orkestr::local
