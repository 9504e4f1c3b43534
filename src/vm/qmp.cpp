#include "vm/qmp.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>

#include "base/system.hpp"
#include "vm/vm_error.hpp"

namespace orkestr::vm {

namespace asio = boost::asio;
using asio::awaitable;

namespace {

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

Error qmp_error(std::string message) { return vm_error("qmp", std::move(message)); }

// One sendmsg: a unix stream socket takes a message this small whole or, when QEMU has stopped reading, not at all.
Result<void> send_line(int socket, const std::string& line, int pass_fd) {
  iovec data{const_cast<char*>(line.data()), line.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (pass_fd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &pass_fd, sizeof pass_fd);
  }
  ssize_t n = 0;
  do {
    n = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n == static_cast<ssize_t>(line.size())) return {};
  if (n >= 0) return qmp_error(fmt::format("QEMU's control socket took {} of {} bytes", n, line.size()));
  if (errno == EAGAIN) return qmp_error("QEMU has stopped reading its control socket");
  return qmp_error(fmt::format("QEMU's control socket: {}", std::strerror(errno)));
}

}  // namespace

// Shared by the Qmp, its reader and every command in flight, so that each may end in any order.
struct Qmp::State {
  struct Pending {
    asio::steady_timer wake;  // cancelled when the answer is there
    std::optional<base::JsonValue> answer;
  };

  explicit State(asio::posix::stream_descriptor s) : socket(std::move(s)) {}

  asio::posix::stream_descriptor socket;
  std::map<std::int64_t, std::shared_ptr<Pending>> pending;  // the greeting is number 0
  std::int64_t next_id = 1;
  std::string qemu_version;
  std::optional<Error> failed;  // the connection is over
  std::function<void(const base::JsonValue&)> event_hook;

  void fail(std::string why) {
    if (!failed) failed = qmp_error(std::move(why));
    boost::system::error_code ignored;
    socket.close(ignored);
    for (auto& [id, p] : pending) p->wake.cancel();
  }

  void answer(std::int64_t id, base::JsonValue value) {
    const auto it = pending.find(id);
    if (it == pending.end()) return;  // its caller gave up
    it->second->answer = std::move(value);
    it->second->wake.cancel();
  }

  void on_line(std::string_view line) {
    auto json = base::JsonValue::parse(line);
    if (!json) return fail("QEMU sent what is no JSON on its control socket: " + json.error().message());
    if (!(*json)["QMP"].is_null()) return answer(0, std::move(*json));
    if ((*json)["event"].string()) {
      if (event_hook) event_hook(*json);
      return;
    }
    const auto id = (*json)["id"].integer();
    // Zero is the greeting's, and an answer without a number is to a command QEMU could not parse: we sent none such.
    if (!id || *id <= 0) return fail("QEMU answered on its control socket to a command that was not sent");
    answer(*id, std::move(*json));
  }

