// The host's own way to its package mirrors, for mmdebstrap, which takes none of it by itself: sources, proxies,
// certificates.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "image/tool.hpp"
#include "orkestr/error.hpp"

namespace orkestr::image {

struct AptSource {
  std::string types = "deb";
  std::vector<std::string> uris;
  std::vector<std::string> suites;
  std::vector<std::string> components;
  std::vector<std::pair<std::string, std::string>>
      options;  // Signed-By, Trusted…, as deb822 fields; multi-line values keep their lines
};

// The entries of a one-line style sources.list. Lines that are no deb entry are skipped, as apt's comments are.
std::vector<AptSource> parse_source_list(std::string_view text);
// The enabled stanzas of a deb822 .sources file.
std::vector<AptSource> parse_deb822(std::string_view text);

// A deb822 file with what of `sources` belongs to the distribution `suite`: its main component in SUITE, SUITE-updates
// and SUITE-security. Empty when none has SUITE itself.
std::string select_sources(const std::vector<AptSource>& sources, std::string_view suite);

// The host's sources for `suite`, from /etc/apt. template_build_failed when there are none.
Result<std::string> host_sources(std::string_view suite);
// The addresses in such a file, without user and password: where its packages come from, for a person.
std::vector<std::string> source_addresses(std::string_view deb822);
// A URL without user and password.
std::string without_credentials(std::string_view url);
// The host's apt options that say how to reach a mirror (proxies, certificates, credentials, retries), as an apt.conf
// file.
Result<std::string> host_apt_options(const ToolContext& tools);

}  // namespace orkestr::image
