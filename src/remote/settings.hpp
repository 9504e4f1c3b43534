// Where the service is and who asks: from the client's options and the environment, checked once.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "orkestr/client.hpp"
#include "orkestr/error.hpp"

namespace orkestr::remote {

inline constexpr std::string_view kDefaultBaseUrl = "https://api.orkestr.eu";

struct Settings {
  std::string base_url;  // http:// or https://, with a path prefix maybe, without a slash at its end
  std::string api_key;   // never empty; goes into the Authorization header and nowhere else
  std::chrono::milliseconds timeout{30'000};
};

// An option wins over ORKESTR_API_KEY and ORKESTR_BASE_URL; empty counts as unset, in both. Errors: unauthorized (no
// key), invalid_argument; no text repeats the key.
Result<Settings> make_settings(const ClientOptions& options);

}  // namespace orkestr::remote