  Result<std::int64_t> send(const std::string& command, const std::string& arguments_json, int pass_fd,
                            const asio::any_io_executor& executor);
  awaitable<Result<base::JsonValue>> wait(std::int64_t id, std::string what, base::Deadline deadline);
  awaitable<Result<base::JsonValue>> result(std::int64_t id, std::string command, base::Deadline deadline);
  static awaitable<void> read(std::shared_ptr<State> self);
};

// The number of what was sent; its answer may be waited for.
Result<std::int64_t> Qmp::State::send(const std::string& command, const std::string& arguments_json, int pass_fd,
                                      const asio::any_io_executor& executor) {
  const std::string what = "QEMU command " + command;
  if (failed) return failed->with_context(what);
  const std::int64_t id = next_id++;
  base::JsonWriter json;
  json.begin_object().field("execute", command);
  if (!arguments_json.empty()) json.key("arguments").raw(arguments_json);
  json.field("id", id).end_object();
  const std::string line = json.take() + "\n";
  if (line.size() > kMaxQmpCommandBytes) {
    return qmp_error(fmt::format("{}: {} bytes are too long", what, line.size()));
  }
  pending[id] = std::make_shared<Pending>(Pending{asio::steady_timer(executor), std::nullopt});
  if (auto sent = send_line(socket.native_handle(), line, pass_fd); !sent) {
    pending.erase(id);
    return sent.error().with_context(what);
  }
  return id;
}

// Waits for the answer numbered `id`, which must have been entered into `pending` before the command went out.
awaitable<Result<base::JsonValue>> Qmp::State::wait(std::int64_t id, std::string what, base::Deadline deadline) {
  const auto p = pending.at(id);
  while (!p->answer && !failed && !deadline.expired()) {
    p->wake.expires_at(deadline.time_point().value_or(base::Deadline::Clock::time_point::max()));
    co_await p->wake.async_wait(kTuple);
    // Cancelled from outside: nobody looks at the result any more.
    if (!p->answer && !failed &&
        (co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none)
      break;
  }
  pending.erase(id);
  if (p->answer) co_return std::move(*p->answer);
  if (failed) co_return failed->with_context(what);
  co_return qmp_error(fmt::format("{}: QEMU did not answer in time", what));
}

// The answer's "return", or its error.
awaitable<Result<base::JsonValue>> Qmp::State::result(std::int64_t id, std::string command, base::Deadline deadline) {
  const std::string what = "QEMU command " + command;
  auto answer = co_await wait(id, what, deadline);
  if (!answer) co_return answer.error();
  const auto& error = (*answer)["error"];
  if (!error.is_null()) {
    co_return qmp_error(fmt::format("{}: {} ({})", what, error.string_or("desc", "no description"),
                                    error.string_or("class", "no class")));
  }
  co_return (*answer)["return"];
}

awaitable<void> Qmp::State::read(std::shared_ptr<State> self) {
  std::string buffer;
  std::array<char, 16384> chunk{};
  while (!self->failed) {
    const auto [error, n] = co_await self->socket.async_read_some(asio::buffer(chunk), kTuple);
    if (error) {
      self->fail(error == asio::error::eof ? "QEMU closed its control socket"
                                           : "QEMU's control socket: " + error.message());
      break;
    }
    std::size_t searched = buffer.size();
    buffer.append(chunk.data(), n);
    std::size_t start = 0;
    for (std::size_t end = buffer.find('\n', searched); end != std::string::npos && !self->failed;
         end = buffer.find('\n', start)) {
      const auto line = std::string_view(buffer).substr(start, end - start);
      if (line.find_first_not_of(" \t\r") != std::string_view::npos) self->on_line(line);
      start = end + 1;
    }
    buffer.erase(0, start);
    if (buffer.size() > kMaxQmpLineBytes) self->fail("QEMU sent a line of more than 1 MiB on its control socket");
  }
}

awaitable<Result<std::unique_ptr<Qmp>>> Qmp::connect(base::UniqueFd socket, base::Deadline deadline) {
  const auto executor = co_await asio::this_coro::executor;
  if (auto ok = base::set_nonblocking(socket.get(), true); !ok) co_return ok.error();
  auto state = std::make_shared<State>(asio::posix::stream_descriptor(executor, socket.release()));
  state->pending[0] = std::make_shared<State::Pending>(State::Pending{asio::steady_timer(executor), std::nullopt});
  std::unique_ptr<Qmp> qmp(new Qmp(state));
  asio::co_spawn(executor, State::read(state), asio::detached);

  // Before the greeting, which QEMU sends while it still makes the machine: it reads this meanwhile. A refusal is what
  // the next command fails with.
  if (auto sent = state->send("qmp_capabilities", "", -1, executor); !sent) co_return sent.error();
  auto greeting = co_await state->wait(0, "QMP greeting", deadline);
  if (!greeting) co_return greeting.error();
  const auto& version = (*greeting)["QMP"]["version"]["qemu"];
  state->qemu_version = fmt::format("{}.{}.{}", version.integer_or("major", 0), version.integer_or("minor", 0),
                                    version.integer_or("micro", 0));
  co_return std::move(qmp);
}

Qmp::Qmp(std::shared_ptr<State> state) : state_(std::move(state)) {}

Qmp::~Qmp() { state_->fail("the connection to QEMU was closed"); }

awaitable<Result<base::JsonValue>> Qmp::execute(std::string command, std::string arguments_json,
                                                base::Deadline deadline, int pass_fd) {
  const auto state = state_;
  const auto executor = co_await asio::this_coro::executor;
  auto id = state->send(command, arguments_json, pass_fd, executor);
  if (!id) co_return id.error();
  co_return co_await state->result(*id, std::move(command), deadline);
}

awaitable<Result<void>> Qmp::execute_all(std::vector<Command> commands, base::Deadline deadline) {
  const auto state = state_;
  const auto executor = co_await asio::this_coro::executor;
  std::vector<std::int64_t> ids;
  for (const Command& command : commands) {
    auto id = state->send(command.name, command.arguments_json, -1, executor);
    if (!id) co_return id.error();
    ids.push_back(*id);
  }
  std::optional<Error> first;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    auto answer = co_await state->result(ids[i], commands[i].name, deadline);
    if (!answer && !first) first = answer.error();
  }
  if (first) co_return *first;
  co_return Result<void>();
}

void Qmp::on_event(std::function<void(const base::JsonValue&)> hook) { state_->event_hook = std::move(hook); }

const std::string& Qmp::qemu_version() const { return state_->qemu_version; }

}  // namespace orkestr::vm
