#include "remote/settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "remote/text.hpp"

namespace orkestr::remote {
namespace {

std::string first_of(const std::string& given, const char* variable) {
  if (!given.empty()) return given;
  const char* value = std::getenv(variable);
  return value != nullptr ? value : "";
}

Error bad_url(std::string_view url, std::string_view why) {
  return Error(
      ErrorCode::invalid_argument,
      fmt::format("base_url is '{}'; {}. Allowed is http:// or https:// with a host, maybe a port and a path, for "
                  "instance {}",
                  url.substr(0, 200), why, kDefaultBaseUrl));
}

bool starts_with(std::string_view text, std::string_view beginning) {
  return text.substr(0, beginning.size()) == beginning;
}

}  // namespace

Result<Settings> make_settings(const ClientOptions& options) {
  Settings settings;
  settings.base_url = first_of(options.base_url, "ORKESTR_BASE_URL");
  settings.api_key = first_of(options.api_key, "ORKESTR_API_KEY");
  settings.timeout = options.timeout;
  if (settings.base_url.empty()) settings.base_url = kDefaultBaseUrl;
  if (settings.api_key.empty()) {
    return Error(ErrorCode::unauthorized,
                 fmt::format("no API key is given for {}: pass api_key, or set ORKESTR_API_KEY. ORKESTR_BACKEND=local "
                             "runs sandboxes on this machine instead",
                             settings.base_url.substr(0, 200)));
  }
  const bool sendable = std::all_of(settings.api_key.begin(), settings.api_key.end(),
                                    [](char c) { return c > ' ' && static_cast<unsigned char>(c) < 0x7f; });
  if (!sendable || settings.api_key.size() > 4096) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("api_key has {} bytes, and one that no key has; allowed are up to 4096 visible ASCII "
                             "characters, without blanks and line ends",
                             settings.api_key.size()));
  }
  if (settings.timeout < std::chrono::seconds(1) || settings.timeout > std::chrono::hours(1)) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("timeout is {} s; allowed are 1 to 3600 s for one request", options.timeout.count()));
  }

  std::string& url = settings.base_url;
  const std::size_t host = starts_with(url, "https://") ? 8 : starts_with(url, "http://") ? 7 : 0;
  if (host == 0) return bad_url(url, "its scheme is not one of these");
  while (url.size() > host && url.back() == '/') url.pop_back();
  const std::string_view authority = std::string_view(url).substr(host, url.find('/', host) - host);
  // Not shown: there may be a password in it.
  if (authority.find('@') != std::string_view::npos) return bad_url("…@…", "it has a user name in it");
  if (authority.empty() || authority[0] == ':') return bad_url(url, "it has no host");
  const bool plain = std::all_of(url.begin(), url.end(), [](char c) {
    return c > ' ' && static_cast<unsigned char>(c) < 0x7f && c != '\\' && c != '?' && c != '#';
  });
  // A query is where a key may have been put.
  if (!plain)
    return bad_url(without_key(url, settings.api_key),
                   "it has a character that such an address has not ('?' and '#' included)");
  return settings;
}

}  // namespace orkestr::remote
