// What the sources of the routes share.
#pragma once

#include <boost/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

#include "support/service/routes.hpp"

namespace orkestr::testing {

namespace json = boost::json;

struct Routes::Refusal {
  int status;
  std::string code, detail;
  json::object more{};
  double retry_after = 0;
};

struct Routes::Snapshot {
  std::string id, name, template_name, source, directory;
  int memory_mb = 1024;
  double cpu = 1;
  std::chrono::system_clock::time_point created;
};

// Every answer of this service has a request id, which is also in its errors.
bool send(Answer& answer, int status, const json::value& body);
json::object parse_body(const Request& request);
std::string text_of(const json::object& body, const char* name, std::string_view fallback = {});
std::string needed_text(const json::object& body, const char* name);
std::map<std::string, std::string> map_of(const json::object& body, const char* name);
double number_of(const json::object& body, const char* name, double fallback);
// Bytes as JSON can hold them: what is no UTF-8 becomes U+FFFD.
std::string utf8(std::string_view bytes);
// One event of a stream.
std::string event_text(const json::object& object);
std::string encode64(std::string_view bytes);
std::string decode64(std::string_view text);  // throws Refusal-less std::invalid_argument
// With `digits` of a second, and Z or an offset.
std::string time_text(std::chrono::system_clock::time_point time, int digits, bool zulu);

}  // namespace orkestr::testing
