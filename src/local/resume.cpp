#include "local/resume.hpp"

#include <fmt/format.h>

#include <utility>

#include "registry/registry.hpp"

namespace orkestr::local {
namespace {
constexpr auto kPoll = std::chrono::milliseconds(5);
}

void Resume::look() {
  if (!done_) return;
  auto entry = registry::inspect(sandboxes_dir_, sandbox_id_);
  if (!entry) return finish(entry.error());
  const registry::Record& record = entry->record;
  if (record.ended()) {
    return finish(Error(ErrorCode::not_ready, fmt::format("sandbox {} has ended ({}); it cannot be resumed",
                                                          sandbox_id_, why_it_ended(record))));
  }
  if (record.status == "running") return finish(record);
  if (record.status != "paused") return look_again();  // starting, pausing, resuming: somebody is at it
  auto launch =
      make_launch_([self = shared_from_this()](Result<Launch::Made> made) { self->launched(std::move(made)); });
  if (!launch) return finish(launch.error());
  launch_ = std::move(*launch);
  launch_->begin();
}

void Resume::look_again() {
  if (deadline_.expired()) {
    return finish(
        Error(ErrorCode::not_ready,
              fmt::format("sandbox {}: another process is pausing or resuming it, and does not finish; try again",
                          sandbox_id_)));
  }
  loop_.reactor().add_timer(kPoll, [self = shared_from_this()] { self->look(); });
}

void Resume::launched(Result<Launch::Made> made) {
  launch_.reset();
  if (made) return finish(std::move(made->record));
  // Another process was faster, or it has just been terminated: the record will say.
  if (made.error().code() == ErrorCode::not_ready) return look_again();
  finish(made.error());
}

void Resume::cancel() {
  loop_.post([self = shared_from_this()] {
    self->finish(Error(ErrorCode::cancelled, fmt::format("resume sandbox {}: cancelled", self->sandbox_id_)));
  });
}

void Resume::finish(Result<registry::Record> result) {
  if (auto done = std::exchange(done_, nullptr)) done(std::move(result));
}

}  // namespace orkestr::local
