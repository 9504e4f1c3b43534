#include <thread>

#include "options.hpp"
#include "records.hpp"
#include "sandbox.hpp"

using namespace orkestr;
using namespace orkestr::capi;

using Begun = Result<std::shared_ptr<Pending>>;

orkestr_command* orkestr::capi::make_handle(BackgroundCommand command, std::shared_ptr<ClientCore> core) {
  return std::make_unique<orkestr_command>(CommandBody{std::move(command), std::move(core)}).release();
}

namespace {

constexpr std::chrono::seconds kLongestStream = std::chrono::hours(24);  // that the library allows

std::shared_ptr<Pending> giving_info(const BackgroundCommand& command, Operation<void> operation) {
  return giving(std::move(operation), [command] { return to_node(command.info()); });
}

// argv as the library takes it; that it is not empty is the library's to check.
Result<std::vector<std::string>> arguments(const char* const* argv, std::size_t argc) {
  return texts("argv", argv, argc);
}

// Until the command has ended, 10 s have passed, or nobody wants it any more. False: there was no telling.
bool follow_to_end(const BackgroundCommand& command, std::chrono::milliseconds left, const ClientCore::Wanted& wanted) {
  constexpr std::uint64_t kBehindAllOutput = std::uint64_t{1} << 53;  // as large as a number in JSON can be exact
  constexpr std::chrono::seconds kAtOnce{10};                         // so that a dead connection is noticed
  constexpr std::chrono::milliseconds kLook{500};                     // at `wanted`; nobody is asked anything for that
  const auto until = std::chrono::steady_clock::now() + std::min<std::chrono::milliseconds>(left, kAtOnce);
  auto stream = command.stream(kBehindAllOutput, kAtOnce);
  if (!stream.ok()) return false;
  while (wanted()) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= until) break;
    const auto chunk = stream->next(std::min(kLook, std::chrono::ceil<std::chrono::milliseconds>(until - now)));
    if (!chunk.ok()) {
      const auto code = chunk.error().code();
      return code == ErrorCode::exec_killed || code == ErrorCode::exec_timeout;
    }
    if (!*chunk || (*chunk)->is_final()) break;
  }
  return true;
}

// The service is asked, and again when the output of the command has ended: not all the time.
Result<CommandInfo> wait_for(const BackgroundCommand& command, std::int64_t timeout_ms,
                             const ClientCore::Wanted& wanted) {
  constexpr std::chrono::milliseconds kPause{500};  // where the output cannot be had
  const auto start = std::chrono::steady_clock::now();
  while (true) {
    ORKESTR_CHECK(command.refresh());
    CommandInfo info = command.info();
    if (info.status != CommandStatus::running || !wanted()) return info;
    const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
    const auto left = waiting_time(timeout_ms) - waited;
    if (left.count() <= 0) {
      return Error(ErrorCode::exec_timeout, "wait: command " + command.id() + " had not ended after " +
                                                std::to_string(timeout_ms) + " ms; it runs on");
    }
    if (!follow_to_end(command, left, wanted)) std::this_thread::sleep_for(std::min(left, kPause));
  }
}

}  // namespace

orkestr_operation* orkestr_sandbox_exec(orkestr_sandbox* sandbox, const char* command,
                                        const orkestr_exec_options* options) {
  return begin_of(sandbox, [&](SandboxBody& body) -> Begun {
    ORKESTR_TRY(const auto line, text("command", command));
    ORKESTR_TRY(auto chosen, exec_options(options));
    return giving(body.sandbox.exec_async(line, std::move(chosen)));
  });
}

orkestr_operation* orkestr_sandbox_run(orkestr_sandbox* sandbox, const char* const* argv, size_t argc,
                                       const orkestr_exec_options* options) {
  return begin_of(sandbox, [&](SandboxBody& body) -> Begun {
    ORKESTR_TRY(auto words, arguments(argv, argc));
    ORKESTR_TRY(auto chosen, exec_options(options));
    return giving(body.sandbox.run_async(std::move(words), std::move(chosen)));
  });
}

orkestr_status orkestr_sandbox_exec_stream(orkestr_sandbox* sandbox, const char* command,
                                           const orkestr_exec_options* options, orkestr_stream** stream,
                                           orkestr_error** error) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_CHECK(clear_output("stream", stream));
    ORKESTR_TRY(const auto body, orkestr_sandbox::open("sandbox", sandbox));
    ORKESTR_CHECK(body->core->check());
    ORKESTR_TRY(const auto line, text("command", command));
    ORKESTR_TRY(auto chosen, exec_options(options));
    ORKESTR_TRY(auto opened, body->sandbox.exec_stream(line, std::move(chosen)));
    *stream = make_handle(flow(std::move(opened)), body->core);
    return {};
  });
}

