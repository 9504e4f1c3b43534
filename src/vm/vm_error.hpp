// vm_failed with its stage: what was being done.
#pragma once

#include <string>
#include <utility>

#include "orkestr/error.hpp"

namespace orkestr::vm {

inline Error vm_error(std::string stage, std::string message, std::string console_tail = "") {
  ErrorDetails details;
  details.stage = std::move(stage);
  details.console_tail = std::move(console_tail);
  return {ErrorCode::vm_failed, std::move(message), std::move(details)};
}

}  // namespace orkestr::vm
