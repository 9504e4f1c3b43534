// Commands: waited for, streamed, in the background.
#include <algorithm>
#include <cstring>

#include "support/service/routes_common.hpp"

namespace orkestr::testing {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

GuestCommand command_of(const json::object& body) {
  GuestCommand command;
  command.line = needed_text(body, "command");
  command.cwd = text_of(body, "cwd", "/workspace");
  command.env = map_of(body, "env");
  return command;
}

std::string chunk(bool is_stdout, std::string_view bytes) {
  return event_text({{"kind", "exec_chunk"}, {"stream", is_stdout ? "stdout" : "stderr"}, {"data", encode64(bytes)}});
}

std::int64_t in_ms(const GuestEnd& end) {
  return std::max<std::int64_t>(1, std::chrono::duration_cast<milliseconds>(end.duration).count());
}

// The last event of a stream.
std::string end_event(const GuestEnd& end) {
  if (end.timed_out) {
    return event_text({{"kind", "error"}, {"code", "exec_timeout"}, {"message", "the command did not end in time"}});
  }
  if (end.signal != 0) {
    return event_text(
        {{"kind", "error"}, {"code", "exec_killed"}, {"message", "ended by a signal"}, {"signal", end.signal}});
  }
  return event_text({{"kind", "exec_exited"}, {"code", end.exit_code}, {"duration_ms", in_ms(end)}});
}

}  // namespace

void Routes::exec(Call& call) {
  const json::object body = parse_body(call.request);
  GuestCommand command = command_of(body);
  for (const char* name : {"cwd", "env", "timeout_seconds", "stream"}) {
    if (!body.contains(name)) throw std::invalid_argument(std::string(name) + " is missing");
  }
  command.timeout = milliseconds(static_cast<std::int64_t>(number_of(body, "timeout_seconds", 60) * 1000));
  if (body.at("stream").as_bool()) return stream_exec(call, command);
  Guest& guest = running(*call.sandbox);
  std::string out, err;
  const GuestEnd end = guest.run(
      command, [](int) {}, [&](bool is_stdout, std::string_view bytes) { (is_stdout ? out : err) += bytes; },
      [&] { return call.answer.wire().peer_gone(); });
  if (end.cwd_error != 0) {
    throw Refusal{404, "file_not_found", "cwd " + command.cwd + ": " + std::strerror(end.cwd_error)};
  }
  const json::object so_far = {{"stdout", utf8(out)}, {"stderr", utf8(err)}, {"signal", end.signal}};
  if (end.timed_out) throw Refusal{408, "exec_timeout", "the command did not end in time", so_far};
  if (end.signal != 0) {
    running(*call.sandbox);  // the sandbox itself may have gone
    throw Refusal{422, "exec_killed", "the command was ended by a signal", so_far};
  }
  send(call.answer, 200,
       {{"stdout", utf8(out)}, {"stderr", utf8(err)}, {"exit_code", end.exit_code}, {"duration_ms", in_ms(end)}});
}

void Routes::stream_exec(Call& call, const GuestCommand& command) {
  Guest& guest = running(*call.sandbox);
  Answer& answer = call.answer;
  bool begun = false;
  auto last = steady_clock::now();
  const auto begin = [&] {
    if (!std::exchange(begun, true)) answer.begin_stream("text/event-stream");
  };
  std::optional<int> pid;
  // A listener that went away stops nothing: what the command writes goes nowhere then.
  const GuestEnd end = guest.run(
      command, [&](int number) { pid = number; },
      [&](bool is_stdout, std::string_view bytes) {
        begin();
        if (pid)
          answer.stream("event: message\nid: 1\n" +
                        event_text({{"kind", "exec_started"}, {"pid", *std::exchange(pid, {})}}));
        answer.stream(chunk(is_stdout, bytes));
      },
      [&] {
        if (pid) {
          begin();
          answer.stream(event_text({{"kind", "exec_started"}, {"pid", *std::exchange(pid, {})}}));
        }
        if (steady_clock::now() - last > std::chrono::seconds(5)) {
          begin();
          answer.stream(": still here\n\n");
          last = steady_clock::now();
        }
        return false;
      });
  if (end.cwd_error != 0 && !begun) {
    throw Refusal{404, "file_not_found", "cwd " + command.cwd + ": " + std::strerror(end.cwd_error)};
  }
  begin();
  if (pid) answer.stream(event_text({{"kind", "exec_started"}, {"pid", *pid}}));
  answer.stream(event_text({{"kind", "exec_usage"}, {"of_a_later_version", 1}}));
  answer.stream(end_event(end));
  answer.end_stream();
}

json::object Routes::to_json(ServedCommand& command) {
  std::lock_guard lock(command.mutex);
  const bool exited = command.over && command.end.signal == 0 && !command.end.stopped;
  return {{"id", command.id},
          {"command", command.line},
          {"pid", command.pid > 0 ? json::value(command.pid) : json::value(nullptr)},
          {"status", !command.over ? "running"
                     : exited      ? "exited"
                                   : "killed"},
          {"exit_code", exited ? json::value(command.end.exit_code) : json::value(nullptr)},
          {"started_at", time_text(command.started, 6, true)}};
}

