#include "supervisor/operations.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/try.hpp"
#include "supervisor/masking.hpp"

namespace orkestr::supervisor {
namespace {

using wire::Lane;
using wire::Type;

constexpr std::size_t kMaxGuestMessageBytes = wire::kMaxErrorTextBytes;

Error client_fault(const wire::Frame& frame, std::string_view what) {
  return Error(ErrorCode::connection,
               fmt::format("the client sent `{}` for operation {} {}", wire::to_string(frame.type), frame.id, what));
}

Error guest_fault(const wire::Frame& frame, std::string_view what) {
  return Error(ErrorCode::connection, fmt::format("the guest agent sent `{}` for operation {} {}",
                                                  wire::to_string(frame.type), frame.id, what));
}

// What a guest may claim. Anything else that it calls an error is `internal`.
std::string_view guest_error_code(std::string_view claimed) {
  constexpr ErrorCode kPlausible[] = {
      ErrorCode::internal,      ErrorCode::invalid_argument, ErrorCode::not_ready,       ErrorCode::file_not_found,
      ErrorCode::not_permitted, ErrorCode::is_a_directory,   ErrorCode::not_a_directory, ErrorCode::file_exists,
      ErrorCode::not_supported, ErrorCode::cancelled,        ErrorCode::rate_limited,    ErrorCode::not_found};
  for (const ErrorCode code : kPlausible) {
    if (to_string(code) == claimed) return to_string(code);
  }
  return to_string(ErrorCode::internal);
}

}  // namespace

Error still_starting() {
  return Error(ErrorCode::not_ready, "the sandbox is starting; wait until its status is `running`");
}

// --- from clients
// -----------------------------------------------------------------------------------------------------

Result<void> Operations::take_request_id(ClientId client, std::uint32_t id) {
  Peer& peer = peers_[client];
  if (id <= peer.last_id) {
    return Error(ErrorCode::connection,
                 fmt::format("the client opened operation {} after {}; ids must increase", id, peer.last_id));
  }
  peer.last_id = id;
  return {};
}

Result<void> Operations::from_client(ClientId client, const wire::Frame& frame, TimePoint now) {
  switch (frame.type) {
    case Type::data:
    case Type::credit:
    case Type::cancel:
    case Type::detach:
    case Type::resize:
      break;
    default:
      return open(client, frame, now);
  }
  const Peer& peer = peers_[client];
  const auto found = peer.open.find(frame.id);
  if (found == peer.open.end()) {
    if (frame.id <= peer.last_id) return {};  // it crossed with our final answer
    return client_fault(frame, "which does not exist yet");
  }
  const std::uint32_t id = found->second;
  Operation& operation = operations_.at(id);
  switch (frame.type) {
    case Type::data:
      return client_data(id, operation, frame);
    case Type::credit:
      return client_credit(id, operation, frame);
    case Type::cancel:
      client_cancel(id, operation, now);
      return {};
    case Type::resize:
      return client_resize(id, operation, frame);
    default:
      abandon(id, operation);
      return {};
  }
}

Result<void> Operations::open(ClientId client, const wire::Frame& frame, TimePoint now) {
  ORKESTR_CHECK(take_request_id(client, frame.id));
  if (refusal_) {
    answer_error(client, frame.id, *refusal_);
    return {};
  }
  if (operations_.size() >= wire::kMaxOperations) {
    answer_error(client, frame.id,
                 Error(ErrorCode::rate_limited, fmt::format("{} operations are open in this sandbox, which is the most "
                                                            "there can be; try again when some have ended",
                                                            operations_.size())));
    return {};
  }
  Operation operation;
  operation.client = client;
  operation.client_op = frame.id;
  operation.request = frame.type;
  operation.opened = now;
  auto request = read_request(frame, sandbox_env_);
  if (!request) {
    answer_error(client, frame.id, request.error());
    return {};
  }
  operation.has_input = request->has_input;
  operation.tty = request->tty;
  if (request->patience) operation.due = now + *request->patience;
  operation.command = std::move(request->command);
  operation.command_id = std::move(request->command_id);
  operation.path = std::move(request->path);
  operation.destination = std::move(request->destination);
  if (frame.type == Type::command_list) operation.list = ListCheck(ListCheck::Entry::command);
  const std::uint32_t id = fresh_id();
  outbox_.to_guest.push_back({wire::OutFrame(frame.type, id, request->payload), Lane::control});
  peers_[client].open.emplace(frame.id, id);
  operations_.emplace(id, std::move(operation));
  return {};
}

std::uint32_t Operations::fresh_id() {
  do {
    ++last_guest_id_;
  } while (last_guest_id_ == 0 || operations_.contains(last_guest_id_));
  return last_guest_id_;
}

Result<void> Operations::client_data(std::uint32_t id, Operation& operation, const wire::Frame& frame) {
  if (!operation.has_input) return client_fault(frame, "which takes no input");
  if (operation.input_ended) return client_fault(frame, "after its end");
  if (frame.payload.empty() && !frame.end_of_stream()) return client_fault(frame, "without a byte");
  if (frame.payload.size() > operation.input_credit) {
    return client_fault(
        frame, fmt::format("of {} bytes, with {} bytes of credit", frame.payload.size(), operation.input_credit));
  }
  const auto bytes = static_cast<std::uint32_t>(frame.payload.size());
  operation.input_credit -= bytes;
  operation.input_bytes += bytes;
  operation.input_ended = frame.end_of_stream();
  outbox_.to_guest.push_back(
      {wire::data_frame(id, wire::Stream::input, frame.payload, frame.end_of_stream()), Lane::stream});
  grant_input(operation);
  return {};
}

Result<void> Operations::client_credit(std::uint32_t id, Operation& operation, const wire::Frame& frame) {
  const auto bytes = wire::credit_of(frame);
  if (!bytes) return client_fault(frame, "with a payload that is no credit");
  if (!has_output(operation.request)) return client_fault(frame, "which has no output");
  const std::uint32_t outstanding = operation.output_credit + operation.output_grant;
  if (*bytes > wire::kMaxCredit - outstanding) {
    return client_fault(frame, fmt::format("of {} bytes, with {} outstanding; at most {} may be", *bytes, outstanding,
                                           wire::kMaxCredit));
  }
  operation.output_grant += *bytes;
  grant_output(id, operation);
  return {};
}

Result<void> Operations::client_resize(std::uint32_t id, const Operation& operation, const wire::Frame& frame) {
  if (!operation.tty) return client_fault(frame, "which has no terminal");
  const auto size = wire::ResizeMessage::decode(frame.payload);
  if (!size) return client_fault(frame, fmt::format("that is malformed: {}", size.error().message()));
  outbox_.to_guest.push_back({wire::OutFrame(Type::resize, id, size->encode()), Lane::control});
  return {};
}

void Operations::client_cancel(std::uint32_t id, Operation& operation, TimePoint now) {
  cancel(id, operation);
  if (operation.last_chance) return;
  operation.last_chance = true;
  operation.due = now + kCancelGrace;
}

// Nobody listens any more: a command runs on, unheard; everything else is called off.
void Operations::abandon(std::uint32_t id, Operation& operation) {
  forget_client(operation);
  if (operation.request == Type::exec) {
    if (operation.has_input && !operation.input_ended) {
      operation.input_ended = true;
      outbox_.to_guest.push_back({wire::data_frame(id, wire::Stream::input, {}, true), Lane::stream});
    }
  } else {
    cancel(id, operation);
  }
  grant_output(id, operation);
}

void Operations::client_gone(ClientId client) {
  const auto peer = peers_.find(client);
  if (peer == peers_.end()) return;
  const auto open = std::exchange(peer->second.open, {});
  for (const auto& [client_op, id] : open) abandon(id, operations_.at(id));
  peers_.erase(client);
}

void Operations::cancel(std::uint32_t id, Operation& operation) {
  if (std::exchange(operation.cancelled, true)) return;
  outbox_.to_guest.push_back({wire::OutFrame(Type::cancel, id), Lane::control});
}

// Credit is passed on in portions, but never held back from a guest that is about to stop for want of it.
void Operations::grant_output(std::uint32_t id, Operation& operation) {
  if (!has_output(operation.request)) return;
  if (operation.client == kNobody) {
    const std::uint32_t outstanding = operation.output_credit + operation.output_grant;
    if (outstanding < wire::kInitialCredit) operation.output_grant += wire::kInitialCredit - outstanding;
  }
  if (operation.output_grant == 0) return;
  if (operation.output_grant < wire::kDataChunk && operation.output_credit >= wire::kDataChunk) return;
  const std::uint32_t bytes = std::exchange(operation.output_grant, 0);
  operation.output_credit += bytes;
  outbox_.to_guest.push_back({wire::credit_frame(id, bytes), Lane::control});
}

void Operations::grant_input(Operation& operation) {
  if (operation.client == kNobody || operation.input_ended || operation.input_grant == 0) return;
  if (operation.input_grant < wire::kDataChunk && operation.input_credit >= wire::kDataChunk) return;
  const std::uint32_t bytes = std::exchange(operation.input_grant, 0);
  operation.input_credit += bytes;
  outbox_.to_client.push_back({operation.client, wire::credit_frame(operation.client_op, bytes), Lane::control});
}

// --- from the guest
// ---------------------------------------------------------------------------------------------------

void Operations::configure(const wire::ConfigureRequest& request, TimePoint now) {
  const std::uint32_t id = fresh_id();
  Operation operation;
  operation.request = Type::configure;
  operation.opened = now;
  outbox_.to_guest.push_back({wire::OutFrame(Type::configure, id, request.encode()), Lane::control});
  operations_.emplace(id, std::move(operation));
}

void Operations::run(const wire::ExecRequest& request, TimePoint now) {
  const std::uint32_t id = fresh_id();
  Operation operation;
  operation.request = Type::exec;
  operation.own = true;
  operation.opened = now;
  outbox_.to_guest.push_back({wire::OutFrame(Type::exec, id, request.encode()), Lane::control});
  operations_.emplace(id, std::move(operation));
}

void Operations::ask_stats(TimePoint now) {
  const std::uint32_t id = fresh_id();
  Operation operation;
  operation.request = Type::stats;
  operation.opened = now;
  outbox_.to_guest.push_back({wire::OutFrame(Type::stats, id), Lane::control});
  operations_.emplace(id, std::move(operation));
}

Result<void> Operations::from_guest(const wire::Frame& frame, TimePoint now) {
  const auto found = operations_.find(frame.id);
  if (found == operations_.end()) return guest_fault(frame, "which is not open");
  Operation& operation = found->second;
  if (operation.due && !operation.last_chance && is_transfer(operation.request)) operation.due = now + kAnswerTimeout;
  switch (frame.type) {
    case Type::data:
      return guest_data(frame.id, operation, frame);
    case Type::credit:
      return guest_credit(operation, frame);
    case Type::started:
      return guest_started(operation, frame);
    case Type::result:
      return guest_result(frame.id, operation, frame, now);
    case Type::error:
      return guest_error(frame.id, operation, frame, now);
    default:
      return guest_fault(frame, "which does not belong to an operation");
  }
}

Result<void> Operations::guest_data(std::uint32_t id, Operation& operation, const wire::Frame& frame) {
  if (!has_output(operation.request)) return guest_fault(frame, "which has no output");
  const bool second = frame.stream() == wire::Stream::error_output;
  const bool command = operation.request == Type::exec;
  if (second && !command) return guest_fault(frame, "on a stream that it does not have");
  if (command && !operation.started) return guest_fault(frame, "before `started`");
  if (operation.output_ended[second]) return guest_fault(frame, "after the end of that stream");
  if (frame.payload.empty() && !frame.end_of_stream()) return guest_fault(frame, "without a byte");
  if (frame.payload.size() > operation.output_credit) {
    return guest_fault(
        frame, fmt::format("of {} bytes, with {} bytes of credit", frame.payload.size(), operation.output_credit));
  }
  if (operation.request == Type::file_list || operation.request == Type::command_list) {
    if (const auto checked = operation.list.feed(frame.payload); !checked) {
      return guest_fault(frame, fmt::format("that is no listing: {}", checked.error().message()));
    }
  }
  operation.output_credit -= static_cast<std::uint32_t>(frame.payload.size());
  operation.output_bytes += frame.payload.size();
  operation.output_ended[second] = frame.end_of_stream();
  if (operation.client != kNobody) {
    outbox_.to_client.push_back(
        {operation.client, wire::data_frame(operation.client_op, frame.stream(), frame.payload, frame.end_of_stream()),
         Lane::stream});
  }
  grant_output(id, operation);
  return {};
}

Result<void> Operations::guest_credit(Operation& operation, const wire::Frame& frame) {
  const auto bytes = wire::credit_of(frame);
  if (!bytes) return guest_fault(frame, "with a payload that is no credit");
  if (!operation.has_input) return guest_fault(frame, "which takes no input");
  const std::uint32_t outstanding = operation.input_credit + operation.input_grant;
  if (*bytes > wire::kMaxCredit - outstanding) {
    return guest_fault(frame, fmt::format("of {} bytes, with {} outstanding; at most {} may be", *bytes, outstanding,
                                          wire::kMaxCredit));
  }
  operation.input_grant += *bytes;
  grant_input(operation);
  return {};
}

Result<void> Operations::guest_started(Operation& operation, const wire::Frame& frame) {
  if (operation.request != Type::exec) return guest_fault(frame, "which is no command");
  if (operation.started) return guest_fault(frame, "twice");
  const auto message = wire::StartedMessage::decode(frame.payload);
  if (!message) return guest_fault(frame, fmt::format("that is malformed: {}", message.error().message()));
  operation.started = true;
  answer(operation, Type::started, message->encode());
  return {};
}

Result<void> Operations::guest_result(std::uint32_t id, Operation& operation, const wire::Frame& frame, TimePoint now) {
  if (operation.request == Type::exec && !operation.started) return guest_fault(frame, "before `started`");
  auto view = read_result({operation.request, operation.command_id, operation.output_bytes}, frame.payload);
  if (!view) return guest_fault(frame, fmt::format("that is malformed: {}", view.error().message()));
  if (operation.request == Type::file_write && !operation.input_ended && !operation.cancelled) {
    return guest_fault(frame, "before it had all of the content");
  }
  if (!operation.list.at_boundary()) return guest_fault(frame, "in the middle of an entry");
  if (operation.request == Type::configure) outbox_.configured = Result<void>();
  if (operation.own) outbox_.ran = Result<wire::ExecExit>(*view->exit);
  if (operation.request == Type::stats) outbox_.stats = wire::StatsMessage::decode(view->payload);
  if (operation.request == Type::command_start) operation.command_id = std::move(view->command_id);
  answer(operation, Type::result, view->payload);
  finish(id, now, view->exit, {});
  return {};
}

Result<void> Operations::guest_error(std::uint32_t id, Operation& operation, const wire::Frame& frame, TimePoint now) {
  const auto message = wire::ErrorMessage::decode(frame.payload);
  if (!message) return guest_fault(frame, fmt::format("that is malformed: {}", message.error().message()));
  wire::ErrorMessage clean;
  clean.code = guest_error_code(message->code);
  clean.message = sanitised(message->message, kMaxGuestMessageBytes);
  if (operation.request == Type::configure) {
    outbox_.configured = Result<void>(Error(ErrorCode::vm_failed, clean.message));
  }
  if (operation.own) outbox_.ran = Result<wire::ExecExit>(Error(ErrorCode::vm_failed, clean.message));
  if (operation.request == Type::stats) outbox_.stats = Error(ErrorCode::vm_failed, clean.message);
  answer(operation, Type::error, clean.encode());
  finish(id, now, std::nullopt, clean.code);
  return {};
}

void Operations::guest_gone(const Error& why, TimePoint now) {
  refusal_ = why;
  while (!operations_.empty()) {
    const auto& [id, operation] = *operations_.begin();
    if (operation.request == Type::configure) outbox_.configured = Result<void>(why);
    if (operation.own) outbox_.ran = Result<wire::ExecExit>(why);
    if (operation.request == Type::stats) outbox_.stats = why;
    if (operation.client != kNobody) answer_error(operation.client, operation.client_op, why);
    finish(id, now, std::nullopt, to_string(why.code()));
  }
}

void Operations::finish(std::uint32_t id, TimePoint now, std::optional<wire::ExecExit> exit,
                        std::string_view error_code) {
  auto node = operations_.extract(id);
  Operation& operation = node.mapped();
  if (is_logged(operation.request) && !operation.own) {
    Finished event;
    event.request = operation.request;
    event.command = std::move(operation.command);
    event.tty = operation.tty;
    event.command_id = std::move(operation.command_id);
    event.path = std::move(operation.path);
    event.destination = std::move(operation.destination);
    event.bytes = operation.request == Type::file_write ? operation.input_bytes : 0;
    event.exit = exit;
    event.error_code = error_code;
    event.duration_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - operation.opened).count();
    outbox_.finished.push_back(std::move(event));
  }
  forget_client(operation);
}

