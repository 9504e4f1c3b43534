#include "guest/operations.hpp"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "base/try.hpp"
#include "guest/files.hpp"
#include "guest/stats.hpp"

namespace orkestr::guest {
namespace {

// Frames sent in one turn of the loop.
constexpr int kFramesPerTurn = 16;
constexpr std::size_t kMaxAnswered = wire::kMaxOperations;

Error broken(const wire::Frame& frame, std::string_view what) {
  return Error(ErrorCode::connection,
               fmt::format("operation {}: {} ({})", frame.id, what, wire::to_string(frame.type)));
}

}  // namespace

Result<void> Operations::on_frame(const wire::Frame& frame) {
  switch (frame.type) {
    case wire::Type::ping:
      services_.link.send(wire::OutFrame(wire::Type::pong, 0, frame.payload), wire::Lane::control);
      return {};
    case wire::Type::pong:
    case wire::Type::error:  // the peer says why it is about to end the connection
      return {};
    case wire::Type::data:
      return on_data(frame);
    case wire::Type::credit:
      return on_credit(frame);
    case wire::Type::cancel:
      on_cancel(frame);
      return {};
    case wire::Type::resize:
      return on_resize(frame);
    default:
      return open(frame);
  }
}

Result<void> Operations::open(const wire::Frame& frame) {
  if (open_.count(frame.id) != 0) return broken(frame, "its id is in use");
  if (open_.size() >= wire::kMaxOperations) return broken(frame, "too many operations are open");
  return start(frame);
}

Result<void> Operations::start(const wire::Frame& frame) {
  switch (frame.type) {
    case wire::Type::configure: {
      ORKESTR_TRY(const auto request, wire::ConfigureRequest::decode(frame.payload));
      answer(frame.id, configure_(request));
      return {};
    }
    case wire::Type::exec: {
      ORKESTR_TRY(auto request, wire::ExecRequest::decode(frame.payload));
      const Key key = next_key_++;
      keep(frame.id, key, Exec::start(services_, frame.id, std::move(request), [this, key] { make_runnable(key); }));
      return {};
    }
    case wire::Type::command_start:
      return start_background(frame);
    case wire::Type::command_list:
      if (!frame.payload.empty()) return broken(frame, "bytes where none belong");
      keep(frame.id, next_key_++, Result(std::make_unique<Reply>(services_.link, frame.id, list_commands())));
      return {};
    case wire::Type::command_get:
    case wire::Type::command_kill:
    case wire::Type::command_logs:
    case wire::Type::command_follow:
      return on_command(frame);
    case wire::Type::stats: {
      const auto stats = memory_stats();
      if (!stats) {
        answer_error(frame.id, stats.error());
      } else {
        services_.link.send(wire::OutFrame(wire::Type::result, frame.id, stats->encode()), wire::Lane::stream);
      }
      return {};
    }
    default:
      return start_file(frame);
  }
}

Result<void> Operations::start_background(const wire::Frame& frame) {
  ORKESTR_TRY(auto request, wire::CommandStartRequest::decode(frame.payload));
  auto command = commands_.start(std::move(request));
  if (!command) {
    answer_error(frame.id, command.error());
  } else {
    services_.link.send(wire::OutFrame(wire::Type::result, frame.id, (*command)->message().encode()),
                        wire::Lane::stream);
  }
  return {};
}

Result<void> Operations::on_command(const wire::Frame& frame) {
  ORKESTR_TRY(const auto request, wire::CommandRequest::decode(frame.payload));
  auto found = commands_.find(request.id);
  if (!found) {
    answer_error(frame.id, found.error());
    return {};
  }
  const Key key = next_key_++;
  const Wake wake = [this, key] { make_runnable(key); };
  switch (frame.type) {
    case wire::Type::command_get:
      services_.link.send(wire::OutFrame(wire::Type::result, frame.id, (*found)->message().encode()),
                          wire::Lane::stream);
      return {};
    case wire::Type::command_kill:
      keep(frame.id, key, Result(std::make_unique<CommandKill>(services_.link, frame.id, *found, wake)));
      return {};
    default: {
      const auto kind = frame.type == wire::Type::command_logs ? LogRead::Kind::logs : LogRead::Kind::follow;
      keep(frame.id, key, Result(std::make_unique<LogRead>(services_, frame.id, kind, *found, request, wake)));
      return {};
    }
  }
}

std::string Operations::list_commands() const {
  std::string list;
  for (const auto& command : commands_.all()) {
    const std::string message = command->message().encode();
    char length[4];
    wire::store_u32(length, static_cast<std::uint32_t>(message.size()));
    list.append(length, sizeof length).append(message);
  }
  return list;
}

Result<void> Operations::start_file(const wire::Frame& frame) {
  ORKESTR_TRY(const auto request, wire::FileRequest::decode(frame.payload));
  const std::uint32_t id = frame.id;
  Link& link = services_.link;
  switch (frame.type) {
    case wire::Type::file_read:
      keep(id, next_key_++, FileRead::start(link, id, request));
      return {};
    case wire::Type::file_write:
      keep(id, next_key_++, FileWrite::start(link, id, request));
      return {};
    case wire::Type::file_list:
      keep(id, next_key_++, FileList::start(link, id, request));
      return {};
    case wire::Type::file_stat: {
      auto info = stat_file(request.path);
      if (!info) {
        answer_error(id, info.error());
      } else {
        link.send(wire::OutFrame(wire::Type::result, id, info->encode()), wire::Lane::stream);
      }
      return {};
    }
    case wire::Type::file_delete:
      answer(id, delete_file(request.path));
      return {};
    case wire::Type::file_mkdir:
      answer(id, make_directory(request));
      return {};
    case wire::Type::file_move:
      if (request.destination.empty()) return broken(frame, "the destination is missing");
      answer(id, move_file(request));
      return {};
    default:
      return broken(frame, "a request that the agent does not know");
  }
}

template <class T>
void Operations::keep(std::uint32_t id, Key key, Result<std::unique_ptr<T>> operation) {
  if (!operation) return answer_error(id, operation.error());
  open_[id] = key;
  entries_[key] = Entry{id, false, Operation(*std::move(operation))};
  make_runnable(key);
}

void Operations::answer(std::uint32_t id, const Result<void>& outcome) {
  if (!outcome) return answer_error(id, outcome.error());
  services_.link.send(wire::OutFrame(wire::Type::result, id), wire::Lane::stream);
}

void Operations::answer_error(std::uint32_t id, const Error& error) {
  services_.link.send(wire::OutFrame(wire::Type::error, id, wire::ErrorMessage::from(error).encode()),
                      wire::Lane::stream);
}

// Nothing for an id that is not open: its operation has ended, and the frame was on its way.
Operations::Entry* Operations::find(std::uint32_t id, Key* key) {
  auto known = open_.find(id);
  if (known == open_.end()) return nullptr;
  *key = known->second;
  return &entries_.at(known->second);
}

Result<void> Operations::on_data(const wire::Frame& frame) {
  Key key = 0;
  Entry* entry = find(frame.id, &key);
  if (entry == nullptr) return {};
  const bool fine = std::visit(
      [&](auto& operation) { return operation->on_input(frame.payload, frame.end_of_stream()); }, entry->operation);
  if (!fine) return broken(frame, "data that was not granted, or after its end");
  make_runnable(key);
  return {};
}

Result<void> Operations::on_credit(const wire::Frame& frame) {
  const auto bytes = wire::credit_of(frame);
  if (!bytes) return broken(frame, "a malformed grant");
  Key key = 0;
  Entry* entry = find(frame.id, &key);
  if (entry == nullptr) return {};
  const bool fine = std::visit([&](auto& operation) { return operation->on_credit(*bytes); }, entry->operation);
  if (!fine) return broken(frame, "more credit than may be granted");
  make_runnable(key);
  return {};
}

void Operations::on_cancel(const wire::Frame& frame) {
  Key key = 0;
  Entry* entry = find(frame.id, &key);
  if (entry == nullptr) return;
  std::visit([](auto& operation) { operation->cancel(); }, entry->operation);
  make_runnable(key);
}

Result<void> Operations::on_resize(const wire::Frame& frame) {
  ORKESTR_TRY(const auto size, wire::ResizeMessage::decode(frame.payload));
  Key key = 0;
  Entry* entry = find(frame.id, &key);
  if (entry == nullptr) return {};
  auto* exec = std::get_if<std::unique_ptr<Exec>>(&entry->operation);
  if (exec == nullptr || !(*exec)->resize(size)) return broken(frame, "it has no terminal");
  return {};
}

void Operations::on_established(const std::vector<wire::OutFrame>& lost) {
  adopt_commands(lost);
  open_.clear();
  entries_.clear();
  runnable_.clear();
}

// In the order they were started.
void Operations::adopt_commands(const std::vector<wire::OutFrame>& lost) {
  std::unordered_map<std::uint32_t, std::string> undelivered;
  for (const wire::OutFrame& frame : lost) {
    std::string& bytes = undelivered[frame.id()];
    if (frame.type() == wire::Type::data) bytes.append(frame.content());
  }
  for (const Answered& answered : std::exchange(answered_, {})) {
    if (const auto found = undelivered.find(answered.id); found != undelivered.end()) {
      commands_.adopt_ended(answered.exec, found->second);
    }
  }
  std::map<Key, Entry*> running;
  for (auto& [key, entry] : entries_) {
    if (std::holds_alternative<std::unique_ptr<Exec>>(entry.operation)) running[key] = &entry;
  }
  for (auto& [key, entry] : running) {
    commands_.adopt(std::move(std::get<std::unique_ptr<Exec>>(entry->operation)), undelivered[entry->id]);
  }
}

void Operations::make_runnable(Key key) {
  auto entry = entries_.find(key);
  if (entry == entries_.end() || entry->second.runnable) return;
  entry->second.runnable = true;
  runnable_.push_back(key);
}

void Operations::pump() {
  if (!answered_.empty() && services_.link.all_sent()) answered_.clear();
  commands_.pump();
  for (int i = 0; i < kFramesPerTurn && can_send(); ++i) run_one();
}

void Operations::run_one() {
  const Key key = runnable_.front();
  runnable_.pop_front();
  auto entry = entries_.find(key);
  if (entry == entries_.end()) return;
  entry->second.runnable = false;
  const bool more = std::visit([](auto& operation) { return operation->produce(); }, entry->second.operation);
  if (std::visit([](auto& operation) { return operation->finished(); }, entry->second.operation)) {
    auto known = open_.find(entry->second.id);
    if (known != open_.end() && known->second == key) open_.erase(known);
    if (const auto* exec = std::get_if<std::unique_ptr<Exec>>(&entry->second.operation)) {
      if (answered_.size() >= kMaxAnswered) answered_.pop_front();
      answered_.push_back({entry->second.id, (*exec)->ended()});
    }
    entries_.erase(entry);
  } else if (more) {
    make_runnable(key);
  }
}

}  // namespace orkestr::guest
