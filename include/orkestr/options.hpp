// Options and plain values of the public interface. All structs have working defaults; names carry their units.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <orkestr/error.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace orkestr {

// A point in time of the host's wall clock.
using TimePoint = std::chrono::system_clock::time_point;

// What a sandbox may reach. `off`: no path at all. `restricted`: an allowlist, through a proxy. `open`: any public
// address. This version implements `off` on the local backend; the others are refused with not_supported.
enum class Network { off, restricted, open };
// small: 1 vCPU, 1024 MiB; medium: 2, 4096; large: 4, 8192.
enum class Size { small, medium, large };
// What happens when the timeout is reached.
enum class OnTimeout { kill, pause };
enum class Status { starting, running, pausing, paused, resuming, terminated, failed };

// The spelling on the wire and in the bindings: "off", "small", "kill", "running"…
ORKESTR_API std::string_view to_string(Network value) noexcept;
ORKESTR_API std::string_view to_string(Size value) noexcept;
ORKESTR_API std::string_view to_string(OnTimeout value) noexcept;
ORKESTR_API std::string_view to_string(Status value) noexcept;
// The inverse; invalid_argument names the value and what is allowed.
ORKESTR_API Result<Network> parse_network(std::string_view text);
ORKESTR_API Result<Size> parse_size(std::string_view text);
ORKESTR_API Result<OnTimeout> parse_on_timeout(std::string_view text);
ORKESTR_API Result<Status> parse_status(std::string_view text);

// One moment of the building of a template.
struct TemplateProgress {
  std::string template_name;  // what is being built; another one, while a build waits for its turn
  std::string step;           // "base system"
  int index = 0;              // of the step, 1 to count; 0 before the first
  int count = 0;              // of steps
  std::string line;           // the last line of the step's output; empty at its start. Not for terminals as it is
  std::chrono::milliseconds elapsed{0};
};
// Called on the thread that builds, some times a second at most per line of output; it must not throw.
using ProgressCallback = std::function<void(const TemplateProgress&)>;

struct CreateOptions {
  // Name of a template ("python-3.12-bare"). Exactly one of this and `snapshot`.
  std::string template_name{};
  Size size = Size::small;
  // CPUs, 0.25 to 16; overrides `size`. The sandbox has as many vCPUs, rounded up; the fraction is held by a cgroup of
  // the host where one is delegated to the caller, else it is rounded up too, and SandboxInfo::cpu_reason says why.
  std::optional<double> cpu{};
  std::optional<int> memory_mb{};  // MiB, 256 to 65536; overrides `size`
  std::optional<int> disk_mb{};    // MiB, 8192 (the default) to 131072; what is not written takes no space on the host
  Network network = Network::off;
  std::chrono::seconds timeout{600};  // life span, 10 s to 24 h locally; the clock starts when the sandbox runs
  OnTimeout on_timeout = OnTimeout::kill;
  bool auto_resume = false;  // an operation on the paused sandbox resumes it first
  // Local: how long it is kept when paused, 60 s to 10 years; nothing: until it is resumed or terminated.
  std::optional<std::chrono::seconds> paused_ttl{};
  bool preview_auth = false;
  std::map<std::string, std::string> env{};  // for every command; names [A-Za-z_][A-Za-z0-9_]*, no NUL, 64 KiB in all
  std::map<std::string, std::string> metadata{};  // yours, for list(); UTF-8, at most 64 entries, 16 KiB in all
  std::string region{};                           // a service's; empty: its default
  // Replaces the list of Network::restricted: an empty one allows nothing; without one the service's own counts.
  std::optional<std::vector<std::string>> allow_domains{};
  std::string volume{};
  std::string snapshot{};
  int max_retries = 5;                 // when the host or fleet is full
  std::chrono::seconds retry_max{60};  // so long after the first attempt none begins; of a service: of pauses in all
  // A template that is known and not built is built first, which takes minutes (see template.hpp): Sandbox::create()
  // does it in the caller's thread, create_async() on a thread of the client. False: template_not_found, with the
  // command.
  bool auto_build = true;
  ProgressCallback on_progress{};  // of that build
};

struct ResumeOptions {
  int max_retries = 5;                 // when the host or fleet is full
  std::chrono::seconds retry_max{60};  // so long after the first attempt none begins; of a service: of pauses in all
};

struct ListOptions {
  std::optional<Status> status{};
  std::map<std::string, std::string> metadata{};  // exact match of all
  int limit = 50;                                 // page size, 1 to 200
  std::optional<std::size_t> max_results{};       // nothing: all
};

struct ExecOptions {
  std::string cwd = "/workspace";            // absolute
  std::map<std::string, std::string> env{};  // over the sandbox's own; limits as for CreateOptions
  // 1 ms to 24 h; then the whole process tree ends and ExecTimeout is the error. Not of background commands.
  std::chrono::milliseconds timeout{60'000};
  std::string user{};                       // name or number in the guest; empty: root
  std::optional<std::string> stdin_data{};  // bytes for standard input; nothing: /dev/null
  // exec_stream() and run_stream() only: standard input stays open, for ExecStream::write(), after what `stdin_data`
  // has.
  bool stdin_open = false;
  // exec_stream() and run_stream() only: a terminal of cols × rows (1 to 1000 each) as standard input, output and
  // error; implies stdin_open. All output comes as standard_output. TERM is xterm-256color unless `env` says otherwise.
  bool tty = false;
  int cols = 80;
  int rows = 24;
  // 1 KiB to 1 GiB. exec() and run() keep this much of each stream: the first half and the last half. True totals are
  // in the result. The streaming ones keep nothing and have no use for it.
  std::size_t max_output_bytes = 64U << 20U;
};

}  // namespace orkestr
