// orkestr-agent: PID 1 of a sandbox's VM, or with --socket-fd an ordinary process at one end of a socketpair.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <optional>
#include <string_view>

#include "base/system.hpp"
#include "base/try.hpp"
#include "guest/agent.hpp"
#include "guest/init.hpp"

namespace orkestr::guest {
namespace {

constexpr std::string_view kUsage =
    "usage: orkestr-agent --socket-fd N [--chdir-workspace DIR]\n"
    "  Serves commands and files over the socket N until its peer closes it. Started by the kernel\n"
    "  as PID 1 it takes no arguments: it boots the sandbox and serves the virtio port.\n";

Result<AgentOptions> parse(int argc, char** argv) {
  AgentOptions options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::string_view value = argv[i + 1];
    if (name == "--socket-fd") {
      int fd = -1;
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), fd);
      if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size() || fd < 0 || ::fcntl(fd, F_GETFD) < 0) {
        return Error(ErrorCode::invalid_argument, fmt::format("--socket-fd {}: no open descriptor", value));
      }
      ::fcntl(fd, F_SETFD, FD_CLOEXEC);
      ORKESTR_CHECK(base::set_nonblocking(fd, true));
      options.connection.reset(fd);
    } else if (name == "--chdir-workspace") {
      options.settings.workspace = value;
    } else {
      return Error(ErrorCode::invalid_argument, fmt::format("{}: unknown option", name));
    }
  }
  if (argc % 2 == 0 || !options.connection) return Error(ErrorCode::invalid_argument, "--socket-fd N is needed");
  return options;
}

Result<void> serve(AgentOptions options) {
  ORKESTR_TRY(auto agent, Agent::create(std::move(options)));
  return agent->run();
}

[[noreturn]] void run_as_init() {
  // Before anything is opened: 0, 1, 2 are the kernel's console, or nothing without one.
  auto system = boot();
  if (!system) {
    announce(system.error().message());
    power_off();
  }
  auto prepared = prepare_process();
  AgentOptions options;
  options.connection = std::move(system->port);
  options.kind = Link::Kind::port;
  options.settings.is_init = true;
  options.settings.identity = std::move(system->identity);
  options.cgroup_root = system->cgroup_root;
  auto outcome = prepared ? serve(std::move(options)) : std::move(prepared);
  announce(outcome ? "the port was closed" : outcome.error().message());
  power_off();
}

int run_as_process(int argc, char** argv) {
  auto prepared = prepare_process();
  auto options = parse(argc, argv);
  if (!prepared || !options) {
    fmt::print(stderr, "orkestr-agent: {}\n{}", (prepared ? options.error() : prepared.error()).message(), kUsage);
    return 2;
  }
  auto outcome = serve(*std::move(options));
  if (!outcome) fmt::print(stderr, "orkestr-agent: {}\n", outcome.error().message());
  return outcome ? 0 : 1;
}

}  // namespace
}  // namespace orkestr::guest

int main(int argc, char** argv) {
  if (::getpid() == 1) orkestr::guest::run_as_init();
  return orkestr::guest::run_as_process(argc, argv);
}
