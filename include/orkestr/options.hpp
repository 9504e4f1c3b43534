// Options and plain values of the public interface. All structs have working defaults; names carry their units.
#pragma once

#include <chrono>
#include <cstdint>
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

struct CreateOptions {
  // Name of a template ("python-3.12-bare"). Exactly one of this and `snapshot`.
  std::string template_name{};
  Size size = Size::small;
  std::optional<double> cpu{};     // vCPUs, 1 to 16; overrides `size`
  std::optional<int> memory_mb{};  // MiB, 256 to 65536; overrides `size`
  Network network = Network::off;
  std::chrono::seconds timeout{600};  // life span, 10 s to 24 h locally; the clock starts when the sandbox runs
  OnTimeout on_timeout = OnTimeout::kill;
  bool auto_resume = false;
  bool preview_auth = false;
  std::map<std::string, std::string> env{};  // for every command; names [A-Za-z_][A-Za-z0-9_]*, no NUL, 64 KiB in all
  std::map<std::string, std::string> metadata{};  // yours, for list(); UTF-8, at most 64 entries, 16 KiB in all
  std::string region{};                           // a service's; empty: its default
  std::vector<std::string> allow_domains{};       // replaces the list of Network::restricted
  std::string volume{};
  std::string snapshot{};
  int max_retries = 5;                 // when the host or fleet is full
  std::chrono::seconds retry_max{60};  // in all
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
  // 1 ms to 24 h; then the whole process tree ends and ExecTimeout is the error.
  std::chrono::milliseconds timeout{60'000};
  std::string user{};                       // name or number in the guest; empty: root
  std::optional<std::string> stdin_data{};  // bytes for standard input; nothing: /dev/null
  // 1 KiB to 1 GiB. exec() and run() keep this much of each stream: the first half and the last half. True totals are
  // in the result. exec_stream() keeps nothing and has no use for it.
  std::size_t max_output_bytes = 64U << 20U;
};

}  // namespace orkestr
