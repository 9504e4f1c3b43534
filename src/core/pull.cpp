#include "core/pull.hpp"

namespace orkestr::core {

Pull::Pull(std::shared_ptr<SandboxImpl> sandbox, std::unique_ptr<Stream> stream, std::optional<InputFeeder> input)
    : sandbox_(std::move(sandbox)), shared_(std::make_shared<Shared>()) {
  shared_->stream = std::move(stream);
  shared_->input = std::move(input);
  Stream* raw = shared_->stream.get();
  raw->on_ready([weak = std::weak_ptr<Shared>(shared_)] {
    auto shared = weak.lock();
    if (!shared) return;
    if (shared->input) {
      std::lock_guard lock(shared->mutex);
      if (shared->stream) shared->input->feed(*shared->stream);
    }
    shared->waiter.signal();
    shared->room.signal();
  });
}

Pull::~Pull() {
  if (!forked()) {
    close();
    return;
  }
  static_cast<void>(std::make_unique<std::shared_ptr<Shared>>(std::move(shared_)).release());
}

std::int64_t Pull::pid() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->stream ? shared_->stream->pid() : 0;
}

void Pull::cancel() {
  std::lock_guard lock(shared_->mutex);
  if (shared_->stream) shared_->stream->cancel();
}

void Pull::close() {
  std::unique_ptr<Stream> dropped;  // outside the lock
  std::lock_guard lock(shared_->mutex);
  dropped = std::move(shared_->stream);
  shared_->waiter.set_readable(true);
  shared_->room.signal();
}

std::optional<Result<StreamItem>> Pull::next(base::Deadline deadline) {
  if (!shared_->stream) return std::nullopt;
  while (true) {
    shared_->waiter.arm();
    auto item = shared_->stream->take();
    if (item) {
      shared_->waiter.set_readable(shared_->stream->readable());
      // What came between the look and the setting signals again; what came before is seen by looking once more.
      if (shared_->stream->readable()) shared_->waiter.set_readable(true);
      return item;
    }
    shared_->waiter.set_readable(false);
    if (shared_->stream->readable()) {
      shared_->waiter.set_readable(true);
      continue;
    }
    if (!shared_->waiter.wait(deadline)) return std::nullopt;
  }
}

std::optional<Result<StreamItem>> Pull::offer_some(std::string_view bytes, std::size_t& taken,
                                                   base::Deadline deadline) {
  taken = 0;
  while (!bytes.empty()) {
    shared_->waiter.arm();
    shared_->waiter.set_readable(false);  // what happens from here on says it again
    if (auto item = shared_->stream->take()) return item;
    taken = shared_->stream->offer(bytes);
    if (taken > 0 || !shared_->waiter.wait(deadline)) break;
  }
  return std::nullopt;
}

std::optional<Result<StreamItem>> Pull::offer_all(std::string_view bytes, base::Deadline deadline) {
  while (!bytes.empty()) {
    std::size_t taken = 0;
    if (auto early = offer_some(bytes, taken, deadline)) return early;
    if (taken == 0) return Result<StreamItem>(Error(ErrorCode::connection, "the sandbox took no bytes in time"));
    bytes.remove_prefix(taken);
  }
  return std::nullopt;
}

Result<std::size_t> Pull::write_some(std::string_view bytes, base::Deadline deadline) {
  while (!bytes.empty()) {
    shared_->room.arm();
    {
      std::lock_guard lock(shared_->mutex);
      if (!shared_->stream) return Error(ErrorCode::not_ready, "write: the stream was closed");
      if (shared_->input->ends()) {
        return Error(ErrorCode::invalid_argument,
                     "write: the input has ended with close_input(); nothing can follow it");
      }
      if (shared_->stream->finished()) break;
      const bool my_turn = shared_->input->feed(*shared_->stream);
      if (const std::size_t taken = my_turn ? shared_->stream->offer(bytes) : 0; taken > 0) return taken;
    }
    if (!shared_->room.wait(deadline)) return std::size_t{0};
  }
  return bytes.size();
}

void Pull::end_input() {
  std::lock_guard lock(shared_->mutex);
  if (!shared_->stream || !shared_->input) return;
  shared_->input->end_after_all();
  shared_->input->feed(*shared_->stream);
  shared_->room.signal();
}

void Pull::resize(int cols, int rows) {
  std::lock_guard lock(shared_->mutex);
  if (shared_->stream) shared_->stream->resize(cols, rows);
}

// At first it is: what happened before there was a descriptor is not known.
int Pull::fd_for_room() { return shared_->waiter.fd(true); }
int Pull::fd() { return shared_->waiter.fd(!shared_->stream || shared_->stream->readable()); }

}  // namespace orkestr::core
