#include "remote/pipe.hpp"

#include <algorithm>

namespace orkestr::remote {

namespace {

// So many items wait exactly as they came. Beyond that output joins the last item of its own stream, past one of the
// other, so that a guest that alternates between them byte by byte cannot multiply the window by the cost of an item.
constexpr std::size_t kMaxExactItems = 256;

// What an item counts as, of the window. An event costs something even where it brings little.
std::size_t weight_of(const StreamItem& item) {
  if (item.kind != StreamItem::Kind::code) return item.data.size();
  const CodeEvent& event = *item.code;
  std::size_t bytes = sizeof(CodeEvent) + event.text.size() + event.error.value.size() + bytes_of(event.result);
  for (const std::string& line : event.error.traceback) bytes += sizeof(std::string) + line.size();
  return bytes;
}

}  // namespace

std::size_t bytes_of(const CodeResult& result) {
  std::size_t bytes = 0;
  for (const auto* form : {&result.text, &result.html, &result.png, &result.json, &result.chart}) {
    if (*form) bytes += (*form)->size();
  }
  return bytes;
}

void Pipe::set_hooks(Hooks hooks) {
  std::lock_guard lock(mutex_);
  if (!ended_) hooks_ = std::move(hooks);
}

std::function<void()> Pipe::hook_of(std::function<void()> Hooks::*member) {
  std::lock_guard lock(mutex_);
  return ended_ ? nullptr : hooks_.*member;
}

void Pipe::signal() {
  Hook hook;
  {
    std::lock_guard lock(mutex_);
    hook = ready_;
  }
  if (hook && *hook) (*hook)();
}

bool Pipe::has_room() {
  std::lock_guard lock(mutex_);
  if (buffered_ < kWindowBytes) return true;
  starved_producer_ = true;
  return false;
}

void Pipe::deliver(OutputStream stream, std::string_view bytes) {
  if (bytes.empty()) return;
  gather(stream, bytes);
  signal();
}

void Pipe::gather(OutputStream stream, std::string_view bytes) {
  std::lock_guard lock(mutex_);
  if (ended_) return;
  buffered_ += bytes.size();
  // Small pieces are put together while nobody takes them.
  const std::size_t looked_at = std::min<std::size_t>(items_.size() < kMaxExactItems ? 1 : 2, items_.size());
  for (std::size_t i = 1; i <= looked_at; ++i) {
    auto& last = items_[items_.size() - i];
    if (!last || last->kind != StreamItem::Kind::output || last->stream != stream) continue;
    if (last->data.size() + bytes.size() > kPieceBytes) continue;
    last->data += bytes;
    return;
  }
  StreamItem item;
  item.stream = stream;
  item.data = bytes;
  items_.emplace_back(std::move(item));
}

void Pipe::deliver(CodeEvent event) {
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    StreamItem item;
    item.kind = StreamItem::Kind::code;
    item.code = std::make_unique<CodeEvent>(std::move(event));
    buffered_ += weight_of(item);
    items_.emplace_back(std::move(item));
  }
  signal();
}

void Pipe::end(Result<StreamItem> item) {
  Hooks dropped;  // outside the lock: they hold the producer
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    ended_ = true;
    items_.push_back(std::move(item));
    input_.clear();
    input_at_ = 0;
    dropped = std::exchange(hooks_, {});
  }
  signal();
}

void Pipe::finish(CommandEnd end_of_command) {
  StreamItem item;
  item.kind = StreamItem::Kind::end;
  item.end = std::move(end_of_command);
  end(std::move(item));
}

void Pipe::fail(Error error) { end(std::move(error)); }

void Pipe::set_pid(std::int64_t pid) {
  std::lock_guard lock(mutex_);
  pid_ = pid;
}

std::size_t Pipe::take_input(char* to, std::size_t size) {
  std::size_t count = 0;
  {
    std::lock_guard lock(mutex_);
    count = std::min(size, input_.size() - input_at_);
    std::copy_n(input_.data() + input_at_, count, to);
    input_at_ += count;
    if (input_at_ == input_.size()) {
      input_.clear();
      input_at_ = 0;
    }
  }
  if (count > 0) signal();
  return count;
}

bool Pipe::input_ended() {
  std::lock_guard lock(mutex_);
  return input_over_ && input_.empty();
}

void Pipe::accept_input() {
  std::lock_guard lock(mutex_);
  takes_input_ = true;
}

std::optional<Result<StreamItem>> Pipe::take() {
  std::optional<Result<StreamItem>> item;
  std::function<void()> room;
  {
    std::lock_guard lock(mutex_);
    if (items_.empty()) return std::nullopt;
    item.emplace(std::move(items_.front()));
    items_.pop_front();
    if (*item) buffered_ -= weight_of(**item);
    if (starved_producer_ && buffered_ <= kWindowBytes / 2) {
      starved_producer_ = false;
      if (!ended_) room = hooks_.on_room;
    }
  }
  if (room) room();
  return item;
}

bool Pipe::readable() const {
  std::lock_guard lock(mutex_);
  return !items_.empty();
}

std::int64_t Pipe::pid() const {
  std::lock_guard lock(mutex_);
  return pid_;
}

bool Pipe::finished() const {
  std::lock_guard lock(mutex_);
  return ended_;
}

std::size_t Pipe::offer(std::string_view bytes) {
  std::size_t count = 0;
  std::function<void()> hook;
  {
    std::lock_guard lock(mutex_);
    if (!takes_input_ || input_over_ || ended_) return 0;
    const std::size_t waiting = input_.size() - input_at_;
    count = std::min(bytes.size(), kWindowBytes - std::min(waiting, kWindowBytes));
    if (count == 0) return 0;
    // Room in front is used again rather than growing without end.
    if (input_at_ > kWindowBytes) {
      input_.erase(0, input_at_);
      input_at_ = 0;
    }
    input_ += bytes.substr(0, count);
    hook = hooks_.on_input;
  }
  if (hook) hook();
  return count;
}

void Pipe::end_input() {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(input_over_, true)) return;
  }
  if (const auto hook = hook_of(&Hooks::on_input)) hook();
}

void Pipe::cancel() {
  if (const auto hook = hook_of(&Hooks::on_cancel)) hook();
}

void Pipe::abandon() {
  const auto hook = hook_of(&Hooks::on_abandon);
  {
    std::lock_guard lock(mutex_);
    ready_ = nullptr;
  }
  if (hook) hook();
}

void Pipe::on_ready(std::function<void()> hook) {
  bool now = false;
  {
    std::lock_guard lock(mutex_);
    ready_ = hook ? std::make_shared<const std::function<void()>>(std::move(hook)) : nullptr;
    now = ready_ && (!items_.empty() || takes_input_);
  }
  if (now) signal();
}

}  // namespace orkestr::remote