orkestr_status orkestr_sandbox_run_stream(orkestr_sandbox* sandbox, const char* const* argv, size_t argc,
                                          const orkestr_exec_options* options, orkestr_stream** stream,
                                          orkestr_error** error) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_CHECK(clear_output("stream", stream));
    ORKESTR_TRY(const auto body, orkestr_sandbox::open("sandbox", sandbox));
    ORKESTR_CHECK(body->core->check());
    ORKESTR_TRY(auto words, arguments(argv, argc));
    ORKESTR_TRY(auto chosen, exec_options(options));
    ORKESTR_TRY(auto opened, body->sandbox.run_stream(std::move(words), std::move(chosen)));
    *stream = make_handle(flow(std::move(opened)), body->core);
    return {};
  });
}

orkestr_operation* orkestr_sandbox_start(orkestr_sandbox* sandbox, const char* command,
                                         const orkestr_exec_options* options) {
  return begin_of(sandbox, [&](SandboxBody& body) -> Begun {
    ORKESTR_TRY(const auto line, text("command", command));
    ORKESTR_TRY(auto chosen, exec_options(options));
    return giving(body.sandbox.start_async(line, std::move(chosen)));
  });
}

orkestr_operation* orkestr_sandbox_command(orkestr_sandbox* sandbox, const char* command_id) {
  return begin_of(sandbox, [&](SandboxBody& body) -> Begun {
    ORKESTR_TRY(const auto id, text("command_id", command_id));
    return giving<BackgroundCommand>(*body.core,
                                     [sandbox = body.sandbox, id](const auto&) { return sandbox.command(id); });
  });
}

orkestr_operation* orkestr_sandbox_commands(orkestr_sandbox* sandbox) {
  return begin_of(sandbox, [](SandboxBody& body) {
    return pending(body.sandbox.commands_async(), 0, [](const std::vector<BackgroundCommand>& commands) {
      Node list = Node::list();
      for (const BackgroundCommand& command : commands) list.append({}, to_node(command.info()));
      return std::optional<Node>(std::move(list));
    });
  });
}

orkestr_status orkestr_command_info(const orkestr_command* command, orkestr_value** info, orkestr_error** error) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_CHECK(clear_output("info", info));
    ORKESTR_TRY(const auto body, orkestr_command::open("command", command));
    *info = make_value(to_node(body->command.info()));
    return {};
  });
}

orkestr_operation* orkestr_command_refresh(orkestr_command* command) {
  return begin_of(command, [](CommandBody& body) { return giving_info(body.command, body.command.refresh_async()); });
}

orkestr_operation* orkestr_command_kill(orkestr_command* command) {
  return begin_of(command, [](CommandBody& body) { return giving_info(body.command, body.command.kill_async()); });
}

orkestr_operation* orkestr_command_wait(orkestr_command* command, int64_t timeout_ms) {
  return begin_of(command, [&](CommandBody& body) {
    return giving<CommandInfo>(*body.core, [command = body.command, timeout_ms](const ClientCore::Wanted& wanted) {
      return wait_for(command, timeout_ms, wanted);
    });
  });
}

orkestr_operation* orkestr_command_logs(orkestr_command* command, uint64_t offset) {
  return begin_of(command, [&](CommandBody& body) { return giving(body.command.logs_async(offset)); });
}

orkestr_status orkestr_command_stream(orkestr_command* command, uint64_t offset, int64_t timeout_ms,
                                      orkestr_stream** stream, orkestr_error** error) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_CHECK(clear_output("stream", stream));
    ORKESTR_TRY(const auto body, orkestr_command::open("command", command));
    ORKESTR_CHECK(body->core->check());
    const auto limit = timeout_ms == ORKESTR_FOREVER ? kLongestStream : seconds(timeout_ms, std::chrono::seconds(300));
    ORKESTR_TRY(auto opened, body->command.stream(offset, limit));
    *stream = make_handle(flow(std::move(opened)), body->core);
    return {};
  });
}

void orkestr_command_free(orkestr_command* command) { orkestr_command::free(command); }
