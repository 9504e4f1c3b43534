// The code interpreter: of each context a Python process that stays, which speaks lines of JSON.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <fstream>
#include <optional>

#include "support/service/routes_common.hpp"

namespace orkestr::testing {

using Clock = std::chrono::system_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// One process. Its thread lives as long as it.
class Kernel {
 public:
  Kernel(Guest& guest, const std::string& name, const std::string& cwd) : guest_(guest) {
    const std::string fifo = "/run/" + name;
    {
      const std::ifstream source(ORKESTR_TEST_CODE_DRIVER, std::ios::binary);
      std::ofstream driver(guest.path("/run/code_driver.py"), std::ios::binary);
      driver << source.rdbuf();
    }
    ::unlink(guest.path(fifo).c_str());
    if (::mkfifo(guest.path(fifo).c_str(), 0600) != 0) throw std::runtime_error("mkfifo");
    GuestCommand command;
    command.line = "exec python3 -u /run/code_driver.py " + fifo;
    command.cwd = cwd;
    thread_ = std::thread([this, command] { live(command); });
    const auto ready = next(steady_clock::now() + seconds(20));
    if (ready) requests_ = ::open(guest.path(fifo).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (requests_ >= 0) ::fcntl(requests_, F_SETFL, 0);  // what is larger than the pipe waits
  }
  ~Kernel() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    thread_.join();
    if (requests_ >= 0) ::close(requests_);
  }
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  bool alive() {
    std::lock_guard lock(mutex_);
    return !over_ && requests_ >= 0;
  }
  void ask(const std::string& code) {
    const std::string line = json::serialize(json::object{{"code", code}}) + "\n";
    for (std::size_t at = 0; at < line.size();) {
      const ssize_t count = ::write(requests_, line.data() + at, line.size() - at);
      if (count <= 0) return;  // it has ended, which is seen by what it says no more
      at += static_cast<std::size_t>(count);
    }
  }
  // The next event; nothing at the deadline, and when it has ended.
  std::optional<json::object> next(steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, deadline, [&] { return over_ || !lines_.empty(); });
    if (lines_.empty()) return std::nullopt;
    const std::string line = std::move(lines_.front());
    lines_.pop_front();
    return json::parse(line).as_object();
  }
  void interrupt() {
    GuestCommand command;
    {
      std::lock_guard lock(mutex_);
      command.line = "kill -INT " + std::to_string(pid_);
    }
    command.cwd = "/";
    guest_.run(
        command, [](int) {}, [](bool, std::string_view) {}, [] { return false; });
  }

 private:
  void live(const GuestCommand& command) {
    std::string rest;
    guest_.run(
        command,
        [&](int pid) {
          std::lock_guard lock(mutex_);
          pid_ = pid;
        },
        [&](bool is_stdout, std::string_view bytes) {
          if (!is_stdout) return;
          rest += bytes;
          std::lock_guard lock(mutex_);
          for (std::size_t end = rest.find('\n'); end != std::string::npos; end = rest.find('\n')) {
            lines_.push_back(rest.substr(0, end));
            rest.erase(0, end + 1);
          }
          changed_.notify_all();
        },
        [&] {
          std::lock_guard lock(mutex_);
          return stop_;
        });
    std::lock_guard lock(mutex_);
    over_ = true;
    changed_.notify_all();
  }

  Guest& guest_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> lines_;
  int pid_ = 0;
  bool stop_ = false, over_ = false;
  int requests_ = -1;
  std::thread thread_;
};

struct ServedContext {
  std::string id, cwd;
  Clock::time_point created;
  std::mutex turn;  // one run, start or end at a time
  int starts = 0;

  std::mutex mutex;  // for the rest
  Clock::time_point used;
  std::int64_t executions = 0;
  std::shared_ptr<Kernel> kernel;

  std::shared_ptr<Kernel> current() {
    std::lock_guard lock(mutex);
    return kernel;
  }
  void replace(std::shared_ptr<Kernel> by) {
    std::lock_guard lock(mutex);
    kernel.swap(by);
  }
  void start(Guest& guest) {
    replace(nullptr);
    replace(std::make_shared<Kernel>(guest, id + "_" + std::to_string(++starts), cwd));
  }
  void use() {
    std::lock_guard lock(mutex);
    used = Clock::now();
    ++executions;
  }
  json::object to_json() {
    std::lock_guard lock(mutex);
    return {{"context_id", id},
            {"language", "python"},
            {"cwd", cwd},
            {"created_at", time_text(created, 6, true)},
            {"last_used_at", executions == 0 ? json::value(nullptr) : json::value(time_text(used, 3, false))},
            {"executions", executions},
            {"alive", kernel && kernel->alive()}};
  }
};

std::shared_ptr<ServedContext> Routes::context_of(ServedSandbox& sandbox, const std::string& id) {
  const bool standard = id == "default";
  std::lock_guard lock(mutex_);
  for (const auto& context : sandbox.contexts) {
    if (context->id == id) return context;
  }
  if (!standard) throw Refusal{404, "not_found", "no code context " + id};
  return add_context(sandbox, id, "/workspace");
}

