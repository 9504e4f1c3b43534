// The names of the enumerations, in both directions.
#include "orkestr/options.hpp"

#include <fmt/format.h>

#include <array>

#include "core/validate.hpp"
#include "orkestr/command.hpp"

namespace orkestr {
namespace {

constexpr std::array<std::string_view, 3> kNetworks = {"off", "restricted", "open"};
constexpr std::array<std::string_view, 3> kSizes = {"small", "medium", "large"};
constexpr std::array<std::string_view, 2> kOnTimeouts = {"kill", "pause"};
constexpr std::array<std::string_view, 7> kStatuses = {"starting", "running",    "pausing", "paused",
                                                       "resuming", "terminated", "failed"};
constexpr std::array<std::string_view, 3> kCommandStatuses = {"running", "exited", "killed"};

template <class Enum, std::size_t N>
std::string_view name_of(const std::array<std::string_view, N>& names, Enum value) {
  const auto index = static_cast<std::size_t>(value);
  return index < N ? names[index] : std::string_view("unknown");
}

template <class Enum, std::size_t N>
Result<Enum> parse(std::string_view argument, const std::array<std::string_view, N>& names, std::string_view text) {
  std::string allowed;
  for (std::size_t i = 0; i < N; ++i) {
    if (names[i] == text) return static_cast<Enum>(i);
    allowed += (i == 0 ? "" : ", ") + std::string(names[i]);
  }
  return Error(ErrorCode::invalid_argument,
               fmt::format("{} is {}; allowed are {}", argument, core::shown(text), allowed));
}

}  // namespace

std::string_view to_string(Network value) noexcept { return name_of(kNetworks, value); }
std::string_view to_string(Size value) noexcept { return name_of(kSizes, value); }
std::string_view to_string(OnTimeout value) noexcept { return name_of(kOnTimeouts, value); }
std::string_view to_string(Status value) noexcept { return name_of(kStatuses, value); }
std::string_view to_string(CommandStatus value) noexcept { return name_of(kCommandStatuses, value); }

Result<Network> parse_network(std::string_view text) { return parse<Network>("network", kNetworks, text); }
Result<Size> parse_size(std::string_view text) { return parse<Size>("size", kSizes, text); }
Result<OnTimeout> parse_on_timeout(std::string_view text) { return parse<OnTimeout>("on_timeout", kOnTimeouts, text); }
Result<Status> parse_status(std::string_view text) { return parse<Status>("status", kStatuses, text); }
Result<CommandStatus> parse_command_status(std::string_view text) {
  return parse<CommandStatus>("status of a command", kCommandStatuses, text);
}

}  // namespace orkestr
