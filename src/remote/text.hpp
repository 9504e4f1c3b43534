// What a service, a guest or libcurl says, made fit for the texts of errors. The key is masked first and only then is
// anything cut: so no part of a key is left at a cut.
#pragma once

#include <string>
#include <string_view>

namespace orkestr::remote {

// Every occurrence of the key made unreadable.
std::string without_key(std::string_view text, std::string_view key);
// Without the key, one line without control characters, cut between characters: for a message.
std::string shown(std::string_view text, std::string_view key, std::size_t most_bytes = 500);
// Without the key and not endless, else as it is: for ErrorDetails.
std::string kept(std::string_view text, std::string_view key);
// A request id, which goes to both.
std::string shown_request(std::string_view request_id, std::string_view key);
// " (HTTP 408, code c, request r)" of what is not 0 or empty.
std::string facts(int status, std::string_view code, std::string_view request_id);

}  // namespace orkestr::remote
