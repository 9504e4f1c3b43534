// run, create, exec, shell: commands in sandboxes.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

#include "base/try.hpp"
#include "cli/attach.hpp"
#include "cli/commands.hpp"
#include "cli/ids.hpp"
#include "cli/progress.hpp"
#include "cli/signals.hpp"
#include "cli/terminal.hpp"
#include "cli/words.hpp"
#include "orkestr/client.hpp"
#include "orkestr/sandbox.hpp"

namespace orkestr::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// What `run` adds to its command's limit for the sandbox around it: starting, ending, and, with --keep, looking at it.
constexpr auto kAround = seconds(60);
constexpr auto kKept = seconds(600);
constexpr auto kLongest = seconds(24 * 60 * 60);

milliseconds to_ms(double value_s) { return milliseconds(std::llround(value_s * 1000)); }

// A pipe, a file, a socket: something that was put there to be read.
bool stdin_is_given() {
  struct stat info {};
  return ::fstat(STDIN_FILENO, &info) == 0 &&
         (S_ISFIFO(info.st_mode) || S_ISREG(info.st_mode) || S_ISSOCK(info.st_mode));
}

Result<CreateOptions> create_options(const MachineOptions& machine) {
  CreateOptions options;
  options.template_name = machine.template_name;
  ORKESTR_TRY(options.size, parse_size(machine.size));
  ORKESTR_TRY(options.network, parse_network(machine.network));
  options.cpu = machine.cpu;
  options.memory_mb = machine.memory_mb;
  options.disk_mb = machine.disk_mb;
  ORKESTR_TRY(options.metadata, parse_pairs("--metadata", machine.metadata));
  ORKESTR_TRY(options.on_timeout, parse_on_timeout(machine.on_timeout));
  options.auto_resume = machine.auto_resume;
  if (machine.paused_ttl_s) options.paused_ttl = std::chrono::seconds(*machine.paused_ttl_s);
  return options;
}

Result<ExecOptions> exec_options(const CommandOptions& command, const Attachment& how) {
  ExecOptions options;
  options.cwd = command.cwd;
  options.user = command.user;
  options.timeout = to_ms(command.timeout_s);
  ORKESTR_TRY(options.env, parse_pairs("--env", command.env));
  options.stdin_open = how.input;
  options.tty = how.terminal;
  const auto size = terminal_size();
  options.cols = size.cols;
  options.rows = size.rows;
  if (how.terminal) {
    if (const char* term = std::getenv("TERM"); term != nullptr && is_terminal(STDIN_FILENO)) {
      options.env.try_emplace("TERM", term);
    }
  }
  return options;
}

Attachment attachment(const CommandOptions& command) {
  if (command.no_stdin) return {false, command.tty};
  const bool typed = is_terminal(STDIN_FILENO) && (command.interactive || command.tty);
  return {typed || command.interactive || stdin_is_given(), command.tty};
}

// Ends it whatever happens; a second signal leaves it to its timeout.
int terminate(const Sandbox& sandbox, const Signals& signals, int code) {
  auto ended = sandbox.terminate_async();
  if (const auto signal = wait_for(signals, ended)) {
    fmt::print(stderr, "orkestr: sandbox {0} may still be running; end it with `orkestr rm {0}`\n", sandbox.id());
    return 128 + *signal;
  }
  if (const auto result = ended.get(); !result) {
    (void)report(result.error());
    return code == kExitOk ? kExitLibrary : code;
  }
  return code;
}

// A sandbox, or the exit code where there is none.
struct Created {
  std::optional<Sandbox> sandbox;
  int code = kExitOk;
};

Created create_or_interrupt(CreateOptions options, const Signals& signals) {
  auto progress = std::make_shared<Progress>();
  options.on_progress = [progress](const TemplateProgress& p) {
    progress->update("template " + p.template_name + ": " + p.step, p.index, p.count, p.line, p.elapsed);
  };
  auto operation = Sandbox::create_async(std::move(options));
  const auto signal = wait_for(signals, operation);
  if (signal) operation.cancel();
  auto created = operation.get();
  progress->finish();
  if (!created) {
    if (signal) return {std::nullopt, 128 + *signal};
    const int code = report(created.error());
    return {std::nullopt, code == kExitUsage ? code : kExitLibrary};
  }
  if (signal) return {std::nullopt, terminate(*created, signals, 128 + *signal)};
  return {std::move(*created), kExitOk};
}

int exec_in(const Sandbox& sandbox, const CommandOptions& command, const Attachment& how, const Signals& signals) {
  auto options = exec_options(command, how);
  if (!options) return report_command(options.error());
  auto stream = sandbox.run_stream(command.argv, std::move(*options));
  if (!stream) return report_command(stream.error());
  const int code = attach(*stream, how, signals, sandbox.id());
  const std::string& program = command.argv.front();
  if (code == kExitNotFound && command.argv.size() == 1 && program.find(' ') != std::string::npos) {
    fmt::print(stderr, "orkestr: a shell line is `-- sh -c {}`\n", printable(quoted(program)));
  }
  return code;
}

}  // namespace

int run(const MachineOptions& machine, const CommandOptions& command, bool keep) {
  auto signals = Signals::create();
  if (!signals) return report_command(signals.error());
  const Attachment how = attachment(command);
  auto options = create_options(machine);
  if (!options) return report_command(options.error());
  // What is wrong with the command is said before a machine is started for it.
  if (const auto good = exec_options(command, how); !good) return report_command(good.error());
  const auto life = seconds(std::llround(std::ceil(command.timeout_s))) + (keep ? kKept : kAround);
  options->timeout = std::min(life, kLongest);
  auto created = create_or_interrupt(std::move(*options), *signals);
  if (!created.sandbox) return created.code;
  if (keep) fmt::print(stderr, "{}\n", created.sandbox->id());
  const int code = exec_in(*created.sandbox, command, how, *signals);
  return keep ? code : terminate(*created.sandbox, *signals, code);
}

int create(const MachineOptions& machine, const std::vector<std::string>& env, double timeout_s) {
  auto signals = Signals::create();
  if (!signals) return report(signals.error());
  auto options = create_options(machine);
  if (!options) return report(options.error());
  auto pairs = parse_pairs("--env", env);
  if (!pairs) return report(pairs.error());
  options->env = std::move(*pairs);
  options->timeout = seconds(std::llround(std::ceil(timeout_s)));
  auto created = create_or_interrupt(std::move(*options), *signals);
  if (!created.sandbox) return created.code == kExitLibrary ? kExitFailed : created.code;
  fmt::print("{}\n", created.sandbox->id());
  std::fflush(stdout);
  // What it does in the background (a new machine for the pool) is begun before this program is gone.
  if (auto client = get_default_client()) client->close();
  return kExitOk;
}

int exec(const std::string& id, const CommandOptions& command) {
  auto signals = Signals::create();
  if (!signals) return report_command(signals.error());
  auto sandbox = find_sandbox(id);
  if (!sandbox) return report_command(sandbox.error());
  return exec_in(*sandbox, command, attachment(command), *signals);
}

int shell(const std::string& id, const CommandOptions& command) {
  if (!is_terminal(STDIN_FILENO) || !is_terminal(STDOUT_FILENO)) {
    fmt::print(stderr,
               "orkestr: shell needs a terminal, and standard input or output is none; without one use "
               "`orkestr exec {} -- COMMAND`\n",
               id);
    return kExitFailed;
  }
  return exec(id, command);
}

}  // namespace orkestr::cli
