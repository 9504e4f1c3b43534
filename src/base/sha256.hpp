// SHA-256, by nettle (which the GnuTLS flavour of libcurl brings along; OpenSSL must stay out of the library).
#pragma once

#include <stop_token>
#include <string>
#include <string_view>

#include "orkestr/error.hpp"

namespace orkestr::base {

std::string sha256_hex(std::string_view bytes);
std::string hmac_sha256_hex(std::string_view key, std::string_view bytes);
// Of a whole file, as 64 hex digits. cancelled: `stop` asked for it.
Result<std::string> sha256_file(const std::string& path, const std::stop_token& stop = {});

}  // namespace orkestr::base
