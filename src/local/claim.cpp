#include "local/claim.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/id.hpp"
#include "registry/registry.hpp"

namespace orkestr::local {
namespace {

// How long a new member leaves the processors to the sandbox that took the one before.
constexpr auto kMemberDelay = std::chrono::milliseconds(1000);
constexpr auto kReapAfter = std::chrono::seconds(1);

}  // namespace

void Claim::next() {
  while (done_ && !view_.ready.empty()) {
    const std::string member = std::move(view_.ready.back());
    view_.ready.pop_back();
    auto socket = registry::connect(view_.order.pool_dir, member);
    if (!socket || !*socket) continue;
    prepared_.request.pool_key = view_.order.request.pool_key;
    return launch({{}, std::move(**socket)}, [self = shared_from_this()](Result<Launch::Made> made) {
      self->launch_.reset();
      if (made || made.error().code() == ErrorCode::cancelled) return self->finish(std::move(made));
      self->next();
    });
  }
  if (done_) make_ordinarily();
}

void Claim::make_ordinarily() {
  prepared_.request.pool_key.clear();
  auto supervisor = start_supervisor(view_.order.supervisor);
  if (!supervisor) return finish(supervisor.error());
  launch(std::move(*supervisor), [self = shared_from_this()](Result<Launch::Made> made) {
    self->launch_.reset();
    self->finish(std::move(made));
  });
}

void Claim::launch(StartedSupervisor supervisor, Completion<Launch::Made> then) {
  if (std::exchange(id_is_used_, true)) prepared_.record.id = base::make_sandbox_id();
  prepared_.request.record = prepared_.record.to_json();
  launch_ = std::make_shared<Launch>(loop_, ledger_, std::move(supervisor), prepared_.request, prepared_.record.id,
                                     std::move(then));
  launch_->begin();
}

void Claim::shut_down(const Error& reason) {
  if (const auto launch = std::exchange(launch_, nullptr)) launch->shut_down(reason);
  finish(reason);
}

void Claim::cancel() {
  loop_.post([self = shared_from_this()] {
    self->shut_down(Error(ErrorCode::cancelled, "create sandbox: cancelled; what was half made is gone"));
  });
}

void Claim::finish(Result<Launch::Made> result) {
  if (auto done = std::exchange(done_, nullptr)) done(std::move(result));
}

void PoolKeeper::fill(const PoolOrder& order) {
  auto started = start_members(order, kMemberDelay);
  if (started.processes.empty()) return;
  for (auto& process : started.processes) processes_.push_back(std::move(process));
  reap_later();
}

// They exit at once: the members are their children.
void PoolKeeper::reap_later() {
  loop_->reactor().add_timer(kReapAfter, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    std::erase_if(self->processes_, [](base::Child& process) {
      const auto status = process.wait(base::Deadline::after(std::chrono::seconds(0)));
      return !status || status->has_value();
    });
    if (!self->processes_.empty()) self->reap_later();
  });
}

void PoolKeeper::shut_down() {
  for (auto& process : processes_) (void)process.wait(base::Deadline::after(kReapAfter));
  processes_.clear();
}

}  // namespace orkestr::local