// --- time
// -------------------------------------------------------------------------------------------------------------

void Operations::tick(TimePoint now) {
  for (auto& [id, operation] : operations_) {
    if (!operation.due || operation.client == kNobody) continue;
    const bool out_of_credit = has_output(operation.request) && operation.output_credit == 0;
    const bool wants_input =
        operation.request == Type::file_write && !operation.input_ended && operation.input_credit > 0;
    if (out_of_credit || wants_input) {  // it is the client's turn
      const auto patience = operation.last_chance            ? kLastGrace
                            : is_transfer(operation.request) ? kAnswerTimeout
                                                             : kExecGrace;
      operation.due = std::max(*operation.due, now + patience);
    } else if (now >= *operation.due && operation.last_chance) {
      give_up(id, operation);
    } else if (now >= *operation.due) {
      cancel(id, operation);
      operation.last_chance = true;
      operation.due = now + kLastGrace;
    }
  }
}

void Operations::give_up(std::uint32_t id, Operation& operation) {
  answer_error(
      operation.client, operation.client_op,
      Error(ErrorCode::vm_failed,
            fmt::format("{}: the guest does not answer, {} s after it should have; the sandbox itself goes on, "
                        "terminate it if this repeats",
                        wire::to_string(operation.request), kLastGrace.count())));
  forget_client(operation);
  grant_output(id, operation);
}

// --- answers
// ----------------------------------------------------------------------------------------------------------

void Operations::forget_client(Operation& operation) {
  if (operation.client == kNobody) return;
  const auto peer = peers_.find(operation.client);
  if (peer != peers_.end()) peer->second.open.erase(operation.client_op);
  operation.client = kNobody;
}

void Operations::answer(const Operation& operation, Type type, std::string_view payload) {
  if (operation.client == kNobody) return;
  outbox_.to_client.push_back({operation.client, wire::OutFrame(type, operation.client_op, payload), Lane::stream});
}

void Operations::answer_error(ClientId client, std::uint32_t client_op, const Error& error) {
  outbox_.to_client.push_back(
      {client, wire::OutFrame(Type::error, client_op, wire::ErrorMessage::from(error).encode()), Lane::stream});
}

}  // namespace orkestr::supervisor
