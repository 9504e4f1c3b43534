// Base64 as JSON carries bytes: the standard alphabet, padded.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace orkestr::remote {

std::string base64_encode(std::string_view bytes);
void base64_append(std::string& to, std::string_view bytes);
// Nothing for anything but whole, padded base64 without blanks.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace orkestr::remote
