// What a person types for a sandbox, and for the pairs of --env and --metadata.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "orkestr/error.hpp"
#include "orkestr/sandbox.hpp"

namespace orkestr::cli {

bool has_ended(const SandboxInfo& info);

// The id that `text` is or begins, with or without "sbx_", in either case: of one that has not ended, or where there is
// none of one that has. not_found when none does; invalid_argument lists the matches when there are several.
Result<std::string> resolve_id(std::string_view text);
// The rule of resolve_id(), pure.
Result<std::string> resolve_id_among(std::string_view text, const std::vector<SandboxInfo>& known);
// resolve_id() and Sandbox::get().
Result<Sandbox> find_sandbox(std::string_view text);

// "NAME=VALUE" each; `option` is named in the error. The last one of a name counts.
Result<std::map<std::string, std::string>> parse_pairs(std::string_view option, const std::vector<std::string>& pairs);

}  // namespace orkestr::cli
