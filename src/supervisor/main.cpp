// orkestr-supervisor: owns one sandbox. Started by the library with one end of a socketpair as descriptor 3; everything
// it needs to know comes over that. See sandbox.hpp; with --pool, pool.hpp.
#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "base/build_stamp.hpp"
#include "orkestr/version.hpp"
#include "supervisor/failpoint.hpp"
#include "supervisor/host_check.hpp"
#include "supervisor/log.hpp"
#include "supervisor/pool.hpp"
#include "supervisor/process_state.hpp"
#include "supervisor/sandbox.hpp"

int main(int argc, char** argv) {
  using namespace orkestr;
  constexpr std::string_view kStampOption = "--stamp=";
  constexpr std::string_view kPoolOption = "--pool";
  const bool pool = argc == 3 && argv[2] == kPoolOption;
  const std::string_view argument = argc == 2 || pool ? argv[1] : "";
  if (argument == "--version") {
    fmt::print("orkestr-supervisor {} ({})\n", ORKESTR_VERSION, base::kBuildStamp);
    return 0;
  }
  if (argument == "--failpoints") {
    for (const auto name : supervisor::kFailpoints) fmt::print("{}\n", name);
    return 0;
  }
  if (argument == "--check-host") return supervisor::print_host_check();
  if (!argument.starts_with(kStampOption)) {
    fmt::print(stderr,
               "orkestr-supervisor is started by the orkestr library, not by hand; --version says which it is\n");
    return 2;
  }
  const std::string log_path = supervisor::log_path();
  auto creator = supervisor::detach_from_creator();
  if (!creator) {
    fmt::print(stderr, "orkestr-supervisor: {}\n", creator.error().message());
    return 2;
  }
  supervisor::open_log(log_path);
  std::string stamp(argument.substr(kStampOption.size()));
  if (pool) {
    auto request = supervisor::read_pool_request(*creator);
    if (!request) {
      supervisor::log_info(request.error().message());
      return 2;
    }
    return supervisor::Sandbox(std::move(*request), std::move(stamp)).run();
  }
  supervisor::Sandbox sandbox(std::move(*creator), std::move(stamp));
  return sandbox.run();
}
