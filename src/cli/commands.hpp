// The subcommands of `orkestr`. Each returns the exit code.
//
// Exit codes, which scripts may rely on:
//   0  done
//   1  it failed; the reason is on stderr
//   2  the command line is wrong, or names something that does not exist
//   run, exec, shell: the command's own; 128 + n when signal n ended it or was sent to this program; 124 its timeout;
//   125 the library failed; 126 and 127 the command is no program, or not there
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::cli {

constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitTimeout = 124;
constexpr int kExitLibrary = 125;
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;

struct TemplateCommand {
  std::string name;         // may be empty with a recipe
  std::string recipe_file;  // empty: the built-in recipe
  bool force = false;
  // prepare: the machine whose snapshot is made
  std::string size = "small";
  std::optional<double> cpu;
  std::optional<int> memory_mb;
  std::optional<int> disk_mb;
};
// `orkestr template build NAME [--force]`, `orkestr template build --recipe FILE`
int template_build(const TemplateCommand& command);
// `orkestr template prepare NAME [--size SIZE] [--cpu N] [--memory-mb N] [--disk-mb N]`
int template_prepare(const TemplateCommand& command);
// `orkestr template list [--json]`
int template_list(bool as_json);
// `orkestr template inspect NAME [--json]`
int template_inspect(const std::string& name, bool as_json);
// `orkestr template remove NAME…`
int template_remove(const std::vector<std::string>& names);

// The sandbox that `run` and `create` make. `env` and `metadata` are NAME=VALUE.
struct MachineOptions {
  std::string template_name;
  std::string size = "small";
  std::optional<double> cpu;
  std::optional<int> memory_mb;
  std::optional<int> disk_mb;
  std::string network = "off";
  std::vector<std::string> metadata;
  // create
  std::string on_timeout = "kill";
  bool auto_resume = false;
  std::optional<long> paused_ttl_s;
};
// The command that `run`, `exec` and `shell` start.
struct CommandOptions {
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::string cwd = "/workspace";
  std::string user;
  double timeout_s = 24 * 60 * 60;
  bool interactive = false;
  bool no_stdin = false;
  bool tty = false;
};
// `orkestr run TEMPLATE -- COMMAND…`
int run(const MachineOptions& machine, const CommandOptions& command, bool keep);
// `orkestr create TEMPLATE`
int create(const MachineOptions& machine, const std::vector<std::string>& env, double timeout_s);
// `orkestr exec ID -- COMMAND…`
int exec(const std::string& id, const CommandOptions& command);
// `orkestr exec ID --background -- COMMAND…`
int exec_background(const std::string& id, const CommandOptions& command, bool as_json);
// `orkestr shell ID`
int shell(const std::string& id, const CommandOptions& command);

struct ListCommand {
  bool all = false;
  std::string status;
  std::vector<std::string> metadata;
  bool as_json = false;
};
// `orkestr ls`
int list(const ListCommand& command);
// `orkestr inspect ID`
int inspect(const std::string& id, bool as_json);
// `orkestr rm ID…`, `orkestr rm --all`
int remove(const std::vector<std::string>& ids, bool all, bool yes);

struct EventsCommand {
  std::string id;
  std::string since;  // a time, or how long ago ("90s", "5m", "2h", "1d")
  bool follow = false;
  bool as_json = false;
};
// `orkestr events ID`
int events(const EventsCommand& command);

// `orkestr commands ID`
int commands(const std::string& id, bool as_json);
struct LogsCommand {
  std::string id;
  std::string command_id;
  std::uint64_t offset = 0;
  bool follow = false;
  bool as_json = false;
};
// `orkestr logs ID COMMAND`
int logs(const LogsCommand& command);
// `orkestr kill ID COMMAND…`
int kill_commands(const std::string& id, const std::vector<std::string>& command_ids);

// `orkestr pause ID`, `orkestr resume ID`, `orkestr timeout ID SECONDS`, `orkestr metrics ID`
int pause(const std::string& id, bool as_json);
int resume(const std::string& id, bool as_json);
int set_timeout(const std::string& id, double timeout_s, bool as_json);
int metrics(const std::string& id, bool as_json);

// `orkestr cp SOURCE DESTINATION`
int copy(const std::string& source, const std::string& destination);

struct PoolCommand {
  std::string what;  // TEMPLATE=N
  std::string size = "small";
  std::optional<double> cpu;
  std::optional<int> memory_mb;
  std::optional<int> disk_mb;
  int idle_s = 3600;
  int min_available_mb = 1024;
  bool as_json = false;
};
// `orkestr pool set TEMPLATE=N`: exit code 1 when fewer than that are ready
int pool_set(const PoolCommand& command);
// `orkestr pool ls [--json]`
int pool_list(bool as_json);
// `orkestr pool clear [TEMPLATE]`
int pool_clear(const std::string& template_name, bool as_json);

// `orkestr gc`
int collect_garbage(bool as_json);
// `orkestr doctor [--fix]`
int doctor(bool fix, bool as_json);
// `orkestr version`
int version(bool as_json);

// Prints "orkestr: MESSAGE" on stderr and returns the exit code that fits the error.
int report(const Error& error);

}  // namespace orkestr::cli