std::shared_ptr<ServedContext> Routes::add_context(ServedSandbox& sandbox, const std::string& id,
                                                   const std::string& cwd) {
  auto context = std::make_shared<ServedContext>();
  context->id = id;
  context->cwd = cwd;
  context->created = Clock::now();
  sandbox.contexts.push_back(context);
  return context;
}

void Routes::code(Call& call) {
  Guest& guest = running(*call.sandbox);
  if (call.sandbox->template_name != "code-interpreter") {
    throw Refusal{400, "interpreter_unavailable",
                  "the template " + call.sandbox->template_name + " has no code interpreter"};
  }
  if (call.rest.size() > 1 && call.rest[1] == "contexts") return contexts(call, guest);
  if (call.rest.size() > 1 || call.request.method != "POST") throw Refusal{405, "", "no such method"};
  run_code(call, guest);
}

void Routes::contexts(Call& call, Guest& guest) {
  ServedSandbox& sandbox = *call.sandbox;
  const std::string& method = call.request.method;
  if (call.rest.size() == 2 && method == "POST") {
    const std::string cwd = text_of(parse_body(call.request), "cwd", "/workspace");
    if (::access(guest.path(cwd).c_str(), F_OK) != 0) throw Refusal{404, "file_not_found", "cwd " + cwd};
    const std::string id = new_id("ctx_");
    std::shared_ptr<ServedContext> context;
    {
      std::lock_guard lock(mutex_);
      context = add_context(sandbox, id, cwd);
    }
    std::lock_guard turn(context->turn);
    context->start(guest);
    send(call.answer, 201, context->to_json());
    return;
  }
  if (call.rest.size() == 2) {
    json::array all;
    std::lock_guard lock(mutex_);
    for (const auto& context : sandbox.contexts) all.push_back(context->to_json());
    send(call.answer, 200, {{"contexts", all}});
    return;
  }
  const auto context = context_of(sandbox, call.rest[2]);
  std::lock_guard turn(context->turn);
  if (call.rest.size() == 4 && call.rest[3] == "restart" && method == "POST") {
    context->start(guest);
    send(call.answer, 200, context->to_json());
  } else if (call.rest.size() == 3 && method == "DELETE") {
    context->replace(nullptr);
    std::lock_guard lock(mutex_);
    std::erase(sandbox.contexts, context);
    call.answer.send(204, "");
  } else {
    throw Refusal{405, "", "no such method"};
  }
}

void Routes::run_code(Call& call, Guest& guest) {
  const json::object body = parse_body(call.request);
  for (const char* name : {"code", "language", "context_id", "timeout_seconds"}) {
    if (!body.contains(name)) throw std::invalid_argument(std::string(name) + " is missing");
  }
  const std::string language = needed_text(body, "language");
  if (language != "python") throw std::invalid_argument("language: only python is known here, not " + language);
  const bool streamed = body.contains("stream") && body.at("stream").as_bool();
  const auto context = context_of(*call.sandbox, text_of(body, "context_id", "default"));
  const auto timeout = milliseconds(static_cast<std::int64_t>(number_of(body, "timeout_seconds", 60) * 1000));

  std::lock_guard turn(context->turn);
  const auto last = context->current();
  const bool restarted = last && !last->alive();
  if (!last || restarted) context->start(guest);
  const auto kept = context->current();
  Kernel& kernel = *kept;
  const auto begin = steady_clock::now();
  context->use();
  kernel.ask(text_of(body, "code"));

  Answer& answer = call.answer;
  if (streamed && !answer.begin_stream("text/event-stream")) return;
  json::object whole = {{"results", json::array()},
                        {"stdout", ""},
                        {"stderr", ""},
                        {"error", nullptr},
                        {"execution_count", nullptr},
                        {"interrupted", false},
                        {"truncated", json::array()}};
  auto deadline = begin + timeout;
  for (bool asked = false;;) {
    auto event = kernel.next(deadline);
    if (!event && kernel.alive() && !asked) {
      kernel.interrupt();
      asked = true;
      deadline = steady_clock::now() + seconds(5);
      continue;
    }
    if (!event) {
      const json::object error = {
          {"name", "KernelDied"}, {"value", "the interpreter has ended"}, {"traceback", json::array()}};
      if (streamed) answer.stream(event_text({{"kind", "error"}, {"error", error}}));
      whole["error"] = error;
      break;
    }
    const auto kind = event->at("kind").as_string();
    if (kind == "done") {
      for (const char* name : {"error", "execution_count", "interrupted", "truncated"}) whole[name] = event->at(name);
      break;
    }
    if (streamed) {
      answer.stream(event_text(*event));  // one that nobody hears goes on all the same
    } else if (kind == "stream") {
      auto& text = whole[event->at("stream").as_string()].as_string();
      text += event->at("text").as_string();
    } else if (kind == "result") {
      whole["results"].as_array().push_back(event->at("result"));
    }
  }
  whole["context_id"] = context->id;
  whole["restarted"] = restarted;
  whole["duration_ms"] = std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin).count();
  if (!streamed) {
    send(answer, 200, whole);
    return;
  }
  for (const char* name : {"results", "stdout", "stderr"}) whole.erase(name);
  whole["kind"] = "done";
  answer.stream(event_text({{"kind", "of_a_later_version"}}));
  answer.stream(event_text(whole));
  answer.end_stream();
}

}  // namespace orkestr::testing
