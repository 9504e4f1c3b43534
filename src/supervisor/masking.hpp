// What may be written to the event log about a command: never the value of an environment variable.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "wire/message.hpp"

namespace orkestr::supervisor {

// A value shorter than this is no secret worth hiding ("1", "true", "dev") and would turn a command line into stars.
inline constexpr std::size_t kMinSecretBytes = 6;
inline constexpr std::size_t kMaxLoggedBytes = 4096;

// Replaces every occurrence of a value of `environments` (at least kMinSecretBytes long) by "***", longer values first,
// and cuts the result to kMaxLoggedBytes with "…" at its end.
std::string mask(std::string_view text, const std::vector<const wire::EnvList*>& environments);

// A command as a person wrote it: the line of the shell form {"/bin/bash", "-c", line}, else its words separated by
// spaces, quoted where they have to be.
std::string command_line(const std::vector<std::string>& argv);

// Text that a guest wrote, fit for a terminal and a log: control characters and what is no UTF-8 become '?', newlines
// and tabs stay, at most `max_bytes`.
std::string sanitised(std::string_view text, std::size_t max_bytes);

}  // namespace orkestr::supervisor
