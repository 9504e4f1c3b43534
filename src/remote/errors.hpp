// What the service refused, as our errors: its `code` decides first, then the HTTP status.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "orkestr/error.hpp"
#include "remote/http.hpp"

namespace orkestr::remote {

struct ErrorContext {
  std::string what;  // "create sandbox"
  bool about_file = false;
  std::string_view key;  // must not appear in what the service says
};

// Of a status outside 2xx. Never fails: a body that is no JSON, or something else than was promised, only tells less.
Error error_of_answer(const HttpAnswer& answer, const ErrorContext& context);

// What a `code` on the wire means, including the two that have a second name; nothing for one we do not know, and for
// those that only this library itself may say.
std::optional<ErrorCode> code_named(std::string_view code);

}  // namespace orkestr::remote