void Routes::commands(Call& call) {
  ServedSandbox& sandbox = *call.sandbox;
  if (call.rest.size() == 1 && call.request.method == "POST") {
    Guest& guest = running(sandbox);
    GuestCommand line = command_of(parse_body(call.request));
    line.merged = true;
    auto command = std::make_shared<ServedCommand>();
    command->id = new_id("cmd_");
    command->line = line.line;
    command->started = std::chrono::system_clock::now();
    command->thread = std::thread([command, line, &guest] {
      GuestEnd end = guest.run(
          line,
          [&](int pid) {
            std::lock_guard lock(command->mutex);
            command->pid = pid;
            command->changed.notify_all();
          },
          [&](bool, std::string_view bytes) {
            std::lock_guard lock(command->mutex);
            command->log += bytes;
            command->changed.notify_all();
          },
          [&] {
            std::lock_guard lock(command->mutex);
            return command->kill;
          });
      std::lock_guard lock(command->mutex);
      command->end = end;
      command->over = true;
      command->changed.notify_all();
    });
    {
      std::unique_lock lock(command->mutex);
      command->changed.wait_for(lock, std::chrono::seconds(5), [&] { return command->pid > 0 || command->over; });
    }
    {
      std::unique_lock lock(command->mutex);
      if (command->over && command->end.cwd_error != 0) {
        lock.unlock();
        command->thread.join();
        throw Refusal{404, "file_not_found", "cwd " + line.cwd + ": " + std::strerror(command->end.cwd_error)};
      }
    }
    {
      std::lock_guard lock(mutex_);
      sandbox.commands.push_back(command);
    }
    send(call.answer, 201, to_json(*command));
    return;
  }
  std::vector<std::shared_ptr<ServedCommand>> all;
  {
    std::lock_guard lock(mutex_);
    all = sandbox.commands;
  }
  if (call.rest.size() == 1) {
    json::array list;
    for (const auto& command : all) list.push_back(to_json(*command));
    send(call.answer, 200, {{"commands", list}});
    return;
  }
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one->id == call.rest[1]; });
  if (found == all.end()) throw Refusal{404, "not_found", "no command " + call.rest[1]};
  ServedCommand& command = **found;
  if (call.rest.size() == 3 && call.rest[2] == "logs") return logs(call, command);
  if (call.request.method == "DELETE") {
    std::unique_lock lock(command.mutex);
    command.kill = true;
    command.changed.wait_for(lock, std::chrono::seconds(8), [&] { return command.over; });
    lock.unlock();
    call.answer.send(204, "");
    return;
  }
  send(call.answer, 200, to_json(command));
}

void Routes::logs(Call& call, ServedCommand& command) {
  const auto& query = call.request.query;
  const std::size_t offset = query.count("offset") > 0 ? std::stoul(query.at("offset")) : 0;
  if (query.count("follow") > 0) return follow(call, command, offset);
  std::string content;
  std::size_t size = 0;
  bool truncated = false;
  {
    std::lock_guard lock(command.mutex);
    size = command.log.size();
    std::size_t end = std::min(size, offset + (1U << 20U));
    // At a character boundary.
    while (end < size && end > offset && (static_cast<unsigned char>(command.log[end]) & 0xc0) == 0x80) --end;
    if (offset < size) content = command.log.substr(offset, end - offset);
    truncated = end < size;
  }
  send(call.answer, 200, {{"content", utf8(content)}, {"size", size}, {"truncated", truncated}});
}

void Routes::follow(Call& call, ServedCommand& command, std::size_t offset) {
  const auto& query = call.request.query;
  const double timeout = query.count("timeout_seconds") > 0 ? std::stod(query.at("timeout_seconds")) : 300;
  const auto give_up = steady_clock::now() + milliseconds(static_cast<std::int64_t>(timeout * 1000));
  Answer& answer = call.answer;
  if (!answer.begin_stream("text/event-stream")) return;
  std::unique_lock lock(command.mutex);
  if (command.pid > 0) answer.stream(event_text({{"kind", "exec_started"}, {"pid", command.pid}}));
  while (true) {
    command.changed.wait_for(lock, milliseconds(200), [&] { return command.over || command.log.size() > offset; });
    if (command.log.size() > offset) {
      const std::string piece = command.log.substr(offset, 1U << 16U);
      offset += piece.size();
      lock.unlock();
      const bool heard = answer.stream(chunk(true, piece));
      lock.lock();
      if (!heard) return;
      continue;
    }
    if (command.over) {
      GuestEnd end = command.end;
      if (end.stopped && end.signal == 0) end.signal = 15;
      answer.stream(end_event(end));
      break;
    }
    if (steady_clock::now() >= give_up) {
      GuestEnd late;
      late.timed_out = true;
      answer.stream(end_event(late));
      break;
    }
    if (answer.wire().peer_gone()) return;
  }
  answer.end_stream();
}

}  // namespace orkestr::testing
