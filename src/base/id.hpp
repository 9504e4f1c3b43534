// Identifiers: a prefix and a ULID (48 bits of milliseconds, 80 random bits, Crockford base 32), so ids sort by time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace orkestr::base {

// "01J9Z3…", 26 characters.
std::string make_ulid(std::int64_t wall_ms);
// True for 26 characters of Crockford's alphabet in upper case whose first is at most '7'.
bool is_ulid(std::string_view text);
// "sbx_" + ULID
// What any other id may be, ours or a service's: 1 to 128 printable characters of ASCII without '/', and not "." or
// "..": an id is a part of a path.
bool is_plain_id(std::string_view text);
std::string make_sandbox_id();
bool is_sandbox_id(std::string_view text);

}  // namespace orkestr::base
