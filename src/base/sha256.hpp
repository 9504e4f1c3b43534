// SHA-256, by nettle (which the GnuTLS flavour of libcurl brings along; OpenSSL must stay out of the library).
#pragma once

#include <string>
#include <string_view>

#include "orkestr/error.hpp"

namespace orkestr::base {

std::string sha256_hex(std::string_view bytes);
std::string hmac_sha256_hex(std::string_view key, std::string_view bytes);
// Of a whole file, as 64 hex digits.
Result<std::string> sha256_file(const std::string& path);

}  // namespace orkestr::base
